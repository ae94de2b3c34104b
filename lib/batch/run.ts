// Runs the requests of a batch in the order of their dependencies, independent ones concurrently.
import type { BatchedRequest, BatchResult } from '../../schemas/index.js'
import type { Batch } from '../core/items/batch.js'
import { settle, type Outcome } from '../core/settle/settle.js'
import { isItemError } from '../errors.js'
import { prepareRequest, readAnswer, send, type Journey } from './sub-request.js'
import type { RequestParts } from './message.js'
import { schedule, type Schedule, type Step } from './plan.js'
import { fillBody, fillUrl, follow, mayRefer, readWithin, type Read } from './references.js'
import { failedDependency } from './errors.js'
import { wordAnswer } from './result.js'

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
export async function runBatch (journey: Journey, plan: readonly Step[], batch: Batch, options: RunOptions): Promise<Ran> {
  const ended = new Map<string, Ended>()
  for (const place of batch.invalid.keys()) ended.set(batch.keys[place] as string, { isSuccess: false, retryable: false })
  const cookies = new Map<Step, string[]>()

  async function perform (step: Step): Promise<BatchResult> {
    const { id } = step.item
    try {
      const answer = readAnswer(journey, await send(journey, prepareStep(journey, step, ended), false))
      const cookie = answer.headers['set-cookie']
      if (cookie !== undefined) cookies.set(step, [cookie].flat().map(String))
      const result = wordAnswer(id, answer)
      if (order !== undefined) note(order, id, endOf(result))
      return result
    } catch (error) {
      if (order !== undefined) note(order, id, { isSuccess: false, retryable: isItemError(error) && error.retryable })
      throw error
    }
  }
  function note (order: Schedule, id: string, end: Ended): void {
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
function prepareStep (journey: Journey, { item, after, problem }: Step, ended: ReadonlyMap<string, Ended>): RequestParts {
  for (const id of after) {
    const { isSuccess, retryable } = ended.get(id)!
    if (!isSuccess) throw failedDependency(id, retryable)
  }
  if (problem !== undefined) throw problem
  const read = readWithin(journey.limits.response, reference => follow(ended.get(reference.id)!.body, reference))
  return prepareRequest(journey, fill(item, read))
}

function fill (item: BatchedRequest, read: Read): BatchedRequest {
  return mayRefer(item) ? { ...item, url: fillUrl(item.url, read), body: fillBody(item.body, read) } : item
}
