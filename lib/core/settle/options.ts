// The options of settle.
import { Type } from '@sinclair/typebox'
import { checkOptions, functionOf, integer, optional } from '../options.js'

/** How items are run. */
export interface SettleOptions<T = unknown> {
  /** How many items run at a time. @default 16 */
  concurrency?: number
  /** Milliseconds that one attempt of an item may take, from when it starts; or what says so of an item. @default no limit */
  timeout?: number | ((item: T) => number | undefined)
  /** How often an item that failed is tried again, unless its ItemError says that it is not retryable. @default 0 */
  retries?: number
  /** Milliseconds before the first retry, doubled for each further one; the wait is a random part of it, at most 30 s. @default 100 */
  backoff?: number
  /** Ends the batch: what runs is cancelled, what has not started is not run. */
  signal?: AbortSignal
  /** After this many failures no further item starts. @default never */
  stopAfter?: number
}

const SCHEMA = Type.Object({
  concurrency: optional(integer(1), {}),
  timeout: optional(Type.Union([integer(1), functionOf()]), { expected: 'an integer from 1 to 2147483647' }),
  retries: optional(integer(0), {}),
  backoff: optional(integer(0), {}),
  stopAfter: optional(integer(1), {})
})

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function checkSettleOptions<T> (options: SettleOptions<T>): SettleOptions<T> {
  checkOptions(SCHEMA, options)
  return options
}

export { checkInteger, show } from '../options.js'
