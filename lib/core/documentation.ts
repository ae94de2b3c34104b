// What OpenAPI says of a bulk route, as far as it follows from the contract.
import { STATUS_CODES } from 'node:http'
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import type { AnyContract, FailureDetail } from '../../schemas/index.js'
import { exampleOf } from './example.js'
import { findItemArray } from './item-array.js'
import type { StatusPolicy } from './reply.js'
import type { JsonSchema } from './tagged-union.js'

/** Fastify's own error answer, for a request of which nothing ran. */
export const RequestError = Type.Object({
  statusCode: Type.Integer(),
  code: Type.Optional(Type.String({ description: 'Stable and machine readable' })),
  error: Type.String({ description: 'The name of the status code' }),
  message: Type.String({ description: 'What was expected and what was received' })
}, { title: 'RequestError' })

/** By status code: when, and an example's code and message. */
const ERRORS: Record<number, [when: string, code: string, message: string]> = {
  400: [
    'No batch: malformed, empty, or two items with one key.',
    'FST_MULTI_STATUS_BATCH_EMPTY', 'Expected at least 1 item in the body; received 0'
  ],
  413: [
    'Too many items or too many bytes; the message says the limit.',
    'FST_MULTI_STATUS_BATCH_TOO_LARGE', 'Expected at most 1000 items in one request; received 1001'
  ],
  415: ['The media type is not supported.', 'FST_ERR_CTP_INVALID_MEDIA_TYPE', 'Unsupported Media Type'],
  422: [
    'At least one item is invalid and the request prefers handling=strict.',
    'FST_MULTI_STATUS_INVALID_ITEMS', 'Expected only valid items (Prefer: handling=strict); received 1 invalid of 2, so nothing ran'
  ],
  500: ['Something failed before the first item.', 'ECONNREFUSED', 'No connection to the database'],
  503: ['The server is closing or has too much to do.', 'FST_ERR_REOPENED_CLOSE_SERVER', 'Service Unavailable']
}

const MINIMAL = '`return=minimal`: a success carries only its key and status.'
const STRICT = '`handling=strict`: refuse the whole batch if any item is invalid.'

const HEADERS = {
  'Multi-Status': { type: 'string', description: 'An RFC 9651 dictionary: total=3, succeeded=2, failed=1' },
  'Preference-Applied': { type: 'string', description: 'The preferences that were honoured (RFC 7240)' }
}

/** The schema of a bulk route with everything that its contract implies; what the route says itself wins. */
export function documentRoute (schema: FastifySchema, contract: AnyContract, status: StatusPolicy): FastifySchema {
  const results = { 207: resultsOf(contract), ...(status === 'collapse' && { 200: allSucceeded(contract) }) }
  // Where the items are not known before the handler runs, as in a form, none can be refused before.
  const isStrict = findItemArray(schema.body as JsonSchema | undefined) !== undefined
  return {
    ...schema,
    headers: schema.headers ?? Type.Object({ prefer: preferOf(isStrict) }),
    response: { ...results, ...errorsOf(isStrict), ...schema.response as object }
  }
}

/** The header of a request that has items. */
export function preferOf (isStrict: boolean): TSchema {
  const description = ['RFC 7240.', ...(isStrict ? [STRICT] : []), MINIMAL].join(' ')
  return Type.Optional(Type.String({ description, examples: ['return=minimal'] }))
}

function resultsOf (contract: AnyContract): object {
  return {
    description: 'One result per item, in request order',
    headers: HEADERS,
    content: { 'application/json': { schema: contract.schemas.body, examples: examplesOf(contract) } }
  }
}

function allSucceeded (contract: AnyContract): object {
  const { succeeded } = examplesOf(contract)
  return {
    description: 'Every item succeeded',
    headers: HEADERS,
    content: { 'application/json': { schema: contract.schemas.body, examples: { succeeded } } }
  }
}

/** The answers when nothing ran. */
export function errorsOf (isStrict: boolean): Record<string, object> {
  const errors = Object.entries(ERRORS).filter(([status]) => isStrict || status !== '422')
  return Object.fromEntries(errors.map(([status, [when, code, message]]) => {
    const example = { statusCode: Number(status), code, error: STATUS_CODES[status], message }
    return [status, { description: `${when} Nothing ran.`, content: { 'application/json': { schema: RequestError, example } } }]
  }))
}

const FAILURE: FailureDetail = {
  message: 'Invalid data',
  code: 'INVALID_ITEM',
  statusCode: 422,
  retryable: false,
  errors: [{ pointer: '#/name', detail: 'must be string; received number' }]
}

function examplesOf (contract: AnyContract) {
  const success = exampleOf(contract.schemas.successes[0] as unknown as JsonSchema) as Record<string, unknown>
  const failure = contract.fail(otherKey(success[contract.key], contract), FAILURE)
  const body = (results: unknown[]) => ({ [contract.envelope]: results })
  return {
    mixed: { summary: 'Some worked, some did not', value: body([success, failure]) },
    succeeded: { summary: 'All worked', value: body([success]) },
    failed: { summary: 'None worked', value: body([failure]) }
  }
}

/** The key of a second item, because no two items of a request have the same. */
function otherKey (key: unknown, { schemas }: AnyContract): unknown {
  const [, second] = (schemas.key.examples ?? []) as unknown[]
  return second ?? (typeof key === 'number' ? key + 1 : `${String(key)}-2`)
}
