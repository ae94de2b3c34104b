// settle: runs a worker over items, bounded, timed and abortable, and returns one outcome for each.
import { AttemptContext, type NewContext, type Outcome, type WorkerContext } from './attempt.js'
import { checkSettleOptions, type SettleOptions } from './options.js'
import { settleSource, type Deliver } from './pool.js'
import { openSource } from './source.js'

export type { Outcome, WorkerContext } from './attempt.js'
export type { SettleOptions } from './options.js'
export type { Deliver } from './pool.js'

/** Does the work of one item. What it returns is the item's value; what it throws is the item's failure. */
export type Worker<T, R> = (item: T, context: WorkerContext) => R | PromiseLike<R>

/**
 * Runs `worker` over `items` and resolves with one outcome per item, in input order. It never rejects because of an
 * item: whatever a worker throws, rejects with, returns or never answers becomes that item's outcome.
 *
 * Arrays, iterables and async iterables are read as slots become free; after an abort only the last are not read to their
 * end, as each item that is there has an outcome. A source that throws while it is read ends with
 * one rejected outcome for the item that could not be read. An item that exceeds its time, or is running when `signal`
 * aborts, is settled at once: its slot is free again although a worker that ignores its `signal` may still be running.
 * Synchronous code cannot be timed out.
 *
 * @param items what to work on
 * @param worker does the work of one item
 * @param options see {@link SettleOptions}
 * @throws TypeError (as a rejection) when an option is not what it should be
 * @example
 *   const outcomes = await settle(urls, (url, { signal }) => fetch(url, { signal }), { concurrency: 8, timeout: 2_000 })
 */
export async function settle<T, R> (
  items: Iterable<T> | AsyncIterable<T>, worker: Worker<T, R>, options: SettleOptions<T> = {}
): Promise<Outcome<R>[]> {
  const outcomes: Outcome<R>[] = []
  await settleEach(items, worker, options, (outcome, index) => { outcomes[index] = outcome })
  return outcomes
}

/**
 * As {@link settle}, for more items than fit into memory: outcomes are handed out as they come and not kept.
 *
 * @param onOutcome gets every outcome, the place of its item in the input, and the item; undefined for one that could
 *   not be read. When it returns a promise, no further item takes the place of this one until that resolves.
 * @throws TypeError (as a rejection) when an option is not what it should be, and whatever `onOutcome` throws; that ends
 *   the batch, what runs is cancelled and nothing more is handed out
 * @example
 *   await settleEach(rows, save, { concurrency: 8 }, ({ status }, index) => console.log(index, status))
 */
export async function settleEach<T, R> (
  items: Iterable<T> | AsyncIterable<T>, worker: Worker<T, R>, options: SettleOptions<T>, onOutcome: Deliver<T, R>
): Promise<void> {
  checkSettleOptions(options)
  await settleSource({ source: openSource(items), worker, newContext, options, deliver: onOutcome })
}

const newContext: NewContext<unknown, WorkerContext> = (_, index, attempt, controller) => new AttemptContext(index, attempt, controller)
