// One attempt at one item: watched, timed and abortable.
import { timedOut, type ItemError } from '../errors.js'

/** What became of one item, in the shape of `Promise.allSettled`. */
export type Outcome<R> = PromiseSettledResult<Awaited<R>>

/** The signal of one attempt, made when first asked for: most workers never look at it, and it costs more than all else. */
export interface LazySignal {
  readonly signal: AbortSignal
  abort (reason: ItemError): void
}

/** Makes a signal that is not made yet. */
export function createLazySignal (): LazySignal {
  let controller: AbortController | undefined
  let aborted: ItemError | undefined
  return {
    get signal () {
      controller ??= new AbortController()
      if (aborted !== undefined) controller.abort(aborted)
      return controller.signal
    },
    abort (reason) {
      aborted = reason
      controller?.abort(reason)
    }
  }
}

/** Ends every attempt that is in progress under it, and every later one. */
export interface Canceller {
  /** Why, once it has been cancelled. */
  readonly reason: ItemError | undefined
  /** What to call then, one function for each attempt in progress. */
  readonly listeners: Set<(reason: ItemError) => void>
  cancel (reason: ItemError): void
}

export function createCanceller (): Canceller {
  let cause: ItemError | undefined
  const listeners = new Set<(reason: ItemError) => void>()
  return {
    get reason () { return cause },
    listeners,
    cancel (reason) {
      cause ??= reason
      for (const listener of [...listeners]) listener(reason)
    }
  }
}

/** How an attempt is watched. */
export interface AttemptOptions {
  /** The worker's own signal, which aborts when the attempt ends before the worker does. */
  readonly lazy: LazySignal
  readonly canceller: Canceller
  /** Milliseconds that the attempt may take. @default no limit */
  readonly timeout: number | undefined
}

/**
 * Calls `work` and says what became of it, at once where it can: whatever it throws, rejects with, returns or never
 * answers is its outcome. It ends when its time is up or it is cancelled, although the work may go on; later news is
 * ignored. Synchronous work cannot be timed out.
 */
export function attempt<R> (work: () => R | PromiseLike<R>, options: AttemptOptions): Outcome<R> | Promise<Outcome<R>> {
  try {
    const returned = work()
    if (!isThenable(returned)) return fulfilled(returned as Awaited<R>)
    return watch(Promise.resolve(returned), options)
  } catch (error) {
    return rejected(error)
  }
}

/** Waits for the promise, the attempt's time or its cancelling, whichever comes first. */
function watch<R> (promise: Promise<Awaited<R>>, { lazy, canceller, timeout }: AttemptOptions): Promise<Outcome<R>> {
  return new Promise(resolve => {
    const end = (outcome: Outcome<R>) => {
      clearTimeout(timer)
      canceller.listeners.delete(give)
      resolve(outcome)
    }
    const give = (reason: ItemError) => {
      end(rejected(reason))
      lazy.abort(reason)
    }
    const timer = timeout === undefined ? undefined : setTimeout(() => give(timedOut()), timeout)
    canceller.listeners.add(give)
    // As `await` does it, because a worker's promise may have a `then` of its own that throws.
    Promise.prototype.then.call(promise, value => end(fulfilled(value)), error => end(rejected(error)))
    // Work that has cancelled itself was not listening yet.
    if (canceller.reason !== undefined) give(canceller.reason)
  })
}

/** Whether `await` would wait for it. */
export function isThenable (value: unknown): value is PromiseLike<unknown> {
  if (value instanceof Promise) return true
  return value !== null && (typeof value === 'object' || typeof value === 'function') &&
    typeof (value as PromiseLike<unknown>).then === 'function'
}

export function fulfilled<R> (value: Awaited<R>): Outcome<R> {
  return { status: 'fulfilled', value }
}

export function rejected (reason: unknown): PromiseRejectedResult {
  return { status: 'rejected', reason }
}
