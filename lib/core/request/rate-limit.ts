// Charges a rate limit for every item, so that a batch cannot bypass the limit.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { rateLimited, RateLimited } from '../../errors.js'
import { configOf } from './received.js'

/** The function that `app.createRateLimit()` of @fastify/rate-limit returns. */
export type CheckLimit = (request: FastifyRequest, options?: { increment?: boolean }) => Promise<LimitState>

/** The state of a limit. Requests on the allow list have `isAllowed: true` and nothing else. */
export type LimitState = { readonly isAllowed: true } |
  { readonly isAllowed: false, readonly remaining: number, readonly ttlInSeconds: number, readonly isExceeded: boolean }

/** The limits of streams. Their lines are charged one by one, because their number is unknown at the start. */
const limits = new WeakMap<FastifyRequest, CheckLimit>()

/**
 * Creates a `preHandler` hook for bulk routes that charges a limit of @fastify/rate-limit for every item. A batch with
 * more items than the limit has left is refused as a whole, before anything runs, and costs nothing. In a stream each line
 * is charged when it arrives; a line over the limit fails alone. A request without items costs one.
 * @param check the result of `app.createRateLimit({ max: 1000, timeWindow: '1 minute' })`. It counts only one at a time, so
 *   a batch of 1,000 items makes 1,000 calls to its store, all at once.
 * @throws FST_MULTI_STATUS_RATE_LIMITED, 429 with `Retry-After`
 * @example bulkRoute({ ..., preHandler: limitItems(app.createRateLimit({ max: 1000, timeWindow: '1 minute' })) })
 */
export function limitItems (check: CheckLimit): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request, reply) => {
    if (configOf(request).multiStatusStream !== undefined) {
      limits.set(request, check)
      return
    }
    const count = request.multiStatusBatch?.total ?? 1
    const before = await check(request, { increment: false })
    if (before.isAllowed) return
    if (count > before.remaining) throw refuse(reply, count, before)
    // Other requests may have used up the limit since `before`.
    const charged = await Promise.all(Array.from({ length: count }, () => check(request)))
    const exceeded = charged.find(state => !state.isAllowed && state.isExceeded)
    if (exceeded !== undefined) throw refuse(reply, count, exceeded)
  }
}

function refuse (reply: FastifyReply, count: number, state: LimitState): Error {
  const { remaining, ttlInSeconds } = state as Exclude<LimitState, { isAllowed: true }>
  reply.header('retry-after', ttlInSeconds)
  return new RateLimited(remaining, count, ttlInSeconds)
}

/**
 * Returns a function that charges one line of a stream; undefined if its request has no limit.
 * The function rejects with an ItemError, 429, when the limit is exceeded.
 */
export function chargeLine (request: FastifyRequest): (() => Promise<void>) | undefined {
  const check = limits.get(request)
  if (check === undefined) return undefined
  return async () => {
    const state = await check(request)
    if (!state.isAllowed && state.isExceeded) throw rateLimited(state.ttlInSeconds)
  }
}
