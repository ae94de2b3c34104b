// Every error of the plugin, and what becomes of an error that an item ran into.
import { createError } from '@fastify/error'
import type { FailureDetail, ItemProblem } from '../schemas/index.js'

// Registration: thrown at boot, meant for the developer.
export const AlreadyRegistered = createError('FST_MULTI_STATUS_ALREADY_REGISTERED',
  'fastify-multi-status must be registered once per application; this application has it already')
export const InvalidOption = createError<[string, string, string]>('FST_MULTI_STATUS_INVALID_OPTION',
  'fastify-multi-status: %s must be %s; received %s', 500, TypeError)
export const NotRegistered = createError<[string]>('FST_MULTI_STATUS_NOT_REGISTERED',
  'The bulk route %s needs fastify-multi-status; register the plugin before the route')

// Whole requests: nothing has run, and Fastify's error handler answers.
export const BodyNotBatch = createError<[string, string]>('FST_MULTI_STATUS_BODY_NOT_BATCH',
  'Expected %s; received %s', 400)
export const BatchEmpty = createError<[string]>('FST_MULTI_STATUS_BATCH_EMPTY',
  'Expected at least 1 item in %s; received 0', 400)
export const BatchTooLarge = createError<[number, number]>('FST_MULTI_STATUS_BATCH_TOO_LARGE',
  'Expected at most %d items in one request; received %d', 413)
export const DuplicateKeys = createError<[string, string]>('FST_MULTI_STATUS_DUPLICATE_KEYS',
  'Expected every item to have its own %s; received more than once: %s', 400)
export const InvalidItems = createError<[number, number]>('FST_MULTI_STATUS_INVALID_ITEMS',
  'Expected only valid items (Prefer: handling=strict); received %d invalid of %d, so nothing ran', 422)
export const RateLimited = createError<[number, number, number]>('FST_MULTI_STATUS_RATE_LIMITED',
  'Expected at most %d more items for now; received %d, so nothing ran; try again in %d seconds', 429)
export const BadDependency = createError<[string, string, string]>('FST_MULTI_STATUS_BAD_DEPENDENCY',
  'Expected dependsOn of request %s to name requests before it; received %s, %s', 400)
export const BatchNotRun = createError<[string]>('FST_MULTI_STATUS_BATCH_NOT_RUN',
  'The batch has not been run: %s', 503)
export const TooBusy = createError<[number]>('FST_MULTI_STATUS_TOO_BUSY',
  'Expected at most %d requests with many items to be in progress at a time; there are as many already, so nothing ran', 503)

// Whole requests with an Idempotency-Key, by the statuses of draft-ietf-httpapi-idempotency-key-header section 2.7.
export const IdempotencyKeyMissing = createError('FST_MULTI_STATUS_IDEMPOTENCY_KEY_MISSING',
  'Expected a header Idempotency-Key; received none', 400)
export const IdempotencyKeyMalformed = createError<[string]>('FST_MULTI_STATUS_IDEMPOTENCY_KEY_MALFORMED',
  'Expected an Idempotency-Key of 1 to 255 visible ASCII characters; received %s', 400)
export const IdempotencyKeyUnusable = createError('FST_MULTI_STATUS_IDEMPOTENCY_KEY_UNUSABLE',
  'Expected no Idempotency-Key with a body that is streamed, as a form is, because it cannot be compared before it is read', 400)
export const IdempotencyInFlight = createError('FST_MULTI_STATUS_IDEMPOTENCY_IN_FLIGHT',
  'A request with this Idempotency-Key is still running; try again later', 409)
export const IdempotencyAnswerLost = createError('FST_MULTI_STATUS_IDEMPOTENCY_ANSWER_LOST',
  'The request with this Idempotency-Key has been carried out, but its answer could not be kept', 409)
export const IdempotencyMismatch = createError('FST_MULTI_STATUS_IDEMPOTENCY_MISMATCH',
  'Expected the same request as before under this Idempotency-Key; received another one', 422)
