// One attempt at one item: watched, timed and abortable.
import { timedOut, type ItemError } from '../errors.js'

/** What became of one item, in the shape of `Promise.allSettled`. */
export type Outcome<R> = PromiseSettledResult<Awaited<R>>

/**
 * What a worker is told, as far as its signal goes: made when first asked for, because most workers never look at it and
 * it costs more than all else. A class, because a getter in an object literal takes 0.4 microseconds to make.
 */
export class AttemptContext {
  #controller: AbortController | undefined
  #reason: ItemError | undefined

  /** Aborts when the item's time is up or the batch is cancelled. */
  get signal (): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  /** Not a method, because a worker is not to abort itself. */
  static abort (context: AttemptContext, reason: ItemError): void {
    context.#reason = reason
    context.#controller?.abort(reason)
  }
}

/** An attempt whose worker has not answered yet. */
interface Pending {
  isDone: boolean
  /** Gives it its time, and ends it when it is cancelled. */
  arm (): void
  end (reason: ItemError): void
}

/** Ends every attempt that is in progress under it, and every later one. */
export interface Canceller {
  /** Why, once it has been cancelled. */
  readonly reason: ItemError | undefined
  /** What to call then. */
  readonly listeners: Set<(reason: ItemError) => void>
  cancel (reason: ItemError): void
  /** Arms an attempt, unless it has been done by the next turn of the event loop: most have, and need no timer. */
  watch (pending: Pending): void
}

export function createCanceller (): Canceller {
  const listeners = new Set<(reason: ItemError) => void>()
  let cause: ItemError | undefined
  let fresh: Pending[] = []

  function takeFresh (): Pending[] {
    const taken = fresh.filter(({ isDone }) => !isDone)
    fresh = []
    return taken
  }

  return {
    get reason () { return cause },
    listeners,
    cancel (reason) {
      cause ??= reason
      for (const pending of takeFresh()) pending.end(reason)
      for (const listener of [...listeners]) listener(reason)
    },
    watch (pending) {
      if (fresh.push(pending) === 1) setImmediate(() => { for (const one of takeFresh()) one.arm() })
    }
  }
}

/** How an attempt is watched. */
export interface AttemptOptions {
  readonly canceller: Canceller
  /** Milliseconds that the attempt may take. @default no limit */
  readonly timeout: number | undefined
}

/**
 * Calls `worker` and says what became of it, at once where it can: whatever it throws, rejects with, returns or never
 * answers is its outcome. It ends when its time is up or it is cancelled, although the work may go on; later news is
 * ignored. Synchronous work cannot be timed out.
 * @param conclude makes of the outcome what is wanted
 */
export function attempt<T, C extends AttemptContext, R, E> (
  worker: (item: T, context: C) => R | PromiseLike<R>, item: T, context: C, options: AttemptOptions, conclude: (outcome: Outcome<R>) => E
): E | Promise<E> {
  let returned: R | PromiseLike<R>
  try {
    returned = worker(item, context)
    if (isThenable(returned)) return watch(Promise.resolve(returned), context, options, conclude)
  } catch (error) {
    return conclude(rejected(error))
  }
  return conclude(fulfilled(returned as Awaited<R>))
}

/** Waits for the promise, the attempt's time or its cancelling, whichever comes first. */
function watch<R, E> (
  promise: Promise<Awaited<R>>, context: AttemptContext, { canceller, timeout }: AttemptOptions, conclude: (outcome: Outcome<R>) => E
): Promise<E> {
  return new Promise(resolve => {
    const pending = new PendingAttempt(context, canceller, timeout, (outcome: Outcome<R>) => resolve(conclude(outcome)))
    // As `await` does it, because a worker's promise may have a `then` of its own that throws.
    Promise.prototype.then.call(promise, value => pending.settle(fulfilled(value)), error => pending.settle(rejected(error)))
    // Work that has cancelled itself was not watched yet.
    if (canceller.reason === undefined) canceller.watch(pending)
    else pending.end(canceller.reason)
  })
}

class PendingAttempt<R> implements Pending {
  isDone = false
  #timer: NodeJS.Timeout | undefined
  #listener: ((reason: ItemError) => void) | undefined

  constructor (
    private readonly context: AttemptContext, private readonly canceller: Canceller,
    private readonly timeout: number | undefined, private readonly done: (outcome: Outcome<R>) => void
  ) {}

  arm (): void {
    this.#listener = reason => this.end(reason)
    this.canceller.listeners.add(this.#listener)
    if (this.timeout !== undefined) this.#timer = setTimeout(() => this.end(timedOut()), this.timeout)
  }

  settle (outcome: Outcome<R>): void {
    if (this.isDone) return
    this.isDone = true
    if (this.#listener !== undefined) {
      clearTimeout(this.#timer)
      this.canceller.listeners.delete(this.#listener)
    }
    this.done(outcome)
  }

  end (reason: ItemError): void {
    this.settle(rejected(reason))
    AttemptContext.abort(this.context, reason)
  }
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
