// Runs a worker over items, bounded, timed and abortable, and says what became of each.
import { setImmediate } from 'node:timers/promises'
import { cancelled, isItemError, notRun, type ItemError } from '../errors.js'
import { attempt, AttemptContext, createCanceller, rejected, type Canceller, type Outcome, type Watch } from './attempt.js'
import { delayAfter, isRetryable } from './backoff.js'
import type { EndSignal } from './end-signal.js'
import { checkInteger, checkSettleOptions, type SettleOptions } from './settle-options.js'
import { openSource, type Source } from './source.js'

export type { Outcome } from './attempt.js'
export type { SettleOptions } from './settle-options.js'

/** What a worker is told about the item it works on. To be handed on as it is: a copy by `{ ...context }` has no signal. */
export interface WorkerContext {
  /** The item's place in the input, from 0. */
  readonly index: number
  /** 1 at first, one more for each retry. */
  readonly attempt: number
  /** Aborts when the item's time is up or the batch is cancelled. Made when first asked for. */
  readonly signal: AbortSignal
}

/** Does the work of one item. What it returns is the item's value; what it throws is the item's failure. */
export type Worker<T, R> = (item: T, context: WorkerContext) => R | PromiseLike<R>

/** Makes what the worker of an item is told: an {@link ItemAttempt}, or one that knows more. */
export type NewAttempt<T, C extends ItemAttempt> = (item: T, index: number, attempt: number, how: Watch) => C

/** Milliseconds after which the event loop gets a turn in any case, also when no item waits. Too many turns have too many batches in memory at once. */
const TURN_AFTER = 10

/** How many items are settled between two looks at the clock. */
const LOOK_AFTER = 8

/** Takes the outcome of an item; the lane of the item waits for what it returns. */
export type Deliver<T, R> = (outcome: Outcome<R>, index: number, item: T | undefined) => void | Promise<void>

interface Run<T, R, C extends ItemAttempt = ItemAttempt> {
  readonly source: Source<T>
  readonly worker: (item: T, context: C) => R | PromiseLike<R>
  readonly newAttempt: NewAttempt<T, C>
  readonly options: RunOptions<T>
  readonly deliver: Deliver<T, R>
  /** Ends what is in progress. */
  readonly canceller: Canceller
  /** How an item is watched, where that is the same for all. */
  readonly how: Watch
  failures: number
  /** How many items have an outcome. */
  settled: number
  /** When the event loop had its last turn of those that every lane waits for. */
  turned: number
  /** A turn of the event loop that every lane waits for. */
  turn: Promise<void> | undefined
  /** Set once no further item may start. */
  halted: (() => ItemError) | undefined
  /** Set once nobody takes outcomes any more. */
  isLeft: boolean
}

/**
 * Runs `worker` over `items` and resolves with one outcome per item, in input order. It never rejects because of an
 * item: whatever a worker throws, rejects with, returns or never answers becomes that item's outcome.
 *
 * Arrays, iterables and async iterables are read as slots become free. A source that throws while it is read ends with
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
  checkSettleOptions(options)
  await settleSource(openSource(items), worker, options, (outcome, index) => { outcomes[index] = outcome }, newItemAttempt)
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
  await settleSource(openSource(items), worker, options, onOutcome, newItemAttempt)
}

/** The options of settle, with any signal. */
export interface RunOptions<T> extends Omit<SettleOptions<T>, 'signal'> {
  signal?: EndSignal | undefined
}