export const IdempotencyUnavailable = createError('FST_MULTI_STATUS_IDEMPOTENCY_UNAVAILABLE',
  'The Idempotency-Key cannot be looked up now, so nothing ran; try again later', 503)

export const MalformedForm = createError<[string]>('FST_MULTI_STATUS_MALFORMED_FORM',
  'Expected a form in multipart/form-data; received one that cannot be read: %s', 400)
export const UploadTooLarge = createError<[number, number]>('FST_MULTI_STATUS_UPLOAD_TOO_LARGE',
  'Expected at most %d bytes of files in one request; received a request of %d bytes', 413)
export const BodyConsumed = createError('FST_MULTI_STATUS_BODY_CONSUMED',
  'Expected the form to be unread, so that it can be streamed; another plugin has read it already, ' +
  'as @fastify/multipart does with attachFieldsToBody', 500)

// Tasks: nothing has run, and the client may come back.
export const QueueFull = createError<[number, number]>('FST_MULTI_STATUS_QUEUE_FULL',
  'Expected at most %d tasks to wait for their turn; received a batch with which there would be %d', 503)
export const StoreFull = createError<[string]>('FST_MULTI_STATUS_STORE_FULL',
  'Expected room to keep another batch; there is none: %s', 503)
export const EngineUnavailable = createError<[string]>('FST_MULTI_STATUS_ENGINE_UNAVAILABLE',
  'Expected the engine of the tasks to be there; it cannot be reached: %s', 503)

export const EngineFailed = createError('FST_MULTI_STATUS_ENGINE_FAILED',
  'The engine of the tasks has failed; what it said is in the log', 500)

export const TooManyFollowers = createError<[number]>('FST_MULTI_STATUS_TOO_MANY_FOLLOWERS',
  'Expected at most %d clients to follow events at a time; ask for the batch from time to time instead', 503)
export const BatchNotFound = createError('FST_MULTI_STATUS_BATCH_NOT_FOUND',
  'Expected the id of a batch; there is none of this id', 404)
export const BatchExpired = createError('FST_MULTI_STATUS_BATCH_EXPIRED',
  'Expected the id of a batch that is still kept; this one has expired', 410)

export const EngineClosed = createError('FST_MULTI_STATUS_ENGINE_CLOSED',
  'Expected the engine of the tasks to be open; it has been closed with the server', 503)

/** Whether an engine could not be reached; by its code, because each copy of this module has a class of its own. */
export function isUnavailable (thrown: unknown): boolean {
  return thrown instanceof Error && (thrown as { code?: unknown }).code === 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE'
}

/** What an {@link ItemError} may say beside its message. */
export interface ItemErrorOptions extends Omit<FailureDetail, 'message'> {
  /** The error behind it: logged, never sent. */
  cause?: unknown
}

/** Shared by every copy of this module, as `import` and `require` each have one of their own. */
const BRAND = Symbol.for('fastify-multi-status.ItemError')

const RETRYABLE = new Set([408, 425, 429, 502, 503, 504])

/**
 * What a handler throws to say why one item failed. Unlike any other error, its message reaches the client.
 * @param message shown to the client
 * @param options `code` (default `ITEM_FAILED`), `statusCode` (400-599, default 422), `retryable`
 *   (default: true for 408, 425, 429, 502, 503 and 504), `retryAfter` (seconds), `errors`, `cause`
 * @throws RangeError when `statusCode` is not an integer from 400 to 599, or `retryAfter` not a finite number from 0
 * @example throw new ItemError('Email taken', { code: 'EMAIL_TAKEN', statusCode: 409 })
 */
export class ItemError extends Error implements FailureDetail {
  readonly code: string
  readonly statusCode: number
  readonly retryable: boolean
  readonly retryAfter?: number
  readonly errors?: ItemProblem[]

  static { Object.defineProperty(this.prototype, BRAND, { value: true }) }

