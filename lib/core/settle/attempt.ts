// Runs one attempt at an item: its context, its timeout, and its outcome.
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Key } from '../../../schemas/index.js'
import { timedOut, type ItemError } from '../../errors.js'
import { showKey } from '../results/failure-log.js'

/** What became of one item, in the shape of `Promise.allSettled`. */
export type Outcome<R> = PromiseSettledResult<Awaited<R>>

/** What a worker is told about the item it works on. Pass it on as it is: a copy by `{ ...context }` has no signal. */
export interface WorkerContext {
  /** The item's place in the input, from 0. */
  readonly index: number
  /** 1 at first, one more for each retry. */
  readonly attempt: number
  /** Aborts when the item's time is up or the batch is cancelled. Made when it is first read. */
  readonly signal: AbortSignal
}

/** What a handler of a bulk route is told about its item. */
export interface ItemContext extends WorkerContext {
  /** The item's key; null where it has none. */
  readonly key: Key | null
  readonly request: FastifyRequest
  readonly log: FastifyBaseLogger
}

/** An AbortController that is made when somebody first reads its signal: it costs more than an attempt, and most workers never do. */
export class LazyAbortController {
  #controller: AbortController | undefined
  #reason: ItemError | undefined

  get signal (): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  abort (reason: ItemError): void {
    this.#reason = reason
    this.#controller?.abort(reason)
  }
}

/** Makes what the worker is told about one attempt at an item. */
export type NewContext<T, C> = (item: T, index: number, attempt: number, controller: LazyAbortController) => C

/** The context of an attempt at any item. */
export class AttemptContext implements WorkerContext {
  readonly #controller: LazyAbortController

  constructor (readonly index: number, readonly attempt: number, controller: LazyAbortController) {
    this.#controller = controller
  }

  get signal (): AbortSignal { return this.#controller.signal }
}

/** The context of an attempt at an item of a request. Its `index` is the place of the item in the request. */
export class RequestItemContext extends AttemptContext implements ItemContext {
  constructor (
    index: number, attempt: number, controller: LazyAbortController, readonly key: Key | null, readonly request: FastifyRequest
  ) {
    super(index, attempt, controller)
  }

  get log (): FastifyBaseLogger { return this.request.log.child({ index: this.index, key: showKey(this.key) }) }
}

/** Ends what is in progress. */
export type Abort = (reason: ItemError) => void

/** What an attempt may take, and where it can be aborted. */
export interface AttemptLimits {
  /** Aborts the signal of the worker. */
  readonly controller: LazyAbortController
  /** Milliseconds from now; undefined for no limit. */
  readonly timeout: number | undefined
  /** Holds what aborts the attempt, as long as it is in progress. */
  readonly running: Set<Abort>
}

/**
 * Makes one attempt. It ends when the worker answers, its time is up or it is aborted, whichever is first; a worker that
 * ignores its signal may go on. Synchronous work cannot be timed out. Never throws or rejects.
 * @returns the outcome, at once where the worker returns no promise
 */
export function runAttempt<R> (work: () => R | PromiseLike<R>, limits: AttemptLimits): Outcome<R> | Promise<Outcome<R>> {
  try {
    const returned = work()
    return isThenable(returned) ? waitForAnswer(returned, limits) : fulfilled(returned as Awaited<R>)
  } catch (error) {
    return rejected(error)
  }
}

function waitForAnswer<R> (returned: R | PromiseLike<R>, { controller, timeout, running }: AttemptLimits): Promise<Outcome<R>> {
  return new Promise(resolve => {
    const finish = (outcome: Outcome<R>) => {
      if (!running.delete(abort)) return
      clearTimeout(timer)
      resolve(outcome)
    }
    const abort: Abort = reason => {
      // A timer may fire after the end, as where tests fake clearTimeout.
      if (!running.has(abort)) return
      controller.abort(reason)
      finish(rejected(reason))
    }
    const timer = timeout === undefined ? undefined : setTimeout(() => abort(timedOut()), timeout)
    running.add(abort)
    report(returned, finish)
  })
}

/** Never rejects. By `await`, which does not call a `then` that a promise of a worker has of its own. */
async function report<R> (returned: R | PromiseLike<R>, finish: (outcome: Outcome<R>) => void): Promise<void> {
  let outcome: Outcome<R>
  try {
    outcome = fulfilled(await returned)
  } catch (error) {
    outcome = rejected(error)
  }
  finish(outcome)
}

/** Whether `await` would wait for the value. */
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
