// Describes the errors of a bulk route in OpenAPI: those of whole requests, of which nothing ran.
import { STATUS_CODES } from 'node:http'
import { Type } from '@sinclair/typebox'
import { ItemProblem, type AnyContract } from '../../../schemas/index.js'
import { BatchEmpty, BatchTooLarge, DuplicateKeys, InvalidItems, MalformedForm, TooBusy } from '../../errors.js'
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

/** One way to get an error: an error of the plugin as it is made, or what Fastify says. */
export interface Way {
  readonly code?: string
  readonly message: string
  /** What is wrong with each item. */
  readonly errors?: readonly object[]
}

/** An error: when, and the ways to get it. */
type Documented = [when: string, ways: Record<string, Way>]

/** Lists the errors that every route can have, whatever its body is. */
const everywhere = (maxInFlight?: number): Record<number, Documented> => ({
  400: ['The request cannot be read.', { malformed: { message: 'Client Error' } }],
  408: ['The request did not arrive in time.', { timeout: { message: 'Client Timeout' } }],
  415: ['The media type is not supported.', { mediaType: { code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE', message: 'Unsupported Media Type' } }],
  431: ['The header is too large.', { header: { message: 'Exceeded maximum allowed HTTP header size' } }],
  500: ['Something failed before the first item.', { unexpected: { message: 'No connection to the database' } }],
  503: ['The server is closing or has too much to do.', {
    closing: { message: 'Service Unavailable' },
    ...(maxInFlight !== undefined && { busy: new TooBusy(maxInFlight) })
  }]
})

/** What some answers of a status have beside their body. */
const HEADERS: Record<string, object> = {
  503: { 'Retry-After': { type: 'integer', description: 'Seconds after which to try again' } }
}

/** What Fastify says of a body above `bodyLimit`. */
export const BODY_TOO_LARGE: Way = { code: 'FST_ERR_CTP_BODY_TOO_LARGE', message: 'Request body is too large' }

/** Lists the errors of a route that is told its items by the handler, as one that reads a form. */
const unknownItems = (maxInFlight: number): Record<number, Documented> => ({
  ...everywhere(maxInFlight),
  400: ['No batch: malformed or empty.', {
    malformed: new MalformedForm('it names no boundary'),
    empty: new BatchEmpty('the form')
  }],
  413: ['Too many bytes; the message says the limit.', { bytes: BODY_TOO_LARGE }]
})

/** Lists the errors of a route whose items are known before the handler runs. */
function knownItems ({ key, schemas }: AnyContract, { member, items, maxItems }: ItemArray, { maxInFlight, compile }: ErrorFacts): Record<number, Documented> {
  const twice = JSON.stringify(exampleKey(schemas.key as JsonSchema, 0))
  const errors = problemsOf(items, key, compile)?.map(({ pointer, detail }) => ({ pointer: `${pointerTo('', member)}/1${pointer.slice(1)}`, detail }))
  return {
    ...everywhere(maxInFlight),
    400: ['No batch: malformed, empty, or two items with one key.', {
      malformed: { code: 'FST_ERR_CTP_INVALID_JSON_BODY', message: "Body is not valid JSON but content-type is set to 'application/json'" },
      empty: new BatchEmpty(member ?? 'the body'),
      twice: new DuplicateKeys(key, twice)
    }],
    413: ['Too many items or too many bytes; the message says the limit.', {
      items: new BatchTooLarge(maxItems, maxItems + 1),
      bytes: BODY_TOO_LARGE
    }],
    422: ['At least one item is invalid and the request prefers handling=strict.', {
      strict: Object.assign(new InvalidItems(1, 2), errors && { errors })
    }]
  }
}

/** What the errors of a route depend on beside its contract and its items. */
interface ErrorFacts {
  /** The plugin's `maxInFlight`. */
  readonly maxInFlight: number
  /** Says what is wrong with an example. */
  readonly compile: Compile
}

/**
 * Describes the errors of a route by status code.
 * @param strictHeaders what the answer 422 has beside Fastify's own
 */
export function errorsOf (
  contract: AnyContract, itemArray: ItemArray | undefined, strictHeaders: Record<string, object>, facts: ErrorFacts
): Record<string, object> {
  if (itemArray === undefined) return documentAll(unknownItems(facts.maxInFlight))
  const errors = documentAll(knownItems(contract, itemArray, facts))
  return { ...errors, 422: { ...errors[422], headers: strictHeaders } }
}

/**
 * Describes the errors that every route can have, whatever it is asked.
 * @param maxInFlight the plugin's option, for a route that it limits
 */
export function errorsEverywhere (maxInFlight?: number): Record<string, object> {
  return documentAll(everywhere(maxInFlight))
}

function documentAll (errors: Record<number, Documented>): Record<string, object> {
  return Object.fromEntries(Object.entries(errors).map(([status, [when, ways]]) =>
    [status, { ...documentError(Number(status), `${when} Nothing ran.`, ways), ...(status in HEADERS && { headers: HEADERS[status] }) }]))
}

/** Describes an error answer of a whole request: when it comes, and examples of the ways to get it. */
export function documentError (statusCode: number, when: string, ways: Record<string, Way>): object {
  const examples = Object.fromEntries(Object.entries(ways).map(([name, { code, message, errors }]) => [name, {
    value: { statusCode, ...(code !== undefined && { code }), error: STATUS_CODES[statusCode], message, ...(errors !== undefined && { errors }) }
  }]))
  return { description: when, content: { 'application/json': { schema: RequestError, examples } } }
}

/** Whether {@link documentError} made this response, whose schema is for people and not for a serializer. */
export function isErrorAnswer (response: unknown): boolean {
  const { content } = Object(response) as { content?: Record<string, { schema?: unknown }> }
  return content?.['application/json']?.schema === RequestError
}
