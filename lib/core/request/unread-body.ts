// An answer that comes before the request has been read: closed at once, the connection would take it along.
import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest, ServerHttp2Stream } from 'node:http2'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Milliseconds that a client may go on sending what nobody wants, so that it comes to read its answer. */
const LINGER = 10_000

/** Ends the connection some time after the answer, when the client may go on sending; with HTTP/2, its stream. */
export function stopReading ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (isRead(raw)) return
  const stream = streamOf(raw)
  // A response of HTTP/2 says that it has finished only once its stream is closed.
  const answer = stream ?? reply.raw
  answer.once('finish', () => {
    // The connection keeps the process alive while there is one.
    const timer = setTimeout(() => stream === undefined ? raw.destroy() : stream.close(), LINGER).unref()
    for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer))
  })
}

/** Ends the connection after the answer; with HTTP/2 the stream, on which the client may have left off for good. */
export function endAfterAnswer ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (isRead(raw)) return
  const stream = streamOf(raw)
  if (stream === undefined) reply.header('connection', 'close')
  // The client is told to send no more, and has its answer all the same (RFC 9113 section 8.1).
  else stream.once('finish', () => stream.close())
}

/** Whether all of it has come, which a request that was injected does not know of itself. */
function isRead (raw: IncomingMessage): boolean {
  return raw.complete || raw.readableEnded
}

function streamOf (raw: IncomingMessage): ServerHttp2Stream | undefined {
  return (raw as Partial<Pick<Http2ServerRequest, 'stream'>>).stream
}
