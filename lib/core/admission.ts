// How many bulk requests may be in progress at a time: one more is refused at once, before anything of it is read or run.
import type { FastifyInstance } from 'fastify'
import { TooBusy } from '../errors.js'
import { configOf } from './arrival.js'
import { stopReading } from './linger.js'

/** Seconds after which a client that has been refused is to come back. */
const RETRY_AFTER = 1

/** A member of requests that travel in another one, which has been admitted for them. */
export const PASSENGER = Symbol('fastify-multi-status.passenger')

/**
 * Admits bulk requests, and their streams, while fewer than this are in progress; that is until their answer has been
 * sent or their connection is gone. Other routes are not counted.
 */
export function limitRequests (app: FastifyInstance, max: number): void {
  let count = 0
  app.addHook('onRequest', function admitBulkRequest (request, reply, next) {
    const { multiStatus, multiStatusStream } = configOf(request)
    if ((multiStatus ?? multiStatusStream) === undefined || PASSENGER in request.raw || reply.raw.destroyed) return next()
    if (count >= max) {
      reply.header('retry-after', RETRY_AFTER)
      stopReading(request, reply)
      return next(new TooBusy(max))
    }
    count++
    // Not once, which costs a wrapper: it is closed no more than once.
    reply.raw.on('close', () => { count-- })
    next()
  })
}