  constructor (message: string, options: ItemErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'ItemError'
    this.code = options.code ?? 'ITEM_FAILED'
    this.statusCode = checkStatusCode(options.statusCode ?? 422)
    this.retryable = options.retryable ?? RETRYABLE.has(this.statusCode)
    if (options.retryAfter !== undefined) this.retryAfter = checkRetryAfter(options.retryAfter)
    if (options.errors !== undefined) this.errors = options.errors
  }
}

function checkStatusCode (statusCode: number): number {
  if (Number.isInteger(statusCode) && statusCode >= 400 && statusCode <= 599) return statusCode
  throw new RangeError(`ItemError: statusCode must be an integer from 400 to 599; received ${String(statusCode)}`)
}

function checkRetryAfter (seconds: number): number {
  if (Number.isFinite(seconds) && seconds >= 0) return seconds
  throw new RangeError(`ItemError: retryAfter must be a finite number from 0; received ${String(seconds)}`)
}

/** Whether this is an {@link ItemError}; false also of what cannot be looked at, as a revoked proxy. */
export function isItemError (thrown: unknown): thrown is ItemError {
  try {
    return thrown instanceof Error && BRAND in thrown
  } catch {
    return false
  }
}

// Items: what the plugin itself has to say of one item. Errors are made anew each time, because one carries its stack.
/** What a client is told of an invalid item; no error, because a batch may have many and each would carry a stack. */
export const invalidItemDetail = (errors: ItemProblem[]): FailureDetail =>
  ({ message: 'Invalid data', code: 'INVALID_ITEM', statusCode: 422, retryable: false, errors })
export const invalidItem = (errors: ItemProblem[]) => new ItemError('Invalid data', invalidItemDetail(errors))
export const invalidLine = (detail: string) =>
  new ItemError('Invalid line', { code: 'INVALID_LINE', statusCode: 400, errors: [{ pointer: '#', detail }] })
export const lineTooLong = (limit: number) =>
  new ItemError(`Expected a line of at most ${limit} bytes`, { code: 'LINE_TOO_LONG', statusCode: 413 })
export const tooManyItems = (limit: number) =>
  new ItemError(`Expected at most ${limit} items in one stream`, { code: 'TOO_MANY_ITEMS', statusCode: 413 })
export const forbidden = () =>
  new ItemError('Forbidden', { code: 'ITEM_FORBIDDEN', statusCode: 403, retryable: false })
export const rateLimited = (retryAfter: number) =>
  new ItemError('Rate limit exceeded', { code: 'RATE_LIMITED', statusCode: 429, retryAfter })
export const timedOut = () =>
  new ItemError('Timeout', { code: 'TIMEOUT', statusCode: 504 })
export const notRun = (why = 'Not run') =>
  new ItemError(why, { code: 'NOT_RUN', statusCode: 424, retryable: true })
export const cancelled = () =>
  new ItemError('Cancelled', { code: 'CANCELLED', statusCode: 424, retryable: true })
export const taskLost = (detail?: string) =>
  new ItemError('Task lost', { code: 'TASK_LOST', statusCode: 500, retryable: false, cause: detail })
export const resultTooLarge = () =>
  new ItemError('Result too large to keep', { code: 'RESULT_TOO_LARGE', statusCode: 507, retryable: false })
export const invalidResult = (detail?: string) =>
  new ItemError('Invalid result', { code: 'INVALID_RESULT', statusCode: 500, retryable: false, cause: detail })

// Items of /upload.
/** Cause: the file has no name, as an unfilled file picker sends. Cure: send a name. */
export const fileNameMissing = () => new ItemError('File name missing', { code: 'FILE_NAME_MISSING' })
/** Cause: the name has more bytes than `upload.limits.nameBytes`. Cure: shorten the name. */
export const fileNameTooLong = () => new ItemError('File name too long', { code: 'FILE_NAME_TOO_LONG' })
/** Cause: the name is a path, a reserved name, or has characters that hide. Cure: send a plain name. */
export const fileNameNotAllowed = () => new ItemError('File name not allowed', { code: 'FILE_NAME_NOT_ALLOWED' })
/** Cause: the content is not of the declared type, or not in `upload.accept`. Cure: `errors` says which type was declared and which was found. */
export const fileTypeNotAllowed = (detail: string) =>
  new ItemError('File type not allowed', { code: 'FILE_TYPE_NOT_ALLOWED', statusCode: 415, errors: [{ pointer: '#/type', detail }] })
