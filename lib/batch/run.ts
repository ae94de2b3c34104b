// Runs the requests of a batch in the order of their dependencies, or tries all of them out (Prefer: handling=strict).
import type { BatchedRequest, BatchResult, ItemProblem } from '../../schemas/index.js'
import type { Batch } from '../core/items/batch.js'
import { settle, type Outcome } from '../core/settle/settle.js'
import { failedDependency, isItemError, toFailure } from '../errors.js'
import { schedule, type Schedule, type Step } from './plan.js'
import { fillBody, fillUrl, follow, mayRefer, readWithin, type Read } from './references.js'
import { formatAnswer, type Answer } from './result.js'
import { prepareRequest, readAnswer, send, type BatchContext, type SubRequest } from './sub-request.js'

/** How a batch is run. */
export interface RunOptions {
  readonly concurrency: number
  readonly signal: AbortSignal
}

/** What became of a batch, one result or rejected outcome for each step, and the cookies that its answers set; in request order. */
export interface Ran {
  readonly results: (BatchResult | PromiseRejectedResult)[]
  readonly cookies: string[]
}

/** What a later request can know of an earlier one. */
interface Ended {
  readonly isSuccess: boolean
  readonly retryable: boolean
  readonly body?: unknown
}

/** Runs the steps of a batch. It never rejects because of one of them. */
export async function runBatch (context: BatchContext, plan: readonly Step[], batch: Batch, options: RunOptions): Promise<Ran> {
  const ended = new Map<string, Ended>()
  for (const place of batch.invalid.keys()) ended.set(batch.keys[place] as string, { isSuccess: false, retryable: false })
  const cookies = new Map<Step, string[]>()

  async function perform (step: Step): Promise<BatchResult> {
    const { id } = step.item
    try {
      const answer = readAnswer(context, await send(context, prepareStep(context, step, ended), false))
      const cookie = answer.headers['set-cookie']
      if (cookie !== undefined) cookies.set(step, [cookie].flat().map(String))
      const result = formatAnswer(id, answer)
      if (order !== undefined) record(order, id, endOf(result))
      return result
    } catch (error) {
      if (order !== undefined) record(order, id, { isSuccess: false, retryable: isItemError(error) && error.retryable })
      throw error
    }
  }
  function record (order: Schedule, id: string, end: Ended): void {
    ended.set(id, end)
    order.settled(id)
  }

  const order = plan.some(({ after }) => after.size > 0) ? schedule(plan, id => ended.has(id)) : undefined
  const outcomes = order === undefined
    ? await settle(plan, perform, options)
    : await settleInOrder(plan, order.steps, perform, options)
  return {
    results: outcomes.map(outcome => outcome.status === 'fulfilled' ? outcome.value : outcome),
    cookies: plan.flatMap(step => cookies.get(step) ?? [])
  }
}

function endOf (result: BatchResult): Ended {
  if (result.status === 'success') return { isSuccess: true, retryable: false, body: result.body }
  return { isSuccess: false, retryable: result.retryable === true }
}

/** Puts outcomes, which come in the order of the run, back into the order of the plan. */
async function settleInOrder (
  plan: readonly Step[], steps: AsyncIterable<Step>, worker: (step: Step) => Promise<BatchResult>, options: RunOptions
): Promise<Outcome<BatchResult>[]> {
  const begun: Step[] = []
  async function * watch () {
    for await (const step of steps) {
      begun.push(step)
      yield step
    }
  }
  const outcomes = await settle(watch(), worker, options)
  const byStep = new Map(begun.map((step, index) => [step, outcomes[index]]))
  return plan.map(step => byStep.get(step) ?? { status: 'rejected', reason: options.signal.reason as unknown })
}

/** @throws ItemError why it cannot be sent */
function prepareStep (context: BatchContext, { item, after, problem }: Step, ended: ReadonlyMap<string, Ended>): SubRequest {
  for (const id of after) {
    const { isSuccess, retryable } = ended.get(id)!
    if (!isSuccess) throw failedDependency(id, retryable)
  }
  if (problem !== undefined) throw problem
  const read = readWithin(context.settings.limits.response, reference => follow(ended.get(reference.id)!.body, reference))
  return prepareRequest(context, fill(item, read))
}

function fill (item: BatchedRequest, read: Read): BatchedRequest {
  return mayRefer(item) ? { ...item, url: fillUrl(item.url, read), body: fillBody(item.body, read) } : item
}

/**
 * Tries out every request of a batch as far as validation, and gives what is wrong, each pointer from the root of the
 * batch's body. Of a request with references only these are checked, because its values are not known yet.
 */
export async function findProblems (context: BatchContext, plan: readonly Step[], options: RunOptions): Promise<ItemProblem[]> {
  const outcomes = await settle(plan, step => tryStep(context, step), options)
  return outcomes.flatMap((outcome, index) => {
    const problems = outcome.status === 'fulfilled' ? outcome.value : problemsOf(outcome.reason)
    return problems.map(({ pointer, detail }) => ({ pointer: `#/requests/${plan[index]!.place}${pointer.slice(1)}`, detail }))
  })
}

async function tryStep (context: BatchContext, { item, hasReferences, problem }: Step): Promise<ItemProblem[]> {
  if (problem !== undefined) throw problem
  if (hasReferences) return []
  const outcome = await send(context, prepareRequest(context, withoutLiterals(item)), true)
  const { answer } = outcome
  if (answer === undefined) throw outcome.failure
  // A hook may answer before validation, as a cache does.
  if (answer.statusCode < 400) return []
  return problemsOfValidation(outcome.thrown) ?? [{ pointer: '#', detail: detailOf(item.id, answer) }]
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
  return (formatAnswer(id, answer) as Extract<BatchResult, { status: 'error' }>).message
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
