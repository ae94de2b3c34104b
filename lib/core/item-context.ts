// What the handler of a bulk route is told about its item.
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Key } from '../../schemas/index.js'
import type { Watch } from './attempt.js'
import { ItemAttempt, type WorkerContext } from './item-attempt.js'
import { showKey } from './item-log.js'

/** What a handler is told about its item. */
export interface ItemContext extends WorkerContext {
  /** The item's key; null where it has none. */
  readonly key: Key | null
  readonly request: FastifyRequest
  readonly log: FastifyBaseLogger
}

/** One attempt at an item of a request. Its `index` is the place of the item in the request. */
export class RequestItemAttempt extends ItemAttempt implements ItemContext {
  constructor (index: number, attempt: number, how: Watch, readonly key: Key | null, readonly request: FastifyRequest) {
    super(index, attempt, how)
  }

  get log () { return this.request.log.child({ index: this.index, key: showKey(this.key) }) }
}