/** Works through a source; the options must have been checked. */
export async function settleSource<T, R, C extends ItemAttempt> (
  source: Source<T>, worker: (item: T, context: C) => R | PromiseLike<R>, options: RunOptions<T>, deliver: Deliver<T, R>, newAttempt: NewAttempt<T, C>
): Promise<void> {
  const { concurrency = 16, timeout, signal } = options
  const canceller = createCanceller()
  const how = { canceller, timeout: typeof timeout === 'function' ? undefined : timeout }
  const run: Run<T, R, C> = {
    source,
    worker,
    newAttempt,
    options,
    deliver,
    canceller,
    how,
    failures: 0,
    settled: 0,
    turned: performance.now(),
    turn: undefined,
    halted: undefined,
    isLeft: false
  }
  const abort = () => haltNow(run, signal?.reason)

  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort)
  try {
    const lanes: Promise<void>[] = []
    for (let lane = Math.min(concurrency, source.size); lane > 0; lane--) lanes.push(workThrough(run))
    await Promise.all(lanes)
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** Stops starting items, ends those in progress, and gives up waiting for a source that has nothing more yet. */
function haltNow<T, R, C extends ItemAttempt> (run: Run<T, R, C>, reason?: unknown): void {
  run.halted = () => isItemError(reason) ? reason : notRun()
  run.canceller.cancel(cancelled())
  run.source.close()
}

/** One lane of the batch: takes the next item as soon as its last one is settled. */
async function workThrough<T, R, C extends ItemAttempt> (run: Run<T, R, C>): Promise<void> {
  try {
    while (!run.isLeft) {
      while (run.turn !== undefined) await run.turn
      const taken = run.source.take()
      const next = taken instanceof Promise ? await taken : taken
      if (next === undefined) return
      const { index } = next
      const item = 'error' in next ? undefined : next.item
      const performed = 'error' in next ? rejected(next.error) : perform(run, next.item, index)
      const outcome = performed instanceof Promise ? await performed : performed
      if (run.isLeft) return
      const delivered = run.deliver(outcome, index, item)
      noteOutcome(run, outcome)
      if (delivered !== undefined) await delivered
    }
  } catch (error) {
    leave(run)
    throw error
  }
}

/** Ends a batch whose outcomes nobody takes any more. */
function leave<T, R, C extends ItemAttempt> (run: Run<T, R, C>): void {
  run.isLeft = true
  haltNow(run)
}

function noteOutcome<T, R, C extends ItemAttempt> (run: Run<T, R, C>, outcome: Outcome<R>): void {
  if (++run.settled % LOOK_AFTER === 0 && performance.now() - run.turned > TURN_AFTER) run.turn ??= nextTurn(run)
  if (outcome.status !== 'rejected' || run.halted !== undefined) return
  run.failures++
  if (run.failures === run.options.stopAfter) run.halted = notRun
}

async function nextTurn<T, R, C extends ItemAttempt> (run: Run<T, R, C>): Promise<void> {
  await setImmediate()
  run.turned = performance.now()
  run.turn = undefined
}

function perform<T, R, C extends ItemAttempt> (run: Run<T, R, C>, item: T, index: number): Outcome<R> | Promise<Outcome<R>> {
  if (run.halted !== undefined) return rejected(run.halted())
  return run.options.retries ? performRetrying(run, item, index, run.options.retries) : attemptItem(run, item, index, 1)
}

async function performRetrying<T, R, C extends ItemAttempt> (run: Run<T, R, C>, item: T, index: number, retries: number): Promise<Outcome<R>> {
  for (let count = 1; count <= retries; count++) {
    const outcome = await attemptItem(run, item, index, count)
    if (outcome.status === 'fulfilled' || isCancelled(run) || !isRetryable(outcome.reason)) return outcome
    await pause(run, delayAfter(count, outcome.reason, run.options.backoff))
    if (isCancelled(run)) return outcome
  }
  return attemptItem(run, item, index, retries + 1)
}

function attemptItem<T, R, C extends ItemAttempt> (run: Run<T, R, C>, item: T, index: number, count: number): Outcome<R> | Promise<Outcome<R>> {
  try {
    // Asked before the work begins: once it has, nothing may keep its promise from being watched.
    const how = typeof run.options.timeout === 'function' ? { canceller: run.canceller, timeout: timeoutOf(run.options.timeout, item) } : run.how
    return attempt(run.worker, item, run.newAttempt(item, index, count, how))
  } catch (error) {
    return rejected(error)
  }
}

/** One attempt at an item. */
export class ItemAttempt extends AttemptContext implements WorkerContext {
  constructor (readonly index: number, readonly attempt: number, how: Watch) {
    super(how)
  }
}

function newItemAttempt (_: unknown, index: number, attempt: number, how: Watch): ItemAttempt {
  return new ItemAttempt(index, attempt, how)
}

/** Waits between two attempts; the end of the batch ends the wait. */
function pause<T, R, C extends ItemAttempt> (run: Run<T, R, C>, ms: number): Promise<void> {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer)
      run.canceller.listeners.delete(end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    run.canceller.listeners.add(end)
  })
}

function isCancelled ({ canceller }: { readonly canceller: Canceller }): boolean {
  return canceller.reason !== undefined
}

function timeoutOf<T> (timeout: (item: T) => number | undefined, item: T): number | undefined {
  const ms = timeout(item)
  checkInteger('timeout', ms, 1)
  return ms
}
