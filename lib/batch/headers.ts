// Decides which headers a sub-request has (some of the whole batch's, few of its own), and which of its answer are shown.
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { headerNotAllowed } from '../errors.js'

/** Who is asking and by which way, as far as a proxy in front says it. Always inherited, never an item's own. */
const ADDRESS = ['host', 'forwarded', 'x-real-ip']
const FORWARDED = /^x-forwarded-/

/** What an item may never bring, because it belongs to the connection or to who is asking. */
const FORBIDDEN = new Set([
  ...ADDRESS, 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'expect', 'via', 'keep-alive',
  'http2-settings', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', '__proto__'
])

/** Inherited from the batch where it has them. */
export const INHERITED = ['authorization', 'cookie', 'accept-language', 'user-agent', 'traceparent', 'tracestate', 'baggage', 'x-request-id']

/** What an item may have of its own. */
export const OWN = [
  'accept', 'accept-language', 'content-type', 'content-language', 'if-match', 'if-none-match', 'if-modified-since',
  'if-unmodified-since', 'idempotency-key', 'prefer', 'range'
]

/** Whether an item could ever be allowed to bring this header. */
export function isForbidden (name: string): boolean {
  return FORBIDDEN.has(name) || FORWARDED.test(name)
}

/** What every request of a batch inherits from it. */
export function inheritHeaders (request: FastifyRequest, names: readonly string[]): IncomingHttpHeaders {
  const given = request.raw.headers
  const inherited: IncomingHttpHeaders = {}
  for (const name in given) {
    if (names.includes(name) || ADDRESS.includes(name) || FORWARDED.test(name)) inherited[name] = given[name]
  }
  // HTTP/2 has the host in a pseudo header.
  if (given.host === undefined && given[':authority'] !== undefined) inherited.host = given[':authority'] as string
  const { requestIdHeader } = request.server.initialConfig
  // So that each of them logs under the id of the batch, also where it was this server that gave it.
  if (typeof requestIdHeader === 'string') inherited[requestIdHeader] = request.id
  return inherited
}

const NAME = /^[!#$%&'*+.^_`|~\w-]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * The headers of one item: what it inherits, and over it what it has of its own.
 * @throws ItemError HEADER_NOT_ALLOWED for the first header that it may not have
 */
export function itemHeaders (
  inherited: IncomingHttpHeaders, given: Readonly<Record<string, string>> | undefined, allowed: ReadonlySet<string>
): IncomingHttpHeaders {
  const headers = { ...inherited }
  if (given === undefined) return headers
  for (const [written, value] of Object.entries(given)) {
    const name = written.toLowerCase()
    if (!NAME.test(name)) throw headerNotAllowed(written, 'it is no name of a header')
    if (!allowed.has(name) && (isForbidden(name) || inherited[name] !== value)) throw headerNotAllowed(written)
    if (!VALUE.test(value)) throw headerNotAllowed(written, 'its value has characters that a header cannot have')
    headers[name] = value
  }
  return headers
}

/** What of an answer's headers is about its own connection, or must not be read by scripts. */
const LEFT_OUT = new Set([
  'connection', 'keep-alive', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'content-length', 'date', 'set-cookie',
  'proxy-authenticate', 'proxy-connection'
])

/** The headers of an answer that its result shows. */
export function shownHeaders (headers: Readonly<Record<string, unknown>>): Record<string, string> {
  const shown: Record<string, string> = {}
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    if (LEFT_OUT.has(name) || value === undefined) continue
    shown[name] = Array.isArray(value) ? value.join(', ') : String(value)
  }
  return shown
}
