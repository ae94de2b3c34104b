// One attempt at one item: watched, timed and abortable.
import { timedOut, type ItemError } from '../errors.js'

/** What became of one item, in the shape of `Promise.allSettled`. */
export type Outcome<R> = PromiseSettledResult<Awaited<R>>

/** Ends attempts before their workers do. */
export interface Watch {
  readonly canceller: Canceller
  /** Milliseconds that the attempt may take; undefined for no limit. */
  readonly timeout: number | undefined
  /** Takes the outcome of an attempt that has ended before its worker. */
  readonly onEarlyEnd: (outcome: PromiseRejectedResult) => void
}

/** What few attempts need. */
interface Extras {
  controller?: AbortController
  /** Why it has ended early. */
  reason?: ItemError
  timer?: NodeJS.Timeout
  listener?: (reason: ItemError) => void
}

/** Where an attempt is that is over, and one that is not watched or armed already. */
const OVER = -2
const NOWHERE = -1

/**
 * One attempt, and what its worker is told of it, as far as its signal goes. The signal is made when first asked for,
 * because most workers never look at it and it costs more than all else; and this is a class, because a getter in an
 * object literal takes 0.4 microseconds to make. A worker sees no more of it than the signal.
 */
export class AttemptContext {
  #watch: Watch
  #extras: Extras | undefined
  /** Its place among those that are not armed yet. */
  #place = NOWHERE

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
    const { reason, unarmed, armSoon } = one.#watch.canceller
    // Work that has cancelled itself was not watched yet.
    if (reason !== undefined) return AttemptContext.end(one, reason)
    one.#place = unarmed.push(one) - 1
    armSoon()
  }

  /** Its worker has answered. @returns whether it was still waited for */
  static finish (one: AttemptContext): boolean {
    if (one.#place === OVER) return false
    if (one.#place !== NOWHERE) AttemptContext.#leave(one)
    one.#place = OVER
    const listener = one.#extras?.listener
    if (listener === undefined) return true
    clearTimeout(one.#extras!.timer)
    one.#watch.canceller.listeners.delete(listener)
    return true
  }

  /** The last of the unarmed takes its place. */
  static #leave (one: AttemptContext): void {
    const { unarmed } = one.#watch.canceller
    const last = unarmed.pop()!
    if (last === one) return
    last.#place = one.#place
    unarmed[one.#place] = last
  }

  /** Gives it its time, and lets it be cancelled. */
  static arm (one: AttemptContext): void {
    one.#place = NOWHERE
    const { canceller, timeout } = one.#watch
    const extras = one.#extras ??= {}
    extras.listener = reason => AttemptContext.end(one, reason)
    canceller.listeners.add(extras.listener)
    if (timeout !== undefined) extras.timer = setTimeout(() => AttemptContext.end(one, timedOut()), timeout)
  }

  /** Ends it with a reason, of which its worker's signal tells. */
  static end (one: AttemptContext, reason: ItemError): void {
    if (!AttemptContext.finish(one)) return
    const extras = one.#extras ??= {}
    extras.reason = reason
    extras.controller?.abort(reason)
    one.#watch.onEarlyEnd(rejected(reason))
  }
}

/** Ends every attempt that is in progress under it, and every later one. */
export interface Canceller {
  /** Why, once it has been cancelled. */
  readonly reason: ItemError | undefined
  /** What to call then. */
  readonly listeners: Set<(reason: ItemError) => void>
  /** The attempts that are in progress and do not listen yet. */
  readonly unarmed: AttemptContext[]
  cancel (reason: ItemError): void
  /** Arms the attempts that are still in progress with the next turn of the event loop: most are not, and need no timer. */
  armSoon (): void
}

/**
 * Makes what ends the attempts of one batch, or of one task, for an engine that runs them with `host.runTask`.
 * @example
 *   const canceller = createCanceller()
 *   const end = await host.runTask(task, { batchId, index, attempt: 1, log, canceller })
 */
export function createCanceller (): Canceller {
  const listeners = new Set<(reason: ItemError) => void>()
  const unarmed: AttemptContext[] = []
  let isArming = false

  function arm (): void {
    isArming = false
    for (const one of unarmed.splice(0)) AttemptContext.arm(one)
  }

  // Written over and not got, because an object literal with a getter is slow to make and hard to collect.
  const canceller: { -readonly [name in keyof Canceller]: Canceller[name] } = {
    reason: undefined,
    listeners,
    unarmed,
    cancel (reason) {
      canceller.reason ??= reason
      for (const one of [...unarmed]) AttemptContext.end(one, reason)
      // One that has settled meanwhile is not among them any more.
      for (const listener of listeners) listener(reason)
    },
    armSoon () {
      if (isArming) return
      isArming = true
      setImmediate(arm)
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
