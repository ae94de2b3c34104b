// Documents Idempotency-Key in OpenAPI.
import type { FastifySchema } from 'fastify'
import { IdempotencyKeyUnusable } from '../../errors.js'
import { documentError, type Way } from '../openapi/errors.js'
import type { IdempotencySettings } from './options.js'

/** The errors of a key: status, description, and the code and message of an example. */
const ERRORS: [status: number, when: string, code: string, message: string][] = [
  [409, 'A request with this key is still running, or its answer was too large to be kept.',
    'FST_MULTI_STATUS_IDEMPOTENCY_IN_FLIGHT', 'A request with this Idempotency-Key is still running; try again later'],
  [422, 'The key was used with another request.',
    'FST_MULTI_STATUS_IDEMPOTENCY_MISMATCH', 'Expected the same request as before under this Idempotency-Key; received another one']
]

/** The error of a streaming operation. */
const REFUSED: Way = ['FST_MULTI_STATUS_IDEMPOTENCY_KEY_UNUSABLE', new IdempotencyKeyUnusable().message]

const REPLAYED = { type: 'string', const: 'true', description: 'There when the request had been answered before: this is that answer' }

interface Response { description?: string, headers?: object, content?: Record<string, { examples?: object }> }

/** Adds the header and its errors to a route that accepts keys. */
export function documentIdempotency (schema: FastifySchema, { required }: IdempotencySettings): FastifySchema {
  const responses = { ...schema.response as Record<string, Response> }
  for (const status of ['200', '207']) {
    const given = responses[status]
    if (given !== undefined) responses[status] = { ...given, headers: { ...given.headers, 'Idempotency-Replayed': REPLAYED } }
  }
  for (const [status, when, code, message] of ERRORS) {
    responses[status] = addError(responses[status], documentError(status, when, { [code]: [code, message] }))
  }
  return { ...schema, headers: addHeader(schema.headers as object, required), response: responses }
}

/** Adds the error of a streaming operation, which accepts no key. */
export function documentRefusal (schema: FastifySchema): FastifySchema {
  const responses = schema.response as Record<string, Response>
  const error = documentError(400, 'It has an Idempotency-Key, although its body is streamed.', { [REFUSED[0]!]: REFUSED })
  return { ...schema, response: { ...responses, 400: addError(responses[400], error) } }
}

function addHeader (headers: object, isRequired: boolean): object {
  const { properties, required = [] } = headers as { properties?: object, required?: string[] }
  const description = 'Chosen by the client, as a UUID: the same request under the same key runs once, and is answered as before.'
  return {
    type: 'object',
    ...headers,
    properties: { ...properties, 'Idempotency-Key': { type: 'string', minLength: 1, maxLength: 255, description, examples: ['8e03978e-40d5-43dd-bc93-6894a57f9324'] } },
    ...(isRequired && { required: [...required, 'Idempotency-Key'] })
  }
}

/** Adds an error to the errors of the same status. A response that the app documents itself stays unchanged. */
function addError (given: Response | undefined, error: Response): Response {
  const json = given?.content?.['application/json']
  if (json?.examples === undefined) return given ?? error
  const examples = { ...json.examples, ...error.content!['application/json']!.examples }
  return { ...given, description: `${given!.description} ${error.description}`, content: { 'application/json': { ...json, examples } } }
}
