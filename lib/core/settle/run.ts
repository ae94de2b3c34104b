// One run through a source: what is to be done, how far it has come, and how it ends.
import { setImmediate } from 'node:timers/promises'
import { cancelled, isItemError, notRun, type ItemError } from '../../errors.js'
import { createCanceller, type Canceller, type Outcome } from './attempt.js'
import type { EndSignal } from './end-signal.js'
import type { NewAttempt, WorkerContext } from './item-attempt.js'
import { newPace, noteTurn, type Pace } from './yield.js'
import type { SettleOptions } from './options.js'
import type { Source } from './source.js'

/** Takes the outcome of an item; the lane of the item waits for what it returns. */
export type Deliver<T, R> = (outcome: Outcome<R>, index: number, item: T | undefined) => void | Promise<void>

/** The options of settle, with any signal. */
export interface RunOptions<T> extends Omit<SettleOptions<T>, 'signal'> {
  signal?: EndSignal | undefined
}

/** What the lanes of one run share. */
export interface Run<T, R, C extends WorkerContext = WorkerContext> {
  readonly source: Source<T>
  readonly worker: (item: T, context: C) => R | PromiseLike<R>
  readonly newAttempt: NewAttempt<T, C>
  readonly options: RunOptions<T>
  readonly deliver: Deliver<T, R>
  /** Ends what is in progress. */
  readonly canceller: Canceller
  /** How many lanes have not come to their end. */
  lanes: number
  failures: number
  readonly pace: Pace
  /** A turn of the event loop that every lane waits for. */
  turn: Promise<void> | undefined
  /** Set once no further item may start. */
  halted: (() => ItemError) | undefined
  /** Why nobody takes outcomes any more. */
  left: { readonly error: unknown } | undefined
  /** Called when all lanes have come to their end, or one cannot go on. */
  onEnd: (() => void) | undefined
}

/** Makes one that has not begun. */
export function newRun<T, R, C extends WorkerContext> (
  source: Source<T>, worker: Run<T, R, C>['worker'], options: RunOptions<T>, deliver: Deliver<T, R>, newAttempt: NewAttempt<T, C>, lanes: number
): Run<T, R, C> {
  return {
    source,
    worker,
    newAttempt,
    options,
    deliver,
    canceller: createCanceller(),
    lanes,
    failures: 0,
    pace: newPace(),
    turn: undefined,
    halted: undefined,
    left: undefined,
    onEnd: undefined
  }
}

/** Whether nothing more is to be waited for. */
export function isOver<T, R, C extends WorkerContext> ({ lanes, left }: Run<T, R, C>): boolean {
  return lanes === 0 || left !== undefined
}

/** Resolves when the run is over. @throws what somebody who took an outcome has thrown (as a rejection) */
export function waitForEnd<T, R, C extends WorkerContext> (run: Run<T, R, C>): Promise<void> {
  return new Promise((resolve, reject) => {
    run.onEnd = () => run.left === undefined ? resolve() : reject(run.left.error)
  })
}

/** Stops starting items, ends those in progress, and gives up waiting for a source that has nothing more yet. */
export function haltNow<T, R, C extends WorkerContext> (run: Run<T, R, C>, reason?: unknown): void {
  run.halted = () => isItemError(reason) ? reason : notRun()
  run.canceller.cancel(cancelled())
  run.source.close()
}

/** Ends a batch whose outcomes nobody takes any more. */
export function leave<T, R, C extends WorkerContext> (run: Run<T, R, C>, error: unknown): void {
  run.left ??= { error }
  haltNow(run)
  run.onEnd?.()
}

/** Notes that an item has failed, which may have been one too many. */
export function recordFailure<T, R, C extends WorkerContext> (run: Run<T, R, C>): void {
  if (run.halted !== undefined) return
  run.failures++
  if (run.failures === run.options.stopAfter) run.halted = notRun
}

/** Gives others their turn of the event loop. */
export async function nextTurn<T, R, C extends WorkerContext> (run: Run<T, R, C>): Promise<void> {
  await setImmediate()
  noteTurn(run.pace)
  run.turn = undefined
}

/** Whether what is in progress has been ended. */
export function isCancelled ({ canceller }: { readonly canceller: Canceller }): boolean {
  return canceller.reason !== undefined
}
