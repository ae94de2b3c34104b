// A rate limit that counts items, so that a batch is no way around it.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { rateLimited, RateLimited } from '../../errors.js'
import { configOf } from './received.js'

/** What `app.createRateLimit()` of @fastify/rate-limit gives back. */
export type CheckLimit = (request: FastifyRequest, options?: { increment?: boolean }) => Promise<LimitState>

/** How far a limit is used up; of the requests on its allow list it says nothing else. */
export type LimitState = { readonly isAllowed: true } |
  { readonly isAllowed: false, readonly remaining: number, readonly ttlInSeconds: number, readonly isExceeded: boolean }

/** The limits that the lines of streams count against, whose number nobody knows before they come. */
const limits = new WeakMap<FastifyRequest, CheckLimit>()

/**
 * Makes a `preHandler` hook for bulk routes that charges a limit of @fastify/rate-limit for every item. A batch with more
 * items than are left is refused whole, before anything runs, and costs nothing. In a stream, each line is charged as it
 * comes, and one too many fails alone. A request that is no batch costs one.
 * @param check as `app.createRateLimit({ max: 1000, timeWindow: '1 minute' })` makes it. It can only count one at a time,
 *   so that a batch of a thousand items asks its store a thousand times, at once.
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
    // Others may have been faster since.
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

/** Charges for one line of a stream, where its request has a limit. @throws ItemError, 429, as a rejection */
export function chargeLine (request: FastifyRequest): (() => Promise<void>) | undefined {
  const check = limits.get(request)
  if (check === undefined) return undefined
  return async () => {
    const state = await check(request)
    if (!state.isAllowed && state.isExceeded) throw rateLimited(state.ttlInSeconds)
  }
}
