// Every error of the plugin, and what a client may know of any other error.
import { createError } from '@fastify/error'
import type { FailureDetail, ItemProblem } from '../schemas/index.js'

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

// The list of errors. Each one below puts itself on it, so that the reference for people comes from here.
/** One error in the list. */
export interface ListedError {
  /** Who meets it: the developer when the app starts, a client for a whole request, or a client for one item. */
  readonly kind: 'start' | 'request' | 'item'
  readonly code: string
  readonly statusCode?: number
  /** Only of an item: whether sending it again can help. */
  readonly retryable?: boolean | 'as that'
  readonly cause: string
  readonly cure: string
}

const list: ListedError[] = []

/** Every error of the plugin, in the order of the reference. */
export const errorList: readonly ListedError[] = list

/** What is said of an error: its message as a format, why it comes, and what to do. */
interface Description {
  readonly message: string
  readonly cause: string
  readonly cure: string
  /** @default Error */
  readonly base?: ErrorConstructor
}

/** Lists an error for the developer, and makes its class. */
function startError<A extends unknown[] = []> (code: string, { message, cause, cure, base }: Description) {
  list.push({ kind: 'start', code, cause, cure })
  return createError<A>(code, message, 500, base)
}

/** Lists an error of a whole request, and makes its class. */
function requestError<A extends unknown[] = []> (code: string, statusCode: number, { message, cause, cure }: Description) {
  list.push({ kind: 'request', code, statusCode, cause, cure })
  return createError<A>(code, message, statusCode)
}

/** What one error of an item says beside its code. */
interface Told extends Omit<ItemErrorOptions, 'code' | 'statusCode'> { message: string }

/**
 * Lists an error of one item, and makes the function that creates it.
 * @param tell makes the message, and whatever differs from one such error to the next
 */
function itemError<A extends unknown[]> (
  code: string, { retryable, ...known }: Pick<ListedError, 'retryable' | 'cause' | 'cure'> & { statusCode: number }, tell: (...args: A) => Told
): (...args: A) => ItemError {
  const { statusCode } = known
  const isRetryable = retryable ?? RETRYABLE.has(statusCode)
  list.push({ kind: 'item', code, retryable: isRetryable, ...known })
  return (...args) => {
    const { message, ...more } = tell(...args)
    return new ItemError(message, { code, statusCode, retryable: isRetryable === true, ...more })
  }
}

// When the app starts: for the developer.
/** A second registration in one app. */
export const AlreadyRegistered = startError('FST_MULTI_STATUS_ALREADY_REGISTERED', {
  message: 'fastify-multi-status must be registered once per application; this application has it already',
  cause: 'The plugin is registered twice in one app.',
  cure: 'Register it once, on the root.'
})

/** An option that is not what it must be. */
export const InvalidOption = startError<[name: string, expected: string, received: string]>('FST_MULTI_STATUS_INVALID_OPTION', {
  message: 'fastify-multi-status: %s must be %s; received %s',
  cause: 'An option is misspelt or of the wrong kind; with a request, answered 500, what `reply.multiStatus` was given, or what a hook has made of the items.',
  cure: 'The message names it and what it must be.',
  base: TypeError
})

/** A bulk route without the plugin. */
export const NotRegistered = startError<[url: string]>('FST_MULTI_STATUS_NOT_REGISTERED', {
  message: 'The bulk route %s needs fastify-multi-status; register the plugin before the route',
  cause: 'A bulk route in an app without the plugin, or added before it: each of its requests is answered 500.',
  cure: '`await app.register(multiStatus)` first.'
})

// Made by Node's own classes.
list.push({
  kind: 'start',
  code: 'TypeError',
  cause: '`defineContract` got a word or a schema that it cannot use; the client a body without results, or `batchFetch` a URL of another origin.',
  cure: 'The message says which, and what is expected.'
}, {
  kind: 'start',
  code: 'RangeError',
  cause: 'An `ItemError` with a `statusCode` that is not 400 to 599, or a `retryAfter` that is no number from 0.',
  cure: 'Choose one that is.'
})

