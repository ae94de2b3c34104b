// Tells whether two requests ask for the same.
import { createHash, type Hash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'

/** Characters that are hashed at a time. */
const PIECE = 65_536

/**
 * The SHA-256 of a request: its method, its URL, the media type and the parsed body, in which neither white space nor
 * the order of members matters.
 * @returns undefined when the body is a stream or has not been read, as a form that the handler will stream
 */
export function fingerprintOf (request: FastifyRequest): string | undefined {
  if (isUnread(request)) return undefined
  const { method, url, headers, body } = request
  const mediaType = headers['content-type']?.split(';')[0]!.trim().toLowerCase()
  const hash = createHash('sha256').update(JSON.stringify([method, url, mediaType]))
  if (Buffer.isBuffer(body)) hash.update(body)
  else hashJson(hash, body)
  return hash.digest('base64url')
}

/** Whether the request has a body that only the handler will read. */
export function isUnread ({ headers, body }: FastifyRequest): boolean {
  if (body === undefined) return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  return typeof (body as { pipe?: unknown } | null)?.pipe === 'function' || Symbol.asyncIterator in Object(body)
}

/** Without recursion, so that no depth of nesting exhausts the stack. Every value says how many it has within. */
function hashJson (hash: Hash, root: unknown): void {
  const left: unknown[] = [root]
  let text = ''
  while (left.length > 0) {
    const value = left.pop()
    if (Array.isArray(value)) {
      text += `[${value.length}:`
      for (const one of value) left.push(one)
    } else if (value !== null && typeof value === 'object') {
      const names = Object.keys(value).sort()
      text += `{${JSON.stringify(names)}`
      for (const name of names) left.push((value as Record<string, unknown>)[name])
    } else {
      text += `${JSON.stringify(value)},`
    }
    if (text.length > PIECE) {
      hash.update(text)
      text = ''
    }
  }
  hash.update(text)
}
