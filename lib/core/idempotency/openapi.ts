// Describes Idempotency-Key in OpenAPI.
import type { FastifySchema } from 'fastify'
import { IdempotencyInFlight, IdempotencyKeyUnusable, IdempotencyMismatch } from '../../errors.js'
import { documentError } from '../openapi/errors.js'
import type { IdempotencySettings } from './options.js'

/** When each error comes. */
const ERRORS = [
  ['A request with this key is still running, or its answer was too large to be kept.', new IdempotencyInFlight()],
  ['The key was used with another request.', new IdempotencyMismatch()]
] as const

const REPLAYED = { type: 'string', const: 'true', description: 'There when the request had been answered before: this is that answer' }

interface Response { description?: string, headers?: object, content?: Record<string, { examples?: object }> }

/** Adds the header, and the statuses that come with it. */
export function documentIdempotency (schema: FastifySchema, { required }: IdempotencySettings): FastifySchema {
  const responses = { ...schema.response as Record<string, Response> }
  for (const status of ['200', '207']) {
    const given = responses[status]
    if (given !== undefined) responses[status] = { ...given, headers: { ...given.headers, 'Idempotency-Replayed': REPLAYED } }
  }
  for (const [when, error] of ERRORS) {
    const status = error.statusCode!
    responses[status] = addError(responses[status], documentError(status, when, { [error.code]: error }))
  }
  return { ...schema, headers: addHeader(schema.headers as object, required), response: responses }
}

/** Says of a streaming operation that it takes no key. */
export function documentRefusal (schema: FastifySchema): FastifySchema {
  const responses = schema.response as Record<string, Response>
  const unusable = new IdempotencyKeyUnusable()
  const error = documentError(400, 'It has an Idempotency-Key, although its body is streamed.', { [unusable.code]: unusable })
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

/** Puts an error beside another one of the same status, if there is one; what the app has written itself stays as it is. */
function addError (given: Response | undefined, error: Response): Response {
  const json = given?.content?.['application/json']
  if (json?.examples === undefined) return given ?? error
  const examples = { ...json.examples, ...error.content!['application/json']!.examples }
  return { ...given, description: `${given!.description} ${error.description}`, content: { 'application/json': { ...json, examples } } }
}
