// What a worker is told about its item: one attempt at it.
import { AttemptContext, type Watch } from './attempt.js'

/** What a worker is told about the item it works on. To be handed on as it is: a copy by `{ ...context }` has no signal. */
export interface WorkerContext {
  /** The item's place in the input, from 0. */
  readonly index: number
  /** 1 at first, one more for each retry. */
  readonly attempt: number
  /** Aborts when the item's time is up or the batch is cancelled. Made when first asked for. */
  readonly signal: AbortSignal
}

/** Makes what the worker of an item is told: an {@link ItemAttempt}, or one that knows more. */
export type NewAttempt<T, C extends ItemAttempt> = (item: T, index: number, attempt: number, how: Watch) => C

/** One attempt at an item. */
export class ItemAttempt extends AttemptContext implements WorkerContext {
  constructor (readonly index: number, readonly attempt: number, how: Watch) {
    super(how)
  }
}

/** Makes one that knows of its item no more than its place. */
export function newItemAttempt (_: unknown, index: number, attempt: number, how: Watch): ItemAttempt {
  return new ItemAttempt(index, attempt, how)
}
