// Prefer: handling=strict: every request is tried out as far as validation before the first one runs.
import type { BatchedRequest, BatchResult, ItemProblem } from '../../schemas/index.js'
import { settle } from '../core/settle/settle.js'
import { isItemError, toFailure } from '../errors.js'
import { prepareRequest, readTrial, send, type Journey } from './sub-request.js'
import type { Step } from './plan.js'
import { fillBody } from './references.js'
import type { RunOptions } from './run.js'
import type { Answer } from './message.js'
import { wordAnswer } from './result.js'

/**
 * What is wrong with the requests of a batch, each pointer from the root of its body. A request with references is
 * known only once others have run, so that no more than its references is looked at.
 */
export async function findProblems (journey: Journey, plan: readonly Step[], options: RunOptions): Promise<ItemProblem[]> {
  const outcomes = await settle(plan, step => tryStep(journey, step), options)
  return outcomes.flatMap((outcome, index) => {
    const problems = outcome.status === 'fulfilled' ? outcome.value : problemsOf(outcome.reason)
    return problems.map(({ pointer, detail }) => ({ pointer: `#/requests/${plan[index]!.place}${pointer.slice(1)}`, detail }))
  })
}

async function tryStep (journey: Journey, { item, hasReferences, problem }: Step): Promise<ItemProblem[]> {
  if (problem !== undefined) throw problem
  if (hasReferences) return []
  const failure = readTrial(await send(journey, prepareRequest(journey, withoutLiterals(item)), true))
  if (failure === undefined) return []
  return problemsOfValidation(failure.invalid) ?? [{ pointer: '#', detail: detailOf(item.id, failure.answer) }]
}

function withoutLiterals (item: BatchedRequest): BatchedRequest {
  return { ...item, body: fillBody(item.body, () => undefined) }
}

function problemsOf (thrown: unknown): ItemProblem[] {
  const { message, errors, code } = toFailure(thrown)
  if (errors !== undefined) return errors
  return [{ pointer: isItemError(thrown) && code === 'METHOD_NOT_ALLOWED' ? '#/method' : '#/url', detail: message }]
}

/** In the words that its result would have had. */
function detailOf (id: string, answer: Answer): string {
  return (wordAnswer(id, answer) as Extract<BatchResult, { status: 'error' }>).message
}

/** What Ajv has found, by the part of the request that it has found it in. */
interface ValidationError {
  validation?: { instancePath?: string, message?: string }[]
  validationContext?: string
}

function problemsOfValidation (error: unknown): ItemProblem[] | undefined {
  const { validation, validationContext } = Object(error) as ValidationError
  if (!Array.isArray(validation)) return undefined
  return validation.map(({ instancePath = '', message = 'must be valid' }) => {
    if (validationContext === 'body') return { pointer: `#/body${encodeURI(instancePath)}`, detail: message }
    if (validationContext === 'headers') return { pointer: `#/headers${encodeURI(instancePath)}`, detail: message }
    return { pointer: '#/url', detail: `${instancePath.slice(1)} ${message}`.trim() }
  })
}
