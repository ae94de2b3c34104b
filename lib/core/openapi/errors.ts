// What OpenAPI says of the errors of a bulk route, when nothing ran.
import { STATUS_CODES } from 'node:http'
import { Type } from '@sinclair/typebox'
import { ItemProblem, type AnyContract } from '../../../schemas/index.js'
import { exampleKey, problemsOf } from './examples.js'
import type { ItemArray } from '../items/body-schema.js'
import { pointerTo, type Compile } from '../items/validator.js'
import type { JsonSchema } from '../items/tagged-union.js'

/** Fastify's own error answer, for a request of which nothing ran. */
export const RequestError = Type.Object({
  statusCode: Type.Integer({ minimum: 400, maximum: 599 }),
  code: Type.Optional(Type.String({ description: 'Stable and machine readable' })),
  error: Type.String({ description: 'The name of the status code' }),
  message: Type.String({ description: 'What was expected and what was received' }),
  errors: Type.Optional(Type.Array(ItemProblem, { description: 'With 422: what was wrong with each item' }))
}, { title: 'RequestError' })

/** One way to get an error: its code, where it has one, its message, and what else it says. */
export type Way = [code: string | undefined, message: string, more?: object]

/** An error: when, and the ways to get it. */
type Documented = [when: string, ways: Record<string, Way>]

/** Of every route, whatever its body is. */
const EVERYWHERE: Record<number, Documented> = {
  400: ['The request cannot be read.', { malformed: [undefined, 'Client Error'] }],
  408: ['The request did not arrive in time.', { timeout: [undefined, 'Client Timeout'] }],
  415: ['The media type is not supported.', { mediaType: ['FST_ERR_CTP_INVALID_MEDIA_TYPE', 'Unsupported Media Type'] }],
  431: ['The header is too large.', { header: [undefined, 'Exceeded maximum allowed HTTP header size'] }],
  500: ['Something failed before the first item.', { unexpected: [undefined, 'No connection to the database'] }],
  503: ['The server is closing or has too much to do.', {
    closing: [undefined, 'Service Unavailable'],
    busy: ['FST_MULTI_STATUS_TOO_BUSY', 'Expected at most 1000 requests with many items to be in progress at a time; there are as many already, so nothing ran']
  }]
}

/** What some answers of a status have beside their body. */
const HEADERS: Record<string, object> = {
  503: { 'Retry-After': { type: 'integer', description: 'Seconds after which to try again' } }
}

const TOO_MANY_BYTES: Way = ['FST_ERR_CTP_BODY_TOO_LARGE', 'Request body is too large']

/** Of a route that is told its items by the handler, as one that reads a form. */
const UNKNOWN_ITEMS: Record<number, Documented> = {
  ...EVERYWHERE,
  400: ['No batch: malformed or empty.', {
    malformed: ['FST_MULTI_STATUS_MALFORMED_FORM', 'Expected a form in multipart/form-data; received one that cannot be read: it names no boundary'],
    empty: ['FST_MULTI_STATUS_BATCH_EMPTY', 'Expected at least 1 item in the form; received 0']
  }],
  413: ['Too many bytes; the message says the limit.', { bytes: TOO_MANY_BYTES }]
}

/** Of a route whose items are known before the handler runs. */
function knownItems (
  { key, schemas }: AnyContract, { member, items, maxItems }: ItemArray, compile: Compile
): Record<number, Documented> {
  const twice = JSON.stringify(exampleKey(schemas.key as JsonSchema, 0))
  const errors = problemsOf(items, key, compile)?.map(({ pointer, detail }) => ({ pointer: `${pointerTo('', member)}/1${pointer.slice(1)}`, detail }))
  return {
    ...EVERYWHERE,
    400: ['No batch: malformed, empty, or two items with one key.', {
      malformed: ['FST_ERR_CTP_INVALID_JSON_BODY', "Body is not valid JSON but content-type is set to 'application/json'"],
      empty: ['FST_MULTI_STATUS_BATCH_EMPTY', `Expected at least 1 item in ${member ?? 'the body'}; received 0`],
      twice: ['FST_MULTI_STATUS_DUPLICATE_KEYS', `Expected every item to have its own ${key}; received more than once: ${twice}`]
    }],
    413: ['Too many items or too many bytes; the message says the limit.', {
      items: ['FST_MULTI_STATUS_BATCH_TOO_LARGE', `Expected at most ${maxItems} items in one request; received ${maxItems + 1}`],
      bytes: TOO_MANY_BYTES
    }],
    422: ['At least one item is invalid and the request prefers handling=strict.', {
      strict: [
        'FST_MULTI_STATUS_INVALID_ITEMS', 'Expected only valid items (Prefer: handling=strict); received 1 invalid of 2, so nothing ran',
        errors && { errors }
      ]
    }]
  }
}

/**
 * The responses of a route by status code.
 * @param strictHeaders what the answer 422 has beside Fastify's own
 */
export function errorsOf (
  contract: AnyContract, itemArray: ItemArray | undefined, strictHeaders: Record<string, object>, compile: Compile
): Record<string, object> {
  if (itemArray === undefined) return documentAll(UNKNOWN_ITEMS)
  const errors = documentAll(knownItems(contract, itemArray, compile))
  return { ...errors, 422: { ...errors[422], headers: strictHeaders } }
}

/** The errors that every route can have, whatever it is asked. */
export function errorsEverywhere (): Record<string, object> {
  return documentAll(EVERYWHERE)
}

function documentAll (errors: Record<number, Documented>): Record<string, object> {
  return Object.fromEntries(Object.entries(errors).map(([status, [when, ways]]) =>
    [status, { ...documentError(Number(status), `${when} Nothing ran.`, ways), ...(status in HEADERS && { headers: HEADERS[status] }) }]))
}

/** An error answer of a whole request: when it comes, and examples of the ways to get it. */
export function documentError (statusCode: number, when: string, ways: Record<string, Way>): object {
  const examples = Object.fromEntries(Object.entries(ways).map(([name, [code, message, more]]) =>
    [name, { value: { statusCode, ...(code !== undefined && { code }), error: STATUS_CODES[statusCode], message, ...more } }]))
  return { description: when, content: { 'application/json': { schema: RequestError, examples } } }
}