// Whole requests: nothing has run, and Fastify's error handler answers.
/** A body without items. */
export const BodyNotBatch = requestError<[expected: string, received: string]>('FST_MULTI_STATUS_BODY_NOT_BATCH', 400, {
  message: 'Expected %s; received %s',
  cause: 'The body is no array, or has none where the items are expected.',
  cure: 'Send the shape that the message names.'
})

/** A batch without items. */
export const BatchEmpty = requestError<[where: string]>('FST_MULTI_STATUS_BATCH_EMPTY', 400, {
  message: 'Expected at least 1 item in %s; received 0',
  cause: 'No items.',
  cure: 'Send at least one.'
})

/** A batch with more items than `maxItems`. */
export const BatchTooLarge = requestError<[limit: number, received: number]>('FST_MULTI_STATUS_BATCH_TOO_LARGE', 413, {
  message: 'Expected at most %d items in one request; received %d',
  cause: 'More items than `maxItems`.',
  cure: 'Send fewer at a time, or raise `maxItems`.'
})

/** Items that share a key. */
export const DuplicateKeys = requestError<[key: string, values: string]>('FST_MULTI_STATUS_DUPLICATE_KEYS', 400, {
  message: 'Expected every item to have its own %s; received more than once: %s',
  cause: 'Two items have one key.',
  cure: 'Give each its own.'
})

/** Invalid items under `Prefer: handling=strict`. */
export const InvalidItems = requestError<[invalid: number, total: number]>('FST_MULTI_STATUS_INVALID_ITEMS', 422, {
  message: 'Expected only valid items (Prefer: handling=strict); received %d invalid of %d, so nothing ran',
  cause: '`Prefer: handling=strict`, and an item is invalid.',
  cure: 'Correct what `errors` lists, or do without `strict`.'
})

/** A batched request that depends on none before it. */
export const BadDependency = requestError<[id: string, dependency: string, why: string]>('FST_MULTI_STATUS_BAD_DEPENDENCY', 400, {
  message: 'Expected dependsOn of request %s to name requests before it; received %s, %s',
  cause: '`dependsOn` of a batched request names none before it.',
  cure: 'Order the requests.'
})

/** A strict batch that ended before it began. */
export const BatchNotRun = requestError<[why: string]>('FST_MULTI_STATUS_BATCH_NOT_RUN', 503, {
  message: 'The batch has not been run: %s',
  cause: 'The server closed, or the client left, before a strict batch began.',
  cure: 'Send it again.'
})

/** More bulk requests than `maxInFlight`. */
export const TooBusy = requestError<[limit: number]>('FST_MULTI_STATUS_TOO_BUSY', 503, {
  message: 'Expected at most %d requests with many items to be in progress at a time; there are as many already, so nothing ran',
  cause: 'More bulk requests than `maxInFlight` are in progress.',
  cure: 'Wait for `Retry-After`; add servers, or raise the limit.'
})

/** A batch with more items than the client has left. */
export const RateLimited = requestError<[left: number, received: number, seconds: number]>('FST_MULTI_STATUS_RATE_LIMITED', 429, {
  message: 'Expected at most %d more items for now; received %d, so nothing ran; try again in %d seconds',
  cause: '`limitItems`: the batch has more items than the client has left.',
  cure: 'Wait for `Retry-After`, or send fewer.'
})

// Requests with an Idempotency-Key, by the statuses of draft-ietf-httpapi-idempotency-key-header section 2.7.
/** A request without a key where the route requires one. */
export const IdempotencyKeyMissing = requestError('FST_MULTI_STATUS_IDEMPOTENCY_KEY_MISSING', 400, {
  message: 'Expected a header Idempotency-Key; received none',
  cause: 'The route requires an `Idempotency-Key`.',
  cure: 'Send one, new for each operation.'
})

/** A key that cannot be one. */
export const IdempotencyKeyMalformed = requestError<[received: string]>('FST_MULTI_STATUS_IDEMPOTENCY_KEY_MALFORMED', 400, {
  message: 'Expected an Idempotency-Key of 1 to 255 visible ASCII characters; received %s',
  cause: 'The key is empty, too long or not visible ASCII.',
  cure: 'Send 1 to 255 such characters, as a UUID.'
})

