// Bodies on their way through JSON: that of an item to bytes, that of an answer to what its result shows.
import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import type { Answer } from './message.js'
import { badBody } from './errors.js'

const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i
const TEXT_TYPE = /^(?:text\/|application\/(?:[\w.+-]+\+)?(?:xml|yaml|javascript|x-www-form-urlencoded|x-ndjson)\s*(?:;|$)|image\/svg\+xml)/i
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * What the route is to read, and the headers that say so.
 * @throws ItemError INVALID_BODY
 */
export function encodeBody (
  method: string, body: unknown, encoding: 'base64' | undefined, headers: IncomingHttpHeaders
): string | Buffer | undefined {
  if (body === undefined) {
    if (encoding !== undefined) throw badBody('must be there, as encoding is')
    return undefined
  }
  if (method === 'GET' || method === 'HEAD') throw badBody(`must not be there, as a ${method} has none`)
  const payload = encoding === 'base64' ? decodeBase64(body, headers) : encodeText(body, headers)
  headers['content-length'] = String(Buffer.byteLength(payload))
  return payload
}

function decodeBase64 (body: unknown, headers: IncomingHttpHeaders): Buffer {
  if (typeof body !== 'string' || !BASE64.test(body)) throw badBody('must be base64 with its padding (RFC 4648 section 4)')
  headers['content-type'] ??= 'application/octet-stream'
  return Buffer.from(body, 'base64')
}

function encodeText (body: unknown, headers: IncomingHttpHeaders): string {
  const type = headers['content-type'] ??= 'application/json'
  if (JSON_TYPE.test(type)) return stringify(body)
  if (typeof body !== 'string') throw badBody(`must be a string, as its content-type is ${type.slice(0, 80)}`)
  return body
}

function stringify (body: unknown): string {
  try {
    return JSON.stringify(body)
  } catch {
    throw badBody('must not be so deep')
  }
}

/** The body of an answer as its result shows it. */
export interface ShownBody {
  body?: unknown
  encoding?: 'base64'
}

/** JSON as it is, text as a string, everything else in base64; nothing where there is nothing. */
export function showBody ({ headers, payload }: Answer): ShownBody {
  if (payload === undefined || payload.length === 0) return {}
  const type = String(headers['content-type'] ?? '')
  const isReadable = headers['content-encoding'] === undefined && (typeof payload === 'string' || isUtf8(payload))
  if (isReadable && JSON_TYPE.test(type)) return { body: parse(textOf(payload)) }
  if (isReadable && (TEXT_TYPE.test(type) || (type === '' && typeof payload === 'string'))) return { body: textOf(payload) }
  return { body: Buffer.from(payload as string).toString('base64'), encoding: 'base64' }
}

function textOf (payload: string | Uint8Array): string {
  return typeof payload === 'string' ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString()
}

/** What says that it is JSON, and is none, is text. */
function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
