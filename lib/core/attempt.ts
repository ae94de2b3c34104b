// One attempt at one item: watched, timed and abortable.
import { timedOut, type ItemError } from '../errors.js'

/** What became of one item, in the shape of `Promise.allSettled`. */
export type Outcome<R> = PromiseSettledResult<Awaited<R>>

/** Ends attempts before their workers do: those of one lane, one after the other. */
export interface Watch {
  readonly canceller: Canceller
  /** Milliseconds that the attempt may take; undefined for no limit. */
  readonly timeout: number | undefined
  /** Takes the outcome of an attempt that has ended before its worker. */
  readonly onEarlyEnd: (outcome: PromiseRejectedResult) => void
  /** The attempt that is in progress and does not listen yet. */
  unarmed: AttemptContext | undefined
  /** Whether the canceller knows of it. */
  isKnown: boolean
}

/** Makes one that watches nothing yet. */
export function newWatch (canceller: Canceller, timeout: number | undefined, onEarlyEnd: Watch['onEarlyEnd']): Watch {
  return { canceller, timeout, onEarlyEnd, unarmed: undefined, isKnown: false }
}

/** What few attempts need. */
interface Extras {
  controller?: AbortController
  /** Why it has ended early. */
  reason?: ItemError
  timer?: NodeJS.Timeout
  listener?: (reason: ItemError) => void
}

/**
 * One attempt, and what its worker is told of it, as far as its signal goes. The signal is made when first asked for,
 * because most workers never look at it and it costs more than all else; and this is a class, because a getter in an
 * object literal takes 0.4 microseconds to make. A worker sees no more of it than the signal.
 */
export class AttemptContext {
  /** Undefined once it is over. */
  #watch: Watch | undefined
  #extras: Extras | undefined

  constructor (watch: Watch) {
    this.#watch = watch
  }

  /** Aborts when the item's time is up or the batch is cancelled. */
  get signal (): AbortSignal {
    const extras = this.#extras ??= {}
    extras.controller ??= new AbortController()
    if (extras.reason !== undefined) extras.controller.abort(extras.reason)
    return extras.controller.signal
  }

  /**
   * Watches work that goes on until its worker has answered, which {@link AttemptContext.finish} is to be told of. It ends
   * when its time is up or it is cancelled, perhaps at once, although the work may go on. Synchronous work cannot be
   * timed out.
   */
  static follow (one: AttemptContext): void {
    const watch = one.#watch!
    const { canceller } = watch
    // Work that has cancelled itself was not watched yet.
    if (canceller.reason !== undefined) return AttemptContext.end(one, canceller.reason)
    watch.unarmed = one
    if (!watch.isKnown) canceller.armSoon(watch)
  }

  /** Its worker has answered. @returns whether it was still waited for */
  static finish (one: AttemptContext): boolean {
    const watch = one.#watch
    if (watch === undefined) return false
    one.#watch = watch.unarmed = undefined
    const listener = one.#extras?.listener
    if (listener === undefined) return true
    clearTimeout(one.#extras!.timer)
    watch.canceller.listeners.delete(listener)
    return true
  }

  /** Gives it its time, and lets it be cancelled. */
  static arm (one: AttemptContext): void {
    const { canceller, timeout } = one.#watch!
    const extras = one.#extras ??= {}
    extras.listener = reason => AttemptContext.end(one, reason)
    canceller.listeners.add(extras.listener)
    if (timeout !== undefined) extras.timer = setTimeout(() => AttemptContext.end(one, timedOut()), timeout)
  }

  /** Ends it with a reason, of which its worker's signal tells. */
  static end (one: AttemptContext, reason: ItemError): void {
    const watch = one.#watch
    // Where tests fake timers, one that is real may have stayed.
    if (watch === undefined) return
    AttemptContext.finish(one)
    const extras = one.#extras ??= {}
    extras.reason = reason
    extras.controller?.abort(reason)
    watch.onEarlyEnd(rejected(reason))
  }
}

/** Ends every attempt that is in progress under it, and every later one. */
export interface Canceller {
  /** Why, once it has been cancelled. */
  readonly reason: ItemError | undefined
  /** What to call then. */
  readonly listeners: Set<(reason: ItemError) => void>
  cancel (reason: ItemError): void
  /** Arms what is then in progress under a watch that is not known yet, with the next turn of the event loop: most attempts never need a timer. */
  armSoon (watch: Watch): void
}

/**
 * Makes what ends the attempts of one batch, or of one task, for an engine that runs them with `host.runTask`.
 * @example
 *   const canceller = createCanceller()
 *   const end = await host.runTask(task, { batchId, index, attempt: 1, log, canceller })
 */
export function createCanceller (): Canceller {
  const listeners = new Set<(reason: ItemError) => void>()
  const known: Watch[] = []

  function arm (): void {
    for (const watch of known.splice(0)) {
      const { unarmed } = watch
      watch.isKnown = false
      watch.unarmed = undefined
      if (unarmed !== undefined) AttemptContext.arm(unarmed)
    }
  }

  // Written over and not got, because an object literal with a getter is slow to make and hard to collect.
  const canceller: { -readonly [name in keyof Canceller]: Canceller[name] } = {
    reason: undefined,
    listeners,
    cancel (reason) {
      canceller.reason ??= reason
      for (const { unarmed } of [...known]) if (unarmed !== undefined) AttemptContext.end(unarmed, reason)
      // One that has settled meanwhile is not among them any more.
      for (const listener of listeners) listener(reason)
    },
    armSoon (watch) {
      watch.isKnown = true
      if (known.push(watch) === 1) setImmediate(arm)
    }
  }
  return canceller
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
