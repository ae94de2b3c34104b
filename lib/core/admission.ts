// How many bulk requests may be in progress at a time: one more is refused at once, before anything of it is read or run.
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { TooBusy } from '../errors.js'
import { stopReading } from './linger.js'

/** Seconds after which a client that has been refused is to come back. */
const RETRY_AFTER = 1

/** Requests that travel in another one, which has been admitted for them. */
const passengers = new WeakSet<IncomingMessage>()

/** Lets a request pass, because it is part of one that is in progress already. */
export function letPass (message: IncomingMessage): void {
  passengers.add(message)
}

/**
 * Admits bulk requests, and their streams, while fewer than this are in progress; that is until their answer has been
 * sent or their connection is gone. Other routes are not counted.
 */
export function limitRequests (app: FastifyInstance, max: number): void {
  let count = 0
  app.addHook('onRequest', function admitBulkRequest (request, reply, next) {
    const { multiStatus, multiStatusStream } = request.routeOptions.config
    if ((multiStatus ?? multiStatusStream) === undefined || passengers.has(request.raw) || reply.raw.destroyed) return next()
    if (count >= max) {
      reply.header('retry-after', RETRY_AFTER)
      stopReading(request, reply)
      return next(new TooBusy(max))
    }
    count++
    reply.raw.once('close', () => { count-- })
    next()
  })
}