/** A key with a body that is streamed. */
export const IdempotencyKeyUnusable = requestError('FST_MULTI_STATUS_IDEMPOTENCY_KEY_UNUSABLE', 400, {
  message: 'Expected no Idempotency-Key with a body that is streamed, as a form is, because it cannot be compared before it is read',
  cause: 'A key with a form or a stream, whose body is streamed.',
  cure: 'Send JSON to the route itself, or no key.'
})

/** A key whose first request still runs. */
export const IdempotencyInFlight = requestError('FST_MULTI_STATUS_IDEMPOTENCY_IN_FLIGHT', 409, {
  message: 'A request with this Idempotency-Key is still running; try again later',
  cause: 'The first request with this key still runs.',
  cure: 'Wait for `Retry-After`, then send it again.'
})

/** A key whose first request ran, but whose answer is not kept. */
export const IdempotencyAnswerLost = requestError('FST_MULTI_STATUS_IDEMPOTENCY_ANSWER_LOST', 409, {
  message: 'The request with this Idempotency-Key has been carried out, but its answer could not be kept',
  cause: 'The first request **has run**, but its answer could not be kept.',
  cure: 'Look up what it did; a new key runs it again.'
})

/** A key that came before with another request. */
export const IdempotencyMismatch = requestError('FST_MULTI_STATUS_IDEMPOTENCY_MISMATCH', 422, {
  message: 'Expected the same request as before under this Idempotency-Key; received another one',
  cause: 'Another URL or body under the same key.',
  cure: 'Use a new key for a new request.'
})

/** A store of keys that does not answer. */
export const IdempotencyUnavailable = requestError('FST_MULTI_STATUS_IDEMPOTENCY_UNAVAILABLE', 503, {
  message: 'The Idempotency-Key cannot be looked up now, so nothing ran; try again later',
  cause: 'The store of the keys does not answer.',
  cure: 'Send it again; look after the store.'
})

// Requests of /upload.
/** A form that cannot be read. */
export const MalformedForm = requestError<[why: string]>('FST_MULTI_STATUS_MALFORMED_FORM', 400, {
  message: 'Expected a form in multipart/form-data; received one that cannot be read: %s',
  cause: 'The form cannot be read before its first file.',
  cure: 'Let the client library set `content-type` with its boundary.'
})

/** An upload whose announced length is above the limit. */
export const UploadTooLarge = requestError<[limit: number, received: number]>('FST_MULTI_STATUS_UPLOAD_TOO_LARGE', 413, {
  message: 'Expected at most %d bytes of files in one request; received a request of %d bytes',
  cause: 'The announced length is above `upload.limits.total`.',
  cure: 'Send fewer files at a time, or raise the limit.'
})

/** A form that another plugin has read. */
export const BodyConsumed = requestError('FST_MULTI_STATUS_BODY_CONSUMED', 500, {
  message: 'Expected the form to be unread, so that it can be streamed; another plugin has read it already, as @fastify/multipart does with attachFieldsToBody',
  cause: 'Another plugin has read the form already.',
  cure: 'Take `attachFieldsToBody` away from @fastify/multipart, or keep it off this route.'
})

// Requests of /tasks: nothing has run, and the client may come back.
/** More waiting tasks than `maxQueued`. */
export const QueueFull = requestError<[limit: number, received: number]>('FST_MULTI_STATUS_QUEUE_FULL', 503, {
  message: 'Expected at most %d tasks to wait for their turn; received a batch with which there would be %d',
  cause: 'More than `tasks.maxQueued` tasks would wait.',
  cure: 'Wait for `Retry-After`; add workers.'
})

/** No room to keep another batch. */
export const StoreFull = requestError<[why: string]>('FST_MULTI_STATUS_STORE_FULL', 503, {
  message: 'Expected room to keep another batch; there is none: %s',
  cause: 'There is no room to keep the results of another batch.',
  cure: 'Wait for `Retry-After`; raise `maxBatches` or `maxBytes`, give Redis memory, or shorten `tasks.ttl`.'
})

