// An answer that comes before the request has been read: closed at once, the connection would take it along.
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Milliseconds that a client may go on sending what nobody wants, so that it comes to read its answer. */
const LINGER = 10_000

/** Ends the connection some time after the answer, when the client may go on sending. */
export function stopReading ({ raw }: FastifyRequest, reply: FastifyReply): void {
  // An injected request does not know that it is complete.
  if (raw.complete || raw.readableEnded) return
  reply.raw.once('finish', () => {
    // The connection keeps the process alive while there is one.
    const timer = setTimeout(() => raw.destroy(), LINGER).unref()
    for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer))
  })
}
