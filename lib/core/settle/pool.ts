// Works through a source in lanes: each has one item at a time, and the next as soon as that is settled.
import { finishAttempt, followAttempt, fulfilled, isThenable, newWatch, rejected, type Outcome, type Watch } from './attempt.js'
import { delayAfter, isRetryable } from './retry.js'
import type { NewAttempt, WorkerContext } from './item-attempt.js'
import { noteSettled } from './yield.js'
import { haltNow, isCancelled, isOver, leave, newRun, nextTurn, recordFailure, waitForEnd, type Deliver, type Run, type RunOptions } from './run.js'
import { checkInteger } from './options.js'
import type { Source, Taken } from './source.js'

/** Works on one item at a time. */
interface Lane<T> {
  /** The place of its item; undefined when it has none. */
  index: number | undefined
  item: T | undefined
  /** How many attempts there were at it, the one that is in progress included. */
  count: number
  /** Whether the last of them has begun. */
  isBegun: boolean
  /** Watches it. */
  watch: Watch
}

/**
 * Works through a source; the options must have been checked.
 * @returns undefined where all is done already, as when no worker has to be waited for
 */
export function settleSource<T, R, C extends WorkerContext> (
  source: Source<T>, worker: (item: T, context: C) => R | PromiseLike<R>, options: RunOptions<T>, deliver: Deliver<T, R>, newAttempt: NewAttempt<T, C>
): Promise<void> | undefined {
  const { concurrency = 16, signal } = options
  const run = newRun(source, worker, options, deliver, newAttempt, Math.min(concurrency, source.size))
  const abort = () => haltNow(run, signal?.reason)
  const unsubscribe = () => signal?.removeEventListener('abort', abort)
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort)
  startLanes(run)
  if (!isOver(run)) return waitForEnd(run).finally(unsubscribe)
  unsubscribe()
  return run.left === undefined ? undefined : Promise.reject(run.left.error)
}

/** Starts no more lanes than there is work for, as there is none left where no worker had to be waited for. */
function startLanes<T, R, C extends WorkerContext> (run: Run<T, R, C>): void {
  const { lanes } = run
  let started = 0
  // One that has ended at once has found nothing more.
  for (; started < lanes && run.lanes === lanes; started++) workThrough(run, newLane(run))
  run.lanes -= lanes - started
}

/** @param from the lane with which to go on, as its worker may never answer */
function newLane<T, R, C extends WorkerContext> (run: Run<T, R, C>, from?: Lane<T>): Lane<T> {
  const { canceller, options: { timeout } } = run
  const onEarlyEnd = (outcome: Outcome<R>) => { workThrough(run, newLane(run, lane), outcome) }
  const lane: Lane<T> = {
    index: from?.index,
    item: from?.item,
    count: from?.count ?? 0,
    isBegun: from?.isBegun ?? false,
    watch: newWatch(canceller, typeof timeout === 'function' ? undefined : timeout, onEarlyEnd)
  }
  return lane
}

/**
 * Takes the next item as soon as the last one is settled. Never rejects.
 * @param early the outcome of its attempt, where that has ended before its worker
 */
async function workThrough<T, R, C extends WorkerContext> (run: Run<T, R, C>, lane: Lane<T>, early?: Outcome<R>): Promise<void> {
  try {
    for (let outcome = early; ;) {
      if (outcome !== undefined) {
        const ms = outcome.status === 'rejected' ? retryAfter(run, lane, outcome.reason) : undefined
        if (ms !== undefined) await pause(run, ms)
        // From here and nowhere deeper, so that after what it throws nothing more is delivered.
        const delivered = ms === undefined || isCancelled(run) ? deliver(run, lane, outcome) : undefined
        if (delivered !== undefined) await delivered
      }
      if (lane.index === undefined) {
        while (run.turn !== undefined) await run.turn
        const taken = run.left === undefined ? run.source.take() : undefined
        const next = taken instanceof Promise ? await taken : taken
        if (next === undefined) break
        outcome = takeUp(run, lane, next)
        if (outcome !== undefined) continue
      }
      try {
        const returned = begin(run, lane)
        const goesOn = isThenable(returned)
        if (goesOn) followAttempt(lane.watch)
        outcome = fulfilled(goesOn ? await returned : returned as Awaited<R>)
      } catch (error) {
        outcome = rejected(error)
      }
      if (lane.isBegun && !finishAttempt(lane.watch)) return
    }
    if (--run.lanes === 0) run.onEnd?.()
  } catch (error) {
    leave(run, error)
  }
}

/** @returns the outcome of what is not to be run */
function takeUp<T, R, C extends WorkerContext> (run: Run<T, R, C>, lane: Lane<T>, next: Taken<T>): Outcome<R> | undefined {
  lane.index = next.index
  lane.count = 0
  if (next.thrown !== undefined) return rejected(next.thrown.error)
  lane.item = next.item
  return run.halted === undefined ? undefined : rejected(run.halted())
}

/** Begins an attempt at the item of a lane. @returns what its worker has returned */
function begin<T, R, C extends WorkerContext> (run: Run<T, R, C>, lane: Lane<T>): R | PromiseLike<R> {
  const { timeout } = run.options
  const item = lane.item as T
  lane.count++
  lane.isBegun = false
  // Asked before the work begins: once it has, nothing may keep its promise from being watched.
  if (typeof timeout === 'function') lane.watch = watchFor(timeout, item, lane.watch)
  const context = run.newAttempt(item, lane.index!, lane.count, lane.watch)
  lane.watch.context = context
  lane.isBegun = true
  return run.worker(item, context)
}

/** @returns milliseconds after which the item of a lane, which has failed, is tried again; undefined when it is not */
function retryAfter<T, R, C extends WorkerContext> (run: Run<T, R, C>, lane: Lane<T>, reason: unknown): number | undefined {
  const { retries = 0, backoff } = run.options
  if (!lane.isBegun || lane.count > retries || isCancelled(run)) return undefined
  return isRetryable(reason) ? delayAfter(lane.count, reason, backoff) : undefined
}

/** @returns what the lane has to wait for */
function deliver<T, R, C extends WorkerContext> (run: Run<T, R, C>, lane: Lane<T>, outcome: Outcome<R>): void | Promise<void> {
  const { index, item } = lane
  lane.index = lane.item = undefined
  lane.isBegun = false
  if (run.left !== undefined) return
  const delivered = run.deliver(outcome, index!, item)
  if (noteSettled(run.pace)) run.turn ??= nextTurn(run)
  if (outcome.status === 'rejected') recordFailure(run)
  return delivered
}

/** Waits between two attempts; the end of the batch ends the wait. */
function pause<T, R, C extends WorkerContext> (run: Run<T, R, C>, ms: number): Promise<void> {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer)
      run.canceller.remove(end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    run.canceller.add(end)
  })
}

/** @param before what its lane was watched by */
function watchFor<T> (timeout: (item: T) => number | undefined, item: T, { canceller, onEarlyEnd }: Watch): Watch {
  const ms = timeout(item)
  checkInteger('timeout', ms, 1)
  return newWatch(canceller, ms, onEarlyEnd)
}