/** An engine that cannot be reached. */
export const EngineUnavailable = requestError<[why: string]>('FST_MULTI_STATUS_ENGINE_UNAVAILABLE', 503, {
  message: 'Expected the engine of the tasks to be there; it cannot be reached: %s',
  cause: 'Redis cannot be reached, or the server is closing.',
  cure: 'Wait for `Retry-After`; look after Redis.'
})

/** An engine that threw something. */
export const EngineFailed = requestError('FST_MULTI_STATUS_ENGINE_FAILED', 500, {
  message: 'The engine of the tasks has failed; what it said is in the log',
  cause: 'The engine of the tasks threw what is not meant for clients.',
  cure: "Read the server's log."
})

/** An engine that was closed with its server. */
export const EngineClosed = requestError('FST_MULTI_STATUS_ENGINE_CLOSED', 503, {
  message: 'Expected the engine of the tasks to be open; it has been closed with the server',
  cause: 'The engine was closed with its server.',
  cure: 'Send it to a server that runs; make a new engine for each app.'
})

/** More followers of events than `maxFollowers`. */
export const TooManyFollowers = requestError<[limit: number]>('FST_MULTI_STATUS_TOO_MANY_FOLLOWERS', 503, {
  message: 'Expected at most %d clients to follow events at a time; ask for the batch from time to time instead',
  cause: '`tasks.maxFollowers` clients follow events.',
  cure: 'Ask for the batch from time to time, as `watchBatch` does.'
})

/** An id that no batch of this client has. */
export const BatchNotFound = requestError('FST_MULTI_STATUS_BATCH_NOT_FOUND', 404, {
  message: 'Expected the id of a batch; there is none of this id',
  cause: "There is no batch of this id, or it is another `owner`'s.",
  cure: 'Use the `Location` of the 202, as the same client.'
})

/** A batch whose results are no longer kept. */
export const BatchExpired = requestError('FST_MULTI_STATUS_BATCH_EXPIRED', 410, {
  message: 'Expected the id of a batch that is still kept; this one has expired',
  cause: 'The batch ended more than `tasks.ttl` ago.',
  cure: 'Ask sooner, or raise `tasks.ttl`.'
})

// Items of every bulk route. Each call makes a new error, because an error carries its stack.
/** Describes an invalid item to the client. Not an error, because a batch may have many and each error would carry a stack. */
export const invalidItemDetail = (errors: ItemProblem[] | undefined): FailureDetail =>
  ({ message: 'Invalid data', code: 'INVALID_ITEM', statusCode: 422, retryable: false, errors })

/** An item that does not fit its schema. */
export const invalidItem = itemError('INVALID_ITEM', {
  statusCode: 422,
  cause: 'The item breaks its schema.',
  cure: 'Correct what `errors` points at.'
}, invalidItemDetail)

list.push({
  kind: 'item',
  code: 'ITEM_FAILED',
  statusCode: 422,
  retryable: false,
  cause: 'An `ItemError` without a code of its own.',
  cure: 'Read its message.'
})

list.push({
  kind: 'item',
  code: 'INTERNAL_ERROR',
  statusCode: 500,
  retryable: false,
  cause: 'The handler threw something else.',
  cure: "Read the server's log; throw an `ItemError` for what clients may know."
})

/** A result that its contract does not allow. */
export const invalidResult = itemError('INVALID_RESULT', {
  statusCode: 500,
  cause: 'The handler returned what its contract or `output` does not allow. It **has run**.',
  cure: 'Correct the handler; the log says what is wrong.'
}, (detail?: string) => ({ message: 'Invalid result', cause: detail }))

/** An item that `authorize` refused. */
export const forbidden = itemError('ITEM_FORBIDDEN', {
  statusCode: 403,
  cause: '`authorize` of the route refused the item.',
  cure: 'Ask for the right to it.'
}, () => ({ message: 'Forbidden' }))

