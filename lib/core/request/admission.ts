// How many bulk requests may be in progress at a time: one more is refused at once, before anything of it is read or run.
import { TooBusy } from '../../errors.js'
import type { Admit } from './received.js'
import { stopReading } from './unread-body.js'

/** Seconds after which a client that has been refused is to come back. */
const RETRY_AFTER = 1

/** A member of requests that travel in another one, which has been admitted for them. */
export const PASSENGER = Symbol('fastify-multi-status.passenger')

/**
 * Makes what admits bulk requests, and their streams, while fewer than this are in progress; that is until their answer
 * has been sent or their connection is gone. Other routes are not counted.
 */
export function createAdmission (max: number): Admit {
  let count = 0
  return ({ multiStatus, multiStatusStream }, request, reply) => {
    if ((multiStatus ?? multiStatusStream) === undefined || PASSENGER in request.raw || reply.raw.destroyed) return undefined
    if (count >= max) {
      reply.header('retry-after', RETRY_AFTER)
      stopReading(request, reply)
      return new TooBusy(max)
    }
    count++
    // Not once, which costs a wrapper: it is closed no more than once.
    reply.raw.on('close', () => { count-- })
    return undefined
  }
}
