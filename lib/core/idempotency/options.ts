// The options of idempotency, and their checks.
import type { FastifyRequest } from 'fastify'
import { InvalidOption } from '../../errors.js'
import { checkMembers, membersOf } from '../options.js'
import { checkInteger, show } from '../settle/options.js'
import type { IdempotencyStore } from './store.js'

/** Answers a request that comes again under the same `Idempotency-Key` with what it was answered first. */
export interface IdempotencyOptions {
  /** Where answers are kept, as `memoryIdempotency()` or `redisIdempotency({ client })`. */
  store: IdempotencyStore
  /** Milliseconds that an answer is kept. @default 86400000, a day */
  ttl?: number
  /** Whether a request without a key is refused. @default false */
  required?: boolean
  /**
   * Whose key it is, so that nobody gets the answer to somebody else; called after every hook of the route. Without it
   * all clients share their keys.
   */
  principal? (request: FastifyRequest): string | undefined | Promise<string | undefined>
}

/** The options with every default in place. */
export type IdempotencySettings = Required<Pick<IdempotencyOptions, 'store' | 'ttl' | 'required'>> & Pick<IdempotencyOptions, 'principal'>

const MEMBERS = membersOf<IdempotencyOptions>({ store: 1, ttl: 1, required: 1, principal: 1 })
const DAY = 24 * 60 * 60 * 1000

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readIdempotencyOptions (options: IdempotencyOptions): IdempotencySettings {
  checkMembers('idempotency', options, MEMBERS)
  const { store, ttl = DAY, required = false, principal } = options
  if (typeof store?.claim !== 'function') throw new InvalidOption('idempotency.store', 'a store, as memoryIdempotency() makes', show(store))
  checkInteger('idempotency.ttl', ttl, 1)
  if (typeof required !== 'boolean') throw new InvalidOption('idempotency.required', 'true or false', show(required))
  if (principal !== undefined && typeof principal !== 'function') {
    throw new InvalidOption('idempotency.principal', 'a function of the request', show(principal))
  }
  return { store, ttl, required, ...(principal !== undefined && { principal }) }
}
