// The options of the plugin, and their checks.
import { readBatchOptions, type BatchOptions, type BatchSettings } from './batch/options.js'
import type { DocsOptions } from './core/openapi/documents.js'
import { checkFunction, checkMembers, checkObject, checkOneOf, checkPath, membersOf } from './core/options.js'
import { readIdempotencyOptions, type IdempotencyOptions } from './core/idempotency/options.js'
import { checkInteger, show } from './core/settle/options.js'
import type { OnItemError } from './core/results/failure-log.js'
import type { StatusPolicy } from './core/reply/multi-status.js'
import { InvalidOption } from './errors.js'
import { readTasksOptions, type TasksOptions, type TasksSettings } from './tasks/options.js'
import { readUploadOptions, type UploadOptions, type UploadSettings } from './upload/options.js'

/** What the plugin does in an app. */
export interface FastifyMultiStatusOptions {
  /** `POST /upload`; false for none. */
  upload?: UploadOptions | false
  /** `POST /tasks`; false for none. */
  tasks?: TasksOptions | false
  /** `POST /batch`, many requests in one; false for none. @default false */
  batch?: BatchOptions | false
  /** OpenAPI and Swagger UI, unless the app has a swagger of its own; false for none. */
  docs?: DocsOptions | false
  /** Whether an answer without a failure is 207 as every other, or (`collapse`) 200. @default 'multi-status' */
  status?: StatusPolicy
  /** Milliseconds that batches in progress have to end by themselves when the app closes. @default 10000 */
  closeGrace?: number
  /**
   * How many bulk requests may be in progress at a time, over all routes; one more is answered 503 with `Retry-After`
   * before its body is read. @default 1000
   */
  maxInFlight?: number
  /** Answers bulk requests that come again under one `Idempotency-Key` as the first one; false for not. @default false */
  idempotency?: IdempotencyOptions | false
  /** Called for every item that an error has failed, also where the client is not told which. @default none */
  onItemError?: OnItemError
  /** Before the paths of the plugin's own routes; Fastify's own option. @default none */
  prefix?: string
}

/** The options with every default in place. */
export interface Settings {
  readonly upload: UploadSettings | false
  readonly tasks: TasksSettings | false
  readonly batch: BatchSettings | false
  readonly docs: DocsOptions | false
  readonly status: StatusPolicy
  readonly closeGrace: number
  readonly maxInFlight: number
  readonly idempotency: IdempotencyOptions | false
  readonly onItemError: OnItemError | undefined
  readonly prefix: string
}

const MEMBERS = membersOf<FastifyMultiStatusOptions>({
  upload: 1, tasks: 1, batch: 1, docs: 1, status: 1, closeGrace: 1, maxInFlight: 1, idempotency: 1, onItemError: 1, prefix: 1
})
const UPLOAD_MEMBERS = membersOf<UploadOptions>({ url: 1, storage: 1, limits: 1, accept: 1, storageTimeout: 1, idleTimeout: 1 })
const LIMITS_MEMBERS = membersOf<NonNullable<UploadOptions['limits']>>({ fileSize: 1, files: 1, total: 1, nameBytes: 1 })
const DOCS_MEMBERS = membersOf<DocsOptions>({ routePrefix: 1, info: 1, openapi: 1 })
const POLICIES = ['multi-status', 'collapse'] satisfies StatusPolicy[]

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readOptions (options: FastifyMultiStatusOptions): Settings {
  const { upload = {}, tasks = {}, batch = false, docs = {}, idempotency = false } = options
  const { status = 'multi-status', closeGrace = 10_000, maxInFlight = 1000, onItemError, prefix = '' } = options
  checkMembers('the options', options, MEMBERS)
  for (const [name, value] of Object.entries({ upload, tasks, batch, docs, idempotency })) {
    if (value !== false) checkObject(name, value, 'an object of options, or false')
  }
  checkOneOf('status', status, POLICIES)
  checkInteger('closeGrace', closeGrace, 0)
  checkInteger('maxInFlight', maxInFlight, 1)
  checkFunction('onItemError', onItemError)
  if (typeof prefix !== 'string') throw new InvalidOption('prefix', 'text as "/v1"', show(prefix))
  if (idempotency !== false) readIdempotencyOptions(idempotency)
  if (docs !== false) checkDocsOptions(docs)
  return {
    upload: upload === false ? false : readUpload(upload),
    tasks: tasks === false ? false : readTasksOptions(tasks),
    batch: batch === false ? false : readBatchOptions(batch),
    docs,
    status,
    closeGrace,
    maxInFlight,
    idempotency,
    onItemError,
    prefix
  }
}

function checkDocsOptions (docs: DocsOptions): void {
  checkMembers('docs', docs, DOCS_MEMBERS)
  checkPath('docs.routePrefix', docs.routePrefix)
  if (docs.openapi !== undefined) checkObject('docs.openapi', docs.openapi, "OpenAPI's members, as { security, servers, tags }")
  const { title, version } = Object(docs.info ?? { title: '', version: '' }) as Record<string, unknown>
  if (typeof title === 'string' && typeof version === 'string') return
  throw new InvalidOption('docs.info', "OpenAPI's info, an object with a title and a version", show(docs.info))
}

function readUpload (upload: UploadOptions): UploadSettings {
  checkMembers('upload', upload, UPLOAD_MEMBERS)
  checkPath('upload.url', upload.url)
  if (upload.limits !== undefined) checkMembers('upload.limits', upload.limits, LIMITS_MEMBERS)
  return readUploadOptions(upload)
}