/** An item above what the client has left. */
export const rateLimited = itemError('RATE_LIMITED', {
  statusCode: 429,
  cause: '`limitItems`: a line of a stream above what the client has left.',
  cure: 'Send it again after `retryAfter`.'
}, (retryAfter: number) => ({ message: 'Rate limit exceeded', retryAfter }))

/** An item that took longer than its `timeout`. */
export const timedOut = itemError('TIMEOUT', {
  statusCode: 504,
  cause: 'The item took longer than its `timeout`. It may have had an effect.',
  cure: 'Try again; raise `timeout`, and heed `signal`.'
}, () => ({ message: 'Timeout' }))

/** An item that was not begun, or was stopped. */
export const notRun = itemError('NOT_RUN', {
  statusCode: 424,
  retryable: true,
  cause: 'The item was not begun, or stopped: the client left, the server closed, or `stopAfter` was reached.',
  cure: 'Send it again.'
}, (why: string = 'Not run') => ({ message: why }))

// Items of a stream.
/** A line that is not JSON. */
export const invalidLine = itemError('INVALID_LINE', {
  statusCode: 400,
  cause: 'A line of a stream is no JSON.',
  cure: 'Send one JSON value a line.'
}, (detail: string) => ({ message: 'Invalid line', errors: [{ pointer: '#', detail }] }))

/** A line longer than `stream.maxLineBytes`. */
export const lineTooLong = itemError('LINE_TOO_LONG', {
  statusCode: 413,
  cause: 'A line is longer than `stream.maxLineBytes`.',
  cure: 'Send smaller items, or raise the limit.'
}, (limit: number) => ({ message: `Expected a line of at most ${limit} bytes` }))

/** An item beyond `stream.maxItems`. */
export const tooManyItems = itemError('TOO_MANY_ITEMS', {
  statusCode: 413,
  cause: 'The stream has more items than `stream.maxItems`.',
  cure: 'Send the rest as another stream.'
}, (limit: number) => ({ message: `Expected at most ${limit} items in one stream` }))

// Items of /tasks.
/** A task whose batch was cancelled. */
export const cancelled = itemError('CANCELLED', {
  statusCode: 424,
  retryable: true,
  cause: 'The batch was cancelled before the task ended.',
  cure: 'Send it again, if it is still wanted.'
}, () => ({ message: 'Cancelled' }))

/** A task whose processes died. */
export const taskLost = itemError('TASK_LOST', {
  statusCode: 500,
  cause: 'Each process that ran the task has died.',
  cure: 'Look for what kills it, as memory.'
}, (detail?: string) => ({ message: 'Task lost', cause: detail }))

/** A task whose result is too large to keep. */
export const resultTooLarge = itemError('RESULT_TOO_LARGE', {
  statusCode: 507,
  cause: 'The result has more than `maxResultBytes`, or than there is room to keep. The task **has run**.',
  cure: 'Keep it elsewhere and return where, or raise `maxResultBytes` or `maxBytes`.'
}, () => ({ message: 'Result too large to keep' }))

// Items of /upload.
/** A file without a name. */
export const fileNameMissing = itemError('FILE_NAME_MISSING', {
  statusCode: 422,
  cause: 'A file without a name, as an empty picker sends.',
  cure: 'Name it.'
}, () => ({ message: 'File name missing' }))

/** A file whose name has more bytes than `upload.limits.nameBytes`. */
export const fileNameTooLong = itemError('FILE_NAME_TOO_LONG', {
  statusCode: 422,
  cause: 'A name above `upload.limits.nameBytes`.',
  cure: 'Shorten it.'
}, () => ({ message: 'File name too long' }))

/** A file whose name could do harm. */
export const fileNameNotAllowed = itemError('FILE_NAME_NOT_ALLOWED', {
  statusCode: 422,
  cause: 'A path, a reserved name, or invisible characters.',
  cure: 'Send a plain name.'
}, () => ({ message: 'File name not allowed' }))

