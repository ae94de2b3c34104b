// What OpenAPI says of a bulk route, as far as it follows from the contract.
import { Type } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import type { AnyContract } from '../../schemas/index.js'
import { exampleOf } from './example.js'
import type { StatusPolicy } from './reply.js'
import type { JsonSchema } from './tagged-union.js'

/** Fastify's own error answer, for a request of which nothing ran. */
export const RequestError = Type.Object({
  statusCode: Type.Integer({ examples: [400] }),
  code: Type.Optional(Type.String({ examples: ['FST_MULTI_STATUS_BATCH_EMPTY'] })),
  error: Type.String({ examples: ['Bad Request'] }),
  message: Type.String({ examples: ['Expected at least 1 item in the body; received 0'] })
}, { title: 'RequestError' })

const ERRORS = {
  400: 'No batch: malformed, empty, or two items with one key. Nothing ran.',
  413: 'Too many items or too many bytes; the message says the limit. Nothing ran.',
  415: 'The media type is not supported. Nothing ran.',
  422: 'At least one item is invalid and the request prefers handling=strict. Nothing ran.',
  500: 'Something failed before the first item. Nothing ran.',
  503: 'The server is closing or has too much to do. Nothing ran.'
}

const Prefer = Type.Optional(Type.String({
  description: 'RFC 7240. `handling=strict`: refuse the whole batch if any item is invalid. ' +
    '`return=minimal`: a success carries only its key and status.',
  examples: ['return=minimal']
}))

const HEADERS = {
  'Multi-Status': { type: 'string', description: 'An RFC 9651 dictionary: total=3, succeeded=2, failed=1' },
  'Preference-Applied': { type: 'string', description: 'The preferences that were honoured (RFC 7240)' }
}

/** The schema of a bulk route with everything that its contract implies; what the route says itself wins. */
export function documentRoute (schema: FastifySchema, contract: AnyContract, status: StatusPolicy): FastifySchema {
  const results = { 207: resultsOf(contract), ...(status === 'collapse' && { 200: allSucceeded(contract) }) }
  return {
    ...schema,
    headers: schema.headers ?? Type.Object({ prefer: Prefer }),
    response: { ...results, ...errorsOf(), ...schema.response as object }
  }
}

function resultsOf (contract: AnyContract): object {
  return {
    description: 'One result per item, in request order',
    headers: HEADERS,
    content: { 'application/json': { schema: contract.schemas.body, examples: examplesOf(contract) } }
  }
}

function allSucceeded (contract: AnyContract): object {
  return { ...resultsOf(contract), description: 'Every item succeeded' }
}

function errorsOf (): Record<string, object> {
  return Object.fromEntries(Object.entries(ERRORS).map(([code, description]) =>
    [code, { description, content: { 'application/json': { schema: RequestError } } }]))
}

function examplesOf ({ envelope, schemas }: AnyContract): object {
  const success = exampleOf(schemas.successes[0] as unknown as JsonSchema)
  const failure = exampleOf(schemas.failure as unknown as JsonSchema)
  const body = (results: unknown[]) => ({ [envelope]: results })
  return {
    mixed: { summary: 'Some worked, some did not', value: body([success, failure]) },
    succeeded: { summary: 'All worked', value: body([success]) },
    failed: { summary: 'None worked', value: body([failure]) }
  }
}
