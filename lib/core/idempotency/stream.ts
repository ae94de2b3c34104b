// Sends a streamed answer and keeps a copy of it.
import { PassThrough, finished, type Readable } from 'node:stream'

/**
 * Passes a stream on as it comes. It is read to its end also when the client is gone, because what it tells of the work
 * is still worth keeping; for the client it ends only once it is kept.
 * @param limit bytes; of a longer stream nothing is kept
 * @param keep called with all of the stream, or with null when it was too long or broke
 */
export function keepStream (source: Readable, limit: number, keep: (body: Buffer | null) => Promise<void>): Readable {
  const client = new PassThrough()
  const pieces: Buffer[] = []
  let size = 0
  source.on('data', (piece: Buffer | string) => {
    const bytes = Buffer.from(piece as string)
    size += bytes.length
    if (size <= limit) pieces.push(bytes)
    else pieces.length = 0
  })
  source.pipe(client, { end: false })
  client.once('close', () => {
    source.unpipe(client)
    source.resume()
  })
  finished(source, async error => {
    await keep(error || size > limit ? null : Buffer.concat(pieces))
    if (error) client.destroy(error)
    else client.end()
  })
  return client
}
