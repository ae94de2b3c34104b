// What the handler of a bulk route is told about its item.
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Key } from '../../../schemas/index.js'
import { signalOf, type Watch } from './attempt.js'
import type { WorkerContext } from './item-attempt.js'
import { showKey } from '../results/failure-log.js'

/** What a handler is told about its item. */
export interface ItemContext extends WorkerContext {
  /** The item's key; null where it has none. */
  readonly key: Key | null
  readonly request: FastifyRequest
  readonly log: FastifyBaseLogger
}

/** One attempt at an item of a request. Its `index` is the place of the item in the request. */
export class RequestItemAttempt implements ItemContext {
  readonly #watch: Watch

  constructor (
    readonly index: number, readonly attempt: number, watch: Watch, readonly key: Key | null, readonly request: FastifyRequest
  ) {
    this.#watch = watch
  }

  get signal (): AbortSignal { return signalOf(this.#watch, this) }
  get log (): FastifyBaseLogger { return this.request.log.child({ index: this.index, key: showKey(this.key) }) }
}
