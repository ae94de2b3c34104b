// The answer of one request -> its result.
import { STATUS_CODES } from 'node:http'
import { batch, type BatchResult } from '../../schemas/index.js'
import { ItemError, toFailure } from '../errors.js'
import { showBody } from './body.js'
import { shownHeaders } from './headers.js'
import type { Answer } from './message.js'

/** Words an answer: a success from 200 to 399, a failure from 400; with its headers and its body in both cases. */
export function wordAnswer (id: string, answer: Answer): BatchResult {
  const shown = { headers: shownHeaders(answer.headers), ...showBody(answer) }
  if (answer.statusCode >= 400) return batch.fail(id, { ...toFailure(explain(answer, shown.body)), ...shown })
  return batch.succeed(id, { statusCode: answer.statusCode, ...shown })
}

/** A 4xx in the words of the app; a 5xx in none, as what went wrong inside is nobody's business outside. */
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