/** Cause: the file has more bytes than `upload.limits.fileSize`. Cure: send a smaller file, or raise the limit. */
export const fileTooLarge = () =>
  new ItemError('File too large', { code: 'FILE_TOO_LARGE', statusCode: 413, retryable: false })
/** Cause: the request has more files than `upload.limits.files`. Cure: send the rest in another request. */
export const tooManyFiles = () =>
  new ItemError('Too many files', { code: 'TOO_MANY_FILES', statusCode: 413, retryable: true })
/** Cause: all files of the request together have more bytes than `upload.limits.total`. Cure: send the rest in another request. */
export const filesTooLarge = () =>
  new ItemError('Upload too large', { code: 'UPLOAD_TOO_LARGE', statusCode: 413, retryable: true })
/** Cause: the connection broke, or was idle, within the file. Cure: send the file again. */
export const uploadIncomplete = (cause: unknown) =>
  new ItemError('Upload incomplete', { code: 'UPLOAD_INCOMPLETE', statusCode: 400, retryable: true, cause })
/** Cause: `sha256` is not 64 hexadecimal digits. Cure: send the checksum in hexadecimal. */
export const checksumInvalid = () =>
  new ItemError('Checksum invalid', { code: 'CHECKSUM_INVALID', errors: [{ pointer: '#/sha256', detail: 'must be 64 hexadecimal digits' }] })
/** Cause: the content does not have the checksum that `sha256` says. Cure: send the file again. */
export const checksumMismatch = () => new ItemError('Checksum mismatch', { code: 'CHECKSUM_MISMATCH', retryable: true })
/** Cause: the storage took longer than `upload.storageTimeout`. Cure: try again, and look after the storage. */
export const storageTimeout = () => new ItemError('Storage timeout', { code: 'STORAGE_TIMEOUT', statusCode: 504 })
/** Cause: the disk is full, or a quota is used up. Cure: make room. */
export const storageFull = (cause: unknown) =>
  new ItemError('Storage full', { code: 'STORAGE_FULL', statusCode: 507, retryable: true, cause })
/** Cause: the storage refused the file. Cure: read the server's log, which has the reason. */
export const storageFailed = (cause: unknown) =>
  new ItemError('Storage failed', { code: 'STORAGE_FAILED', statusCode: 500, retryable: true, cause })

// Items of /batch.
const refuseRequest = (statusCode: number, code: string, message: string) =>
  new ItemError(message, { code, statusCode, retryable: false })
const refuseMember = (message: string, code: string, statusCode: number, pointer: string, detail: string) =>
  new ItemError(message, { code, statusCode, errors: [{ pointer, detail }] })

/** Cause: the URL is no path of this server. Cure: send a path with its query, without "." segments or a fragment. */
export const invalidUrl = (why: string) =>
  refuseRequest(400, 'INVALID_URL', `Expected a path of this server as "/contacts?page=2"; received ${why}`)
/** Cause: the path has routes, but none for this method. Cure: use a method of the route. */
export const methodNotAllowed = (method: string) =>
  refuseRequest(405, 'METHOD_NOT_ALLOWED', `Method ${method.slice(0, 20)} not allowed here`)
/** Cause: an item brings a header that it may not have. Cure: leave it out, or add it to `batch.headers.own`. */
export const headerNotAllowed = (name: string, why = 'a request of a batch may not have it of its own') =>
  refuseMember(`Header not allowed: ${why}`, 'HEADER_NOT_ALLOWED', 400, `#/headers/${encodeURIComponent(name.toWellFormed())}`, why)
