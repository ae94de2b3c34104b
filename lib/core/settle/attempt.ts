// One attempt at one item: watched, timed and abortable.
import { timedOut, type ItemError } from '../../errors.js'

/** What became of one item, in the shape of `Promise.allSettled`. */
export type Outcome<R> = PromiseSettledResult<Awaited<R>>

/**
 * Ends attempts before their workers do: those of one lane, one after the other. All that changes with an attempt is
 * here and not in what its worker is told, which is so small an object, of a class without a base, that it costs a third.
 */
export interface Watch {
  readonly canceller: Canceller
  /** Milliseconds that the attempt may take; undefined for no limit. */
  readonly timeout: number | undefined
  /** Takes the outcome of an attempt that has ended before its worker; it is the last one under this watch. */
  readonly onEarlyEnd: (outcome: PromiseRejectedResult) => void
  /** What the worker was told of the attempt that is in progress, or has ended early. */
  context: object | undefined
  /** Of that attempt; made when first asked for, because most workers never look at it and it costs more than all else. */
  controller: AbortController | undefined
  /** Whether it is in progress and does not listen yet. */
  isUnarmed: boolean
  /** Whether the canceller knows of it. */
  isKnown: boolean
  listener: ((reason: ItemError) => void) | undefined
  timer: NodeJS.Timeout | undefined
  /** Why the attempt has ended early. */
  reason: ItemError | undefined
}

/** Makes one that watches nothing yet. */
export function newWatch (canceller: Canceller, timeout: number | undefined, onEarlyEnd: Watch['onEarlyEnd']): Watch {
  return {
    canceller,
    timeout,
    onEarlyEnd,
    context: undefined,
    controller: undefined,
    isUnarmed: false,
    isKnown: false,
    listener: undefined,
    timer: undefined,
    reason: undefined
  }
}

/** The signal of an attempt: aborts when its time is up or the batch is cancelled, and never once its worker has answered. */
export function signalOf (watch: Watch, context: object): AbortSignal {
  if (watch.context !== context) return new AbortController().signal
  watch.controller ??= new AbortController()
  if (watch.reason !== undefined) watch.controller.abort(watch.reason)
  return watch.controller.signal
}

/**
 * Watches work that goes on until its worker has answered, which {@link finishAttempt} is to be told of. It ends when its
 * time is up or it is cancelled, perhaps at once, although the work may go on. Synchronous work cannot be timed out.
 */
export function followAttempt (watch: Watch): void {
  const { canceller } = watch
  // Work that has cancelled itself was not watched yet.
  if (canceller.reason !== undefined) return endAttempt(watch, watch.context, canceller.reason)
  watch.isUnarmed = true
  if (!watch.isKnown) canceller.armSoon(watch)
}

/** The worker has answered. @returns whether it was still waited for */
export function finishAttempt (watch: Watch): boolean {
  if (watch.reason !== undefined) return false
  watch.context = watch.controller = undefined
  watch.isUnarmed = false
  if (watch.listener !== undefined) disarm(watch, watch.listener)
  return true
}

/** Gives the attempt its time, and lets it be cancelled. */
function arm (watch: Watch): void {
  const { canceller, context, timeout } = watch
  watch.isUnarmed = false
  watch.listener = reason => endAttempt(watch, context, reason)
  canceller.add(watch.listener)
  if (timeout !== undefined) watch.timer = setTimeout(() => endAttempt(watch, context, timedOut()), timeout)
}

function disarm (watch: Watch, listener: NonNullable<Watch['listener']>): void {
  clearTimeout(watch.timer)
  watch.canceller.remove(listener)
  watch.listener = watch.timer = undefined
}

/** Ends an attempt with a reason, of which its worker's signal tells. */
function endAttempt (watch: Watch, context: object | undefined, reason: ItemError): void {
  // Where tests fake timers, one that is real may have stayed.
  if (watch.context !== context || watch.reason !== undefined) return
  watch.isUnarmed = false
  if (watch.listener !== undefined) disarm(watch, watch.listener)
  watch.reason = reason
  watch.controller?.abort(reason)
  watch.onEarlyEnd(rejected(reason))
}

/** Ends every attempt that is in progress under it, and every later one. */
export interface Canceller {
  /** Why, once it has been cancelled. */
  readonly reason: ItemError | undefined
  cancel (reason: ItemError): void
  /** Has this called then. */
  add (listener: CancelListener): void
  remove (listener: CancelListener): void
  /** Arms what is then in progress under a watch that is not known yet, with the next turn of the event loop: most attempts never need a timer. */
  armSoon (watch: Watch): void
}

type CancelListener = (reason: ItemError) => void

/**
 * Makes what ends the attempts of one batch, or of one task, for an engine that runs them with `host.runTask`.
 * @example
 *   const canceller = createCanceller()
 *   const end = await host.runTask(task, { batchId, index, attempt: 1, log, canceller })
 */
export function createCanceller (): Canceller {
  return new AttemptCanceller()
}

/** A class, as there is one for every batch, and an object with closures of its own costs several times as much. */
class AttemptCanceller implements Canceller {
  reason: ItemError | undefined = undefined
  #listeners: Set<CancelListener> | undefined = undefined
  #known: Watch[] | undefined = undefined

  cancel (reason: ItemError): void {
    this.reason ??= reason
    for (const watch of [...this.#known ?? []]) if (watch.isUnarmed) endAttempt(watch, watch.context, reason)
    // One that has settled meanwhile is not among them any more.
    for (const listener of this.#listeners ?? []) listener(reason)
  }

  add (listener: CancelListener): void {
    this.#listeners ??= new Set()
    this.#listeners.add(listener)
  }

  remove (listener: CancelListener): void {
    this.#listeners?.delete(listener)
  }

  armSoon (watch: Watch): void {
    watch.isKnown = true
    this.#known ??= []
    if (this.#known.push(watch) === 1) setImmediate(armAll, this.#known)
  }
}

function armAll (known: Watch[]): void {
  for (const watch of known.splice(0)) {
    watch.isKnown = false
    if (watch.isUnarmed) arm(watch)
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