/** A file of a type that is not accepted. */
export const fileTypeNotAllowed = itemError('FILE_TYPE_NOT_ALLOWED', {
  statusCode: 415,
  cause: 'The content is not of the declared type, or not in `upload.accept`.',
  cure: '`errors` says what was declared and what was found.'
}, (detail: string) => ({ message: 'File type not allowed', errors: [{ pointer: '#/type', detail }] }))

/** A file with more bytes than `upload.limits.fileSize`. */
export const fileTooLarge = itemError('FILE_TOO_LARGE', {
  statusCode: 413,
  cause: 'A file above `upload.limits.fileSize`.',
  cure: 'Send a smaller one, or raise the limit.'
}, () => ({ message: 'File too large' }))

/** A file beyond `upload.limits.files`. */
export const tooManyFiles = itemError('TOO_MANY_FILES', {
  statusCode: 413,
  retryable: true,
  cause: 'More files than `upload.limits.files`.',
  cure: 'Send the rest in another request.'
}, () => ({ message: 'Too many files' }))

/** A file with which the upload has more bytes than `upload.limits.total`. */
export const filesTooLarge = itemError('UPLOAD_TOO_LARGE', {
  statusCode: 413,
  retryable: true,
  cause: 'All files together are above `upload.limits.total`.',
  cure: 'Send the rest in another request.'
}, () => ({ message: 'Upload too large' }))

/** A file whose end did not arrive. */
export const uploadIncomplete = itemError('UPLOAD_INCOMPLETE', {
  statusCode: 400,
  retryable: true,
  cause: 'The connection broke, or was idle, within the file.',
  cure: 'Send it again.'
}, (cause: unknown) => ({ message: 'Upload incomplete', cause }))

/** A file whose `sha256` is no checksum. */
export const checksumInvalid = itemError('CHECKSUM_INVALID', {
  statusCode: 422,
  cause: '`sha256` is not 64 hexadecimal digits.',
  cure: 'Send it in hexadecimal.'
}, () => ({
  message: 'Checksum invalid',
  errors: [{ pointer: '#/sha256', detail: 'must be 64 hexadecimal digits' }]
}))

/** A file whose content does not have its checksum. */
export const checksumMismatch = itemError('CHECKSUM_MISMATCH', {
  statusCode: 422,
  retryable: true,
  cause: 'The content is not what `sha256` says.',
  cure: 'Send it again.'
}, () => ({ message: 'Checksum mismatch' }))

/** A file whose storage took too long. */
export const storageTimeout = itemError('STORAGE_TIMEOUT', {
  statusCode: 504,
  cause: 'The storage took longer than `upload.storageTimeout`.',
  cure: 'Try again; look after the storage.'
}, () => ({ message: 'Storage timeout' }))

/** A file for which the storage has no room. */
export const storageFull = itemError('STORAGE_FULL', {
  statusCode: 507,
  retryable: true,
  cause: 'The disk is full, or a quota reached.',
  cure: 'Make room.'
}, (cause: unknown) => ({ message: 'Storage full', cause }))

/** A file that the storage refused. */
export const storageFailed = itemError('STORAGE_FAILED', {
  statusCode: 500,
  retryable: true,
  cause: 'The storage refused the file.',
  cure: 'The log says why.'
}, (cause: unknown) => ({ message: 'Storage failed', cause }))

// Items of /batch.
/** A batched request to no path of this server. */
export const invalidUrl = itemError('INVALID_URL', {
  statusCode: 400,
  cause: 'A batched request to no path of this server.',
  cure: 'Send a path, as `/contacts?page=2`.'
}, (why: string) => ({ message: `Expected a path of this server as "/contacts?page=2"; received ${why}` }))

/** A batched request whose method a batch cannot send. */
export const methodNotAllowed = itemError('METHOD_NOT_ALLOWED', {
  statusCode: 405,
  cause: 'A method that a batch cannot send.',
  cure: 'Send the request alone.'
}, (method: string) => ({ message: `Method ${method.slice(0, 20)} not allowed here` }))

