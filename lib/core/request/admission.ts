// Limits how many bulk requests are in progress. Refuses one more with 503, before its body is read.
import { TooBusy } from '../../errors.js'
import type { Admit } from './received.js'
import { stopReading } from './unread-body.js'

/** The `Retry-After` of a refused request, in seconds. */
const RETRY_AFTER = 1

/** Marks the raw requests of a batch. The batch has been admitted for them. */
export const SUB_REQUEST = Symbol('fastify-multi-status.sub-request')

/**
 * Admits bulk requests and streams while fewer than `max` are in progress. A request is in progress until its response is
 * sent or its connection is closed. Other routes are not counted.
 */
export function createAdmission (max: number): Admit {
  let count = 0
  return ({ multiStatus, multiStatusStream }, request, reply) => {
    if ((multiStatus ?? multiStatusStream) === undefined || SUB_REQUEST in request.raw || reply.raw.destroyed) return undefined
    if (count >= max) {
      reply.header('retry-after', RETRY_AFTER)
      stopReading(request, reply)
      return new TooBusy(max)
    }
    count++
    reply.raw.once('close', () => { count-- })
    return undefined
  }
}
