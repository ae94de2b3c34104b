// What the batch itself has to say of one request. Made anew each time, because an error carries its stack.
import { ItemError } from '../errors.js'

const refuse = (statusCode: number, code: string, message: string) => new ItemError(message, { code, statusCode, retryable: false })

export const badUrl = (why: string) =>
  refuse(400, 'INVALID_URL', `Expected a path of this server as "/contacts?page=2"; received ${why}`)
export const badMethod = (method: string) =>
  refuse(405, 'METHOD_NOT_ALLOWED', `Method ${method.slice(0, 20)} not allowed here`)
export const badHeader = (name: string, why = 'a request of a batch may not have it of its own') =>
  new ItemError(`Header not allowed: ${why}`, {
    code: 'HEADER_NOT_ALLOWED', statusCode: 400, errors: [{ pointer: `#/headers/${encodeURIComponent(name.toWellFormed())}`, detail: why }]
  })
export const badBody = (detail: string) =>
  new ItemError('Invalid body', { code: 'INVALID_BODY', statusCode: 422, errors: [{ pointer: '#/body', detail }] })
export const badReference = (pointer: string, detail: string) =>
  new ItemError('Invalid reference', { code: 'BAD_REFERENCE', statusCode: 422, errors: [{ pointer, detail }] })
export const routeNotFound = () => refuse(404, 'ROUTE_NOT_FOUND', 'Route not found')
export const routeNotAllowed = () => refuse(403, 'ROUTE_NOT_ALLOWED', 'Route not allowed in a batch')
export const nestedBatch = () => refuse(403, 'NESTED_BATCH', 'A batch cannot be in a batch')
export const streamed = (statusCode: number) =>
  refuse(406, 'STREAM_NOT_ALLOWED', `The route streams its answer (${statusCode}), which a batch cannot carry; request it alone`)
export const upgraded = () =>
  refuse(426, 'UPGRADE_NOT_ALLOWED', 'The route wants another protocol, which a batch cannot speak; request it alone')
export const answerTooLarge = (statusCode: number, limit: number, what: string) =>
  refuse(413, 'RESPONSE_TOO_LARGE', `The route has answered ${statusCode}, but a batch carries at most ${limit} bytes ${what}; request it alone`)
export const failedDependency = (id: string, retryable: boolean) =>
  new ItemError(`Not run, because ${id} failed`, { code: 'FAILED_DEPENDENCY', statusCode: 424, retryable })
