// Runs the worker over the items with at most `concurrency` running at once.
import { cancelled, isItemError, notRun, type ItemError } from '../../errors.js'
import { LazyAbortController, rejected, runAttempt, type Abort, type NewContext, type Outcome } from './attempt.js'
import { checkInteger, type SettleOptions } from './options.js'
import { retryDelay } from './retry.js'
import type { Source, Taken } from './source.js'
import { dueTurn } from './yield.js'

/** Takes the outcome of an item; the slot of the item waits for what it returns. */
export type Deliver<T, R> = (outcome: Outcome<R>, index: number, item: T | undefined) => void | Promise<void>

/** What a pool works on, and how. */
export interface Job<T, R, C> {
  readonly source: Source<T>
  readonly worker: (item: T, context: C) => R | PromiseLike<R>
  readonly newContext: NewContext<T, C>
  /** They must have been checked. */
  readonly options: SettleOptions<T>
  readonly deliver: Deliver<T, R>
  /** Where attempts of several pools take turns. */
  readonly gate?: Gate
}

/** Bounds how many attempts of several pools run at once. Each pool has a gate of its own. */
export interface Gate {
  /** Resolves when one more attempt may begin. */
  enter (): Promise<void>
  /** An attempt that was let in has ended. */
  leave (): void
  /** Lets everybody in who waits: the pool has been aborted, so that nothing begins any more. */
  open (): void
}

/** The state of a job in progress. */
interface Pool<T, R, C> extends Job<T, R, C> {
  /** What aborts attempts and pauses in progress. */
  readonly running: Set<Abort>
  failures: number
  /** Set by an abort: makes the failure of items that have not started. */
  aborted: (() => ItemError) | undefined
  /** Whether `deliver` has thrown, so that nobody takes outcomes any more. */
  isAbandoned: boolean
  /** Whether the source has no more items. */
  isDrained: boolean
}

/** An item on its way through the pool. */
interface Work<T> {
  readonly index: number
  readonly item: T
  readonly timeout: number | undefined
}

/**
 * Settles every item of a source. Resolves when each has been delivered.
 * @throws what `deliver` throws (as a rejection); that aborts the rest
 */
export async function settleSource<T, R, C> (job: Job<T, R, C>): Promise<void> {
  const { options: { concurrency = 16, signal }, source } = job
  const pool: Pool<T, R, C> = {
    ...job, running: new Set(), failures: 0, aborted: undefined, isAbandoned: false, isDrained: false
  }
  const onAbort = () => abortPool(pool, signal?.reason)
  if (signal?.aborted) onAbort()
  signal?.addEventListener('abort', onAbort)
  try {
    await Promise.all(startSlots(pool, Math.min(concurrency, source.size)))
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Starts at most one slot per item. Synchronous workers may empty the source before all slots start. */
function startSlots<T, R, C> (pool: Pool<T, R, C>, count: number): Promise<void>[] {
  const slots: Promise<void>[] = []
  while (slots.length < count && !pool.isDrained) slots.push(runSlot(pool))
  return slots
}

/** Settles one item after the other until there are no more. */
async function runSlot<T, R, C> (pool: Pool<T, R, C>): Promise<void> {
  try {
    while (!pool.isAbandoned) {
      for (let turn = dueTurn(); turn !== undefined; turn = dueTurn()) await turn
      const taking = pool.source.take()
      const taken = taking instanceof Promise ? await taking : taking
      if (taken === undefined) break
      const settling = settleItem(pool, taken)
      const outcome = settling instanceof Promise ? await settling : settling
      const delivered = deliver(pool, outcome, taken)
      if (delivered !== undefined) await delivered
    }
    pool.isDrained = true
  } catch (error) {
    pool.isAbandoned = true
    abortPool(pool)
    throw error
  }
}

/** @returns the outcome, at once where there is nothing to wait for */
function settleItem<T, R, C> (pool: Pool<T, R, C>, taken: Taken<T>): Outcome<R> | Promise<Outcome<R>> {
  if (taken.thrown !== undefined) return rejected(taken.thrown.error)
  const { options: { timeout: given, retries = 0, stopAfter = Infinity } } = pool
  if (pool.aborted !== undefined) return rejected(pool.aborted())
  if (pool.failures >= stopAfter) return rejected(notRun())
  const { index, item } = taken
  let timeout: number | undefined
  try {
    timeout = typeof given === 'function' ? given(item) : given
    checkInteger('timeout', timeout, 1)
  } catch (error) {
    return rejected(error)
  }
  const work = { index, item, timeout }
  const first = attempt(pool, work, 1)
  return retries === 0 ? first : retry(pool, work, first)
}

/** Tries an item that fails again, as long as that is of use. */
async function retry<T, R, C> (pool: Pool<T, R, C>, work: Work<T>, first: Outcome<R> | Promise<Outcome<R>>): Promise<Outcome<R>> {
  let outcome = await first
  for (let count = 1; outcome.status === 'rejected' && pool.aborted === undefined; count++) {
    const delay = retryDelay(outcome.reason, count, pool.options)
    if (delay === undefined) break
    await pause(pool, delay)
    if (pool.aborted !== undefined) break
    outcome = await attempt(pool, work, count + 1)
  }
  return outcome
}

/** Makes one attempt, when its turn has come. */
function attempt<T, R, C> (pool: Pool<T, R, C>, work: Work<T>, count: number): Outcome<R> | Promise<Outcome<R>> {
  return pool.gate === undefined ? begin(pool, work, count) : enterAndBegin(pool, pool.gate, work, count)
}

async function enterAndBegin<T, R, C> (pool: Pool<T, R, C>, gate: Gate, work: Work<T>, count: number): Promise<Outcome<R>> {
  await gate.enter()
  try {
    return pool.aborted === undefined ? await begin(pool, work, count) : rejected(pool.aborted())
  } finally {
    gate.leave()
  }
}

function begin<T, R, C> (pool: Pool<T, R, C>, { item, index, timeout }: Work<T>, count: number): Outcome<R> | Promise<Outcome<R>> {
  const { worker, newContext, running } = pool
  const controller = new LazyAbortController()
  const outcome = runAttempt(() => worker(item, newContext(item, index, count, controller)), { controller, timeout, running })
  // A worker may abort the batch that it is in.
  if (pool.aborted !== undefined) abortRunning(pool)
  return outcome
}

/** @returns what the slot has to wait for */
function deliver<T, R, C> (pool: Pool<T, R, C>, outcome: Outcome<R>, taken: Taken<T>): void | Promise<void> {
  if (pool.isAbandoned) return
  const delivered = pool.deliver(outcome, taken.index, taken.thrown === undefined ? taken.item : undefined)
  if (outcome.status === 'rejected') pool.failures++
  return delivered
}

/** Waits between two attempts; an abort of the batch ends the wait. */
function pause<T, R, C> ({ running }: Pool<T, R, C>, ms: number): Promise<void> {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer)
      running.delete(end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    running.add(end)
  })
}

/** Starts no further item, ends what is in progress, and gives up waiting for a source that has nothing more yet. */
function abortPool<T, R, C> (pool: Pool<T, R, C>, reason?: unknown): void {
  pool.aborted = () => isItemError(reason) ? reason : notRun()
  abortRunning(pool)
  pool.gate?.open()
  pool.source.close()
}

function abortRunning<T, R, C> ({ running }: Pool<T, R, C>): void {
  const reason = cancelled()
  for (const abort of [...running]) abort(reason)
}