/** A batched request with a header that it may not have. */
export const headerNotAllowed = itemError('HEADER_NOT_ALLOWED', {
  statusCode: 400,
  cause: 'A header outside of `batch.headers.own`, or one that cannot be sent.',
  cure: 'Put it on the batch, or add it to the option.'
}, (name: string, why: string = 'a request of a batch may not have it of its own') => ({
  message: `Header not allowed: ${why}`,
  errors: [{ pointer: `#/headers/${encodeURIComponent(name.toWellFormed())}`, detail: why }]
}))

/** A batched request whose body cannot be sent. */
export const invalidBody = itemError('INVALID_BODY', {
  statusCode: 422,
  cause: 'A body that cannot be sent, as broken base64.',
  cure: '`errors` says why.'
}, (detail: string) => ({ message: 'Invalid body', errors: [{ pointer: '#/body', detail }] }))

/** A batched request that refers to nothing. */
export const badReference = itemError('BAD_REFERENCE', {
  statusCode: 422,
  cause: 'A reference to nothing in an earlier answer.',
  cure: '`errors` points at it.'
}, (pointer: string, detail: string) => ({ message: 'Invalid reference', errors: [{ pointer, detail }] }))

/** A batched request to a route that does not exist. */
export const routeNotFound = itemError('ROUTE_NOT_FOUND', {
  statusCode: 404,
  cause: 'There is no such route.',
  cure: 'Correct the URL or the method.'
}, () => ({ message: 'Route not found' }))

/** A batched request to a route that has not opted in. */
export const routeNotAllowed = itemError('ROUTE_NOT_ALLOWED', {
  statusCode: 403,
  cause: 'The route has not opted in.',
  cure: '`config: { batch: true }`, or `batch.allow`.'
}, () => ({ message: 'Route not allowed in a batch' }))

/** A batch in a batch. */
export const nestedBatch = itemError('NESTED_BATCH', {
  statusCode: 403,
  cause: 'A batch in a batch.',
  cure: 'Put its requests into the outer one.'
}, () => ({ message: 'A batch cannot be in a batch' }))

/** A batched request whose answer is a stream. */
export const streamNotAllowed = itemError('STREAM_NOT_ALLOWED', {
  statusCode: 406,
  cause: 'The route **has run**, but streams its answer.',
  cure: 'Request it alone.'
}, (statusCode: number) => ({ message: `The route streams its answer (${statusCode}), which a batch cannot carry; request it alone` }))

/** A batched request whose route wants another protocol. */
export const upgradeNotAllowed = itemError('UPGRADE_NOT_ALLOWED', {
  statusCode: 426,
  cause: 'The route wants another protocol.',
  cure: 'Request it alone.'
}, () => ({ message: 'The route wants another protocol, which a batch cannot speak; request it alone' }))

/** A batched request whose answer is above `batch.limits`. */
export const answerTooLarge = itemError('RESPONSE_TOO_LARGE', {
  statusCode: 413,
  cause: 'The route **has run**, but its answer is above `batch.limits`.',
  cure: 'Request it alone, or raise the limit.'
}, (statusCode: number, limit: number, what: string) => ({
  message: `The route has answered ${statusCode}, but a batch carries at most ${limit} bytes ${what}; request it alone`
}))

/** A batched request after one that failed. */
export const failedDependency = itemError('FAILED_DEPENDENCY', {
  statusCode: 424,
  retryable: 'as that',
  cause: 'A request that this one depends on has failed.',
  cure: 'See to that one.'
}, (id: string, retryable: boolean) => ({ message: `Not run, because ${id} failed`, retryable }))

/** Whether an engine could not be reached; by its code, because each copy of this module has a class of its own. */
export function isUnavailable (thrown: unknown): boolean {
  return thrown instanceof Error && (thrown as { code?: unknown }).code === 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE'
}

/** A batched request whose answer cannot be read. */
export const answerLost = itemError('RESPONSE_LOST', {
  statusCode: 500,
  cause: 'The route **has run**, but Express middleware hides the body that it wrote.',
  cure: 'Answer with `reply.send`, or request it alone.'
}, (statusCode: number) => ({ message: `The route has run and answered ${statusCode}, but its body cannot be read here; request it alone` }))

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
