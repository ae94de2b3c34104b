// Parses the header Idempotency-Key, and fingerprints the request that has it.
import { createHash, type Hash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'

/** The most characters of a key. */
const MAX_LENGTH = 255

/** A String of RFC 8941 section 3.3.3, as the draft requires. */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/

/** A key without quotes, as most clients send it. No comma, because Node joins repeated headers with one. */
const BARE = /^[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]+$/

/**
 * Parses a key (draft-ietf-httpapi-idempotency-key-header, section 2.1), with or without quotes.
 * @returns undefined when it is malformed, empty or too long
 */
export function parseIdempotencyKey (header: string): string | undefined {
  const key = QUOTED.exec(header)?.[1]?.replace(/\\(.)/g, '$1') ?? BARE.exec(header)?.[0]
  return key !== undefined && key.length > 0 && key.length <= MAX_LENGTH ? key : undefined
}

/** Characters per update of the hash. */
const UPDATE_LENGTH = 65_536

/**
 * Hashes the method, URL, media type and parsed body of a request with SHA-256, to recognise the same request. White space
 * and the order of members do not count.
 * @returns undefined if the body is a stream or has not been read, as a form that the handler streams
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

/** Whether the request has a body that only the handler reads. */
export function isUnread ({ headers, body }: FastifyRequest): boolean {
  if (body === undefined) return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  return typeof (body as { pipe?: unknown } | null)?.pipe === 'function' || Symbol.asyncIterator in Object(body)
}

/**
 * Hashes a JSON value. It uses no recursion, so that deep nesting cannot exhaust the stack. Arrays and objects are
 * written with their length or names, so that different values never give the same text.
 */
function hashJson (hash: Hash, root: unknown): void {
  const stack: unknown[] = [root]
  let text = ''
  while (stack.length > 0) {
    const value = stack.pop()
    if (Array.isArray(value)) {
      text += `[${value.length}:`
      for (const element of value) stack.push(element)
    } else if (value !== null && typeof value === 'object') {
      const names = Object.keys(value).sort()
      text += `{${JSON.stringify(names)}`
      for (const name of names) stack.push((value as Record<string, unknown>)[name])
    } else {
      text += `${JSON.stringify(value)},`
    }
    if (text.length > UPDATE_LENGTH) {
      hash.update(text)
      text = ''
    }
  }
  hash.update(text)
}
