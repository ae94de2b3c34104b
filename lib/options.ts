// The options of the plugin.
import { Type, type Static } from '@sinclair/typebox'
import { BatchOptions, prepareBatch, type BatchSettings } from './batch/options.js'
import { IdempotencyOptions, type IdempotencySettings } from './core/idempotency/options.js'
import { DocsOptions } from './core/openapi/documents.js'
import { functionOf, integer, optional, orFalse, readOptions as readBySchema, type Settings as SettingsOf } from './core/options.js'
import type { StatusPolicy } from './core/reply/multi-status.js'
import type { OnItemError } from './core/results/failure-log.js'
import { prepareTasks, TasksOptions, type TasksSettings } from './tasks/options.js'
import { prepareUpload, UploadOptions, type UploadSettings } from './upload/options.js'

const STATUSES = ['multi-status', 'collapse'] satisfies StatusPolicy[]

/** What the plugin does in an app. */
export const FastifyMultiStatusOptions = Type.Object({
  /** `POST /upload`; false for none. */
  upload: optional(orFalse(UploadOptions), { default: {}, description: '`false` for no `/upload`' }),
  /** `POST /tasks`; false for none. */
  tasks: optional(orFalse(TasksOptions), { default: {}, description: '`false` for no `/tasks`' }),
  /** `POST /batch`, many requests in one; false for none. @default false */
  batch: optional(orFalse(BatchOptions), { default: false, description: 'options for `/batch`' }),
  /** OpenAPI and Swagger UI, unless the app has a swagger of its own; false for none. */
  docs: optional(orFalse(DocsOptions), { default: {}, description: '`false` for none; an app that has @fastify/swagger keeps its own' }),
  /** Whether an answer without a failure is 207 as every other, or (`collapse`) 200. @default 'multi-status' */
  status: optional(Type.Unsafe<StatusPolicy>(Type.Union(STATUSES.map(status => Type.Literal(status)))), {
    default: 'multi-status', description: "or `'collapse'`"
  }),
  /** Milliseconds that batches in progress have to end by themselves when the app closes. @default 10000 */
  closeGrace: optional(integer(0), { default: 10_000, description: 'milliseconds that batches have to end when the app closes; then they are aborted' }),
  /**
   * How many bulk requests may be in progress at a time, over all routes; one more is answered 503 with `Retry-After`
   * before its body is read. @default 1000
   */
  maxInFlight: optional(integer(1), {
    default: 1000, description: 'bulk requests in progress at a time, over all routes; one more is answered 503 with `Retry-After` before its body is read'
  }),
  /** Answers bulk requests that come again under one `Idempotency-Key` as the first one; false for not. @default false */
  idempotency: optional(orFalse(IdempotencyOptions), { default: false, description: 'options for `Idempotency-Key`' }),
  /** Called for every item that an error has failed, also where the client is not told which. @default none */
  onItemError: optional(functionOf<OnItemError>(), {
    description: "`(error, { index, key, request })`, for every item that an error has failed; a route's own wins"
  }),
  /** Before the paths of the plugin's own routes; Fastify's own option. @default none */
  prefix: optional(Type.String(), { default: '', defaultText: '', expected: 'text as "/v1"', description: 'before `/upload`, `/tasks` and `/batch`' })
})
export type FastifyMultiStatusOptions = Static<typeof FastifyMultiStatusOptions>

/** The options with every default in place. */
export interface Settings extends Omit<SettingsOf<typeof FastifyMultiStatusOptions>, 'upload' | 'tasks' | 'batch' | 'idempotency'> {
  readonly upload: UploadSettings | false
  readonly tasks: TasksSettings | false
  readonly batch: BatchSettings | false
  readonly idempotency: IdempotencySettings | false
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readOptions (options: FastifyMultiStatusOptions): Settings {
  const settings = readBySchema('', FastifyMultiStatusOptions, options)
  return {
    ...settings,
    upload: settings.upload && prepareUpload(settings.upload),
    tasks: settings.tasks && prepareTasks(settings.tasks),
    batch: settings.batch && prepareBatch(settings.batch)
  }
}
