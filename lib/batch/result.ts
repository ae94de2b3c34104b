// Makes the result of an item from the answer of its sub-request.
import { isUtf8 } from 'node:buffer'
import { STATUS_CODES } from 'node:http'
import { batch, type BatchResult } from '../../schemas/index.js'
import { ItemError, toFailure } from '../errors.js'
import { shownHeaders } from './headers.js'

/** The answer of a sub-request. */
export interface Answer {
  readonly statusCode: number
  /** By names in lower case. */
  readonly headers: Readonly<Record<string, unknown>>
  readonly payload: Buffer
}

/** Types of content that are JSON. */
export const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i
const TEXT_TYPE = /^(?:text\/|application\/(?:[\w.+-]+\+)?(?:xml|yaml|javascript|x-www-form-urlencoded|x-ndjson)\s*(?:;|$)|image\/svg\+xml)/i

/** Formats an answer: a success from 200 to 399, a failure from 400; with its headers and its body in both cases. */
export function formatAnswer (id: string, answer: Answer): BatchResult {
  const shown = { headers: shownHeaders(answer.headers), ...showBody(answer) }
  if (answer.statusCode >= 400) return batch.fail(id, { ...toFailure(explain(answer, shown.body)), ...shown })
  return batch.succeed(id, { statusCode: answer.statusCode, ...shown })
}

/** A 4xx in the words of the app; a 5xx in none, because clients must not learn what went wrong inside. */
function explain ({ statusCode, headers }: Answer, body: unknown): ItemError {
  const { message, code } = Object(statusCode < 500 ? body : undefined) as { message?: unknown, code?: unknown }
  const name = STATUS_CODES[statusCode] ?? `Status ${statusCode}`
  const retryAfter = readRetryAfter(headers['retry-after'])
  // Who says when to come back, or that the first one still runs, has not said no; else the status decides.
  const isForNow = retryAfter !== undefined || code === 'FST_MULTI_STATUS_IDEMPOTENCY_IN_FLIGHT'
  return new ItemError(typeof message === 'string' ? message : statusCode === 500 ? 'Internal error' : name, {
    code: typeof code === 'string' ? code : statusCode === 500 ? 'INTERNAL_ERROR' : constantOf(name),
    statusCode,
    ...(isForNow && { retryable: true }),
    ...(retryAfter !== undefined && { retryAfter })
  })
}

/** "Not Found" -> "NOT_FOUND" */
function constantOf (name: string): string {
  return name.replaceAll("'", '').replace(/[^A-Za-z0-9]+/g, '_').toUpperCase()
}

/** RFC 9110 section 10.2.3: seconds, or a date. */
function readRetryAfter (header: unknown): number | undefined {
  if (header === undefined) return undefined
  const text = String(header).trim()
  if (/^\d{1,9}$/.test(text)) return Number(text)
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - Date.now()) / 1000))
}

/** The body of an answer as its result shows it. */
interface ShownBody {
  body?: unknown
  encoding?: 'base64'
}

/** JSON as it is, text as a string, everything else in base64; nothing where there is nothing. */
function showBody ({ headers, payload }: Answer): ShownBody {
  if (payload.length === 0) return {}
  const type = String(headers['content-type'] ?? '')
  if (headers['content-encoding'] === undefined && isUtf8(payload)) {
    if (JSON_TYPE.test(type)) return { body: parse(payload.toString()) }
    if (type === '' || TEXT_TYPE.test(type)) return { body: payload.toString() }
  }
  return { body: payload.toString('base64'), encoding: 'base64' }
}

/** Text that claims to be JSON and is none stays text. */
function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
