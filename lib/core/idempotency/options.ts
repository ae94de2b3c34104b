// The options of idempotency.
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { functionOf, integer, optional, readOptions, withMethod } from '../options.js'
import type { IdempotencyStore } from './store.js'

/** Answers a request that comes again under the same `Idempotency-Key` with what it was answered first. */
export const IdempotencyOptions = Type.Object({
  /** Where answers are kept, as `memoryIdempotency()` or `redisIdempotency({ client })`. */
  store: Type.Unsafe<IdempotencyStore>({
    ...withMethod('claim', 'a store, as memoryIdempotency() makes'), description: '`memoryIdempotency()`, `redisIdempotency({ client })`, or one of your own'
  }),
  /** Milliseconds that an answer is kept. @default 86400000, a day */
  ttl: optional(integer(1), { default: 24 * 60 * 60 * 1000, description: 'milliseconds that an answer is kept: a day' }),
  /** Whether a request without a key is refused. @default false */
  required: optional(Type.Boolean(), { default: false, description: 'whether a request without a key is refused' }),
  /**
   * Whose key it is, so that nobody gets the answer to somebody else; called after every hook of the route. Without it
   * all clients share their keys.
   */
  principal: optional(functionOf<(request: FastifyRequest) => string | undefined | Promise<string | undefined>>('a function of the request'), {
    defaultText: 'nobody', description: 'whose key it is; without it all clients share their keys'
  })
})
export type IdempotencyOptions = Static<typeof IdempotencyOptions>

/** The options with every default in place. */
export type IdempotencySettings = Required<Pick<IdempotencyOptions, 'store' | 'ttl' | 'required'>> & Pick<IdempotencyOptions, 'principal'>

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readIdempotencyOptions (options: IdempotencyOptions): IdempotencySettings {
  return readOptions('idempotency', IdempotencyOptions, options)
}
