// What a worker is told about its item: one attempt at it.
import { signalOf, type Watch } from './attempt.js'

/** What a worker is told about the item it works on. To be handed on as it is: a copy by `{ ...context }` has no signal. */
export interface WorkerContext {
  /** The item's place in the input, from 0. */
  readonly index: number
  /** 1 at first, one more for each retry. */
  readonly attempt: number
  /** Aborts when the item's time is up or the batch is cancelled. Made when first asked for. */
  readonly signal: AbortSignal
}

/** Makes what the worker of an item is told. */
export type NewAttempt<T, C extends WorkerContext> = (item: T, index: number, attempt: number, watch: Watch) => C

class ItemAttempt implements WorkerContext {
  readonly #watch: Watch

  constructor (readonly index: number, readonly attempt: number, watch: Watch) {
    this.#watch = watch
  }

  // A getter of a class, as one in an object literal takes 0.4 microseconds to make.
  get signal (): AbortSignal { return signalOf(this.#watch, this) }
}

/** Makes what tells of an item no more than its place. */
export function newItemAttempt (_: unknown, index: number, attempt: number, watch: Watch): WorkerContext {
  return new ItemAttempt(index, attempt, watch)
}
