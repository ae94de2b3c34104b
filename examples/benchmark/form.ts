// The forms that are sent, and their sending.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { text } from 'node:stream/consumers'

const BOUNDARY = '----benchmark-5d41402abc4b2a76'
const END = Buffer.from(`\r\n--${BOUNDARY}--\r\n`)

/** A form with files, ready to be sent. */
export interface Form {
  readonly title: string
  /** How many files it has. */
  readonly files: number
  /** Bytes of all its files together. */
  readonly content: number
  /** Bytes of the whole form. */
  readonly length: number
  body (): Readable | Buffer
}

export function createForm (title: string, files: number, fileSize: number): Form {
  const content = randomBytes(fileSize)
  const parts = Array.from({ length: files }, (_, index) => [startFile(index), content])
  const body = Buffer.concat([...parts.flat(), END])
  return { title, files, content: files * fileSize, length: body.length, body: () => body }
}

/** One file that is made while it is sent. */
export function createLongForm (content: number): Form {
  const piece = randomBytes(64 * 1024)
  const start = startFile(0)
  function * make () {
    yield start
    for (let left = content; left > 0; left -= piece.length) yield left < piece.length ? piece.subarray(0, left) : piece
    yield END
  }
  return {
    title: 'one long file', files: 1, content, length: start.length + content + END.length, body: () => Readable.from(make())
  }
}

function startFile (index: number): Buffer {
  const disposition = `content-disposition: form-data; name="files"; filename="file-${index}.bin"`
  return Buffer.from(`\r\n--${BOUNDARY}\r\n${disposition}\r\ncontent-type: application/octet-stream\r\n\r\n`)
}

const agent = new Agent({ keepAlive: true })

/** Sends the form and waits for the whole answer. */
export async function post (port: number, form: Form): Promise<void> {
  const outgoing = request({
    agent,
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/upload',
    headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}`, 'content-length': form.length }
  })
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>
  const body = form.body()
  if (body instanceof Readable) await pipeline(body, outgoing)
  else outgoing.end(body)
  const [response] = await answered
  const answer = await text(response)
  if (response.statusCode! >= 300 || answer.includes('failed')) throw new Error(`answered ${response.statusCode}: ${answer}`)
}