/** Cause: the body does not fit its method, encoding or content type. Cure: see `errors`. */
export const invalidBody = (detail: string) => refuseMember('Invalid body', 'INVALID_BODY', 422, '#/body', detail)
/** Cause: a reference names no earlier request or no value of its answer. Cure: see `errors`. */
export const badReference = (pointer: string, detail: string) => refuseMember('Invalid reference', 'BAD_REFERENCE', 422, pointer, detail)
/** Cause: no route has this path. Cure: correct the URL. */
export const routeNotFound = () => refuseRequest(404, 'ROUTE_NOT_FOUND', 'Route not found')
/** Cause: the route has not opted in. Cure: set `config: { batch: true }`, or name it in `batch.allow`. */
export const routeNotAllowed = () => refuseRequest(403, 'ROUTE_NOT_ALLOWED', 'Route not allowed in a batch')
/** Cause: an item calls the route of a batch. Cure: put its requests into the outer batch. */
export const nestedBatch = () => refuseRequest(403, 'NESTED_BATCH', 'A batch cannot be in a batch')
/** Cause: the route has run and answered with a stream. Cure: request it alone. */
export const streamNotAllowed = (statusCode: number) =>
  refuseRequest(406, 'STREAM_NOT_ALLOWED', `The route streams its answer (${statusCode}), which a batch cannot carry; request it alone`)
/** Cause: the route has answered with a status below 200. Cure: request it alone. */
export const upgradeNotAllowed = () =>
  refuseRequest(426, 'UPGRADE_NOT_ALLOWED', 'The route wants another protocol, which a batch cannot speak; request it alone')
/** Cause: the route has run, and its answer is above `batch.limits`. Cure: request it alone, or raise the limit. */
export const answerTooLarge = (statusCode: number, limit: number, what: string) =>
  refuseRequest(413, 'RESPONSE_TOO_LARGE', `The route has answered ${statusCode}, but a batch carries at most ${limit} bytes ${what}; request it alone`)
/** Cause: the route has run, but Express middleware hides the body that it wrote. Cure: answer with `reply.send`, or request it alone. */
export const answerLost = (statusCode: number) =>
  refuseRequest(500, 'RESPONSE_LOST', `The route has run and answered ${statusCode}, but its body cannot be read here; request it alone`)
/** Cause: a request that this one depends on has failed. Cure: send both again, if `retryable`. */
export const failedDependency = (id: string, retryable: boolean) =>
  new ItemError(`Not run, because ${id} failed`, { code: 'FAILED_DEPENDENCY', statusCode: 424, retryable })

// What a client may know of an error.
const INTERNAL: FailureDetail = Object.freeze({
  message: 'Internal error', code: 'INTERNAL_ERROR', statusCode: 500, retryable: false
})

/**
 * Says what a client may know of anything thrown: all of an {@link ItemError}, the message and code of an error that
 * calls itself public (`expose: true` with a 4xx `statusCode`, as http-errors and @fastify/sensible do), of everything
 * else only that it happened. It never throws, although looking at something thrown can, as at a revoked proxy.
 */
export function toFailure (thrown: unknown): FailureDetail {
  try {
    if (isItemError(thrown)) return detailOf(thrown)
    if (isPublic(thrown)) return detailOf(new ItemError(thrown.message, { code: thrown.code, statusCode: thrown.statusCode }))
  } catch {}
  return INTERNAL
}

function detailOf ({ message, code, statusCode, retryable, retryAfter, errors }: ItemError): FailureDetail {
  return {
    message,
    code,
    statusCode,
    retryable,
    ...(retryAfter !== undefined && { retryAfter }),
    ...(errors !== undefined && { errors })
  }
}

interface PublicError extends Error { expose: true, statusCode: number, code?: string }

function isPublic (thrown: unknown): thrown is PublicError {
  if (!(thrown instanceof Error)) return false
  const { expose, statusCode, code } = thrown as Partial<PublicError>
  return expose === true && Number.isInteger(statusCode) && statusCode! >= 400 && statusCode! < 500 &&
    (code === undefined || typeof code === 'string')
}
