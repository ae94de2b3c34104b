// Ends requests that are answered before their body has been read. Closing the connection at once could lose the answer.
import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest, ServerHttp2Stream } from 'node:http2'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Milliseconds that a client may continue to send its body before it reads the answer. */
const CLOSE_DELAY = 10_000

/** Closes the connection (in HTTP/2 the stream) CLOSE_DELAY after the answer, if the client has not finished by then. */
export function stopReading ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (isRead(raw)) return
  const stream = streamOf(raw)
  // In HTTP/2 the response emits `finish` only when its stream is closed.
  const answer = stream ?? reply.raw
  answer.once('finish', () => {
    // Unref, because the connection itself keeps the process alive.
    const timer = setTimeout(() => stream === undefined ? raw.destroy() : stream.close(), CLOSE_DELAY).unref()
    for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer))
  })
}

/** Closes the connection (in HTTP/2 the stream) right after the answer, for a client that may have stopped sending. */
export function endAfterAnswer ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (isRead(raw)) return
  const stream = streamOf(raw)
  if (stream === undefined) reply.header('connection', 'close')
  // This tells the client to stop sending, and it still gets its answer (RFC 9113 section 8.1).
  else stream.once('finish', () => stream.close())
}

/** Whether the whole body has been read. An injected request does not set `complete`. */
function isRead (raw: IncomingMessage): boolean {
  return raw.complete || raw.readableEnded
}

function streamOf (raw: IncomingMessage): ServerHttp2Stream | undefined {
  return (raw as Partial<Pick<Http2ServerRequest, 'stream'>>).stream
}
