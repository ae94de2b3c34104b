// The options of /tasks.
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { DEFAULT_TIMEOUT } from '../core/bulk-route.js'
import { DEFAULT_MAX_ITEMS } from '../core/items/body-schema.js'
import { functionOf, integer, objectOf, optional, path, show, withMethod, type Settings } from '../core/options.js'
import { InvalidOption } from '../errors.js'
import { checkDefinition, type TaskDefinition } from './definition.js'
import type { BatchInfo, TaskEngine } from './engine.js'
import { inProcess } from './engines/in-process/engine.js'
import { isSameOwner } from './http/access.js'

/** What /tasks runs, and how. */
export const TasksOptions = Type.Object({
  /** @default '/tasks' */
  url: optional(path, { default: '/tasks' }),
  /** The tasks that can be run, by type. @default none */
  handlers: optional(objectOf<Record<string, TaskDefinition>>('an object with one member for each type of task'), {
    default: {}, description: 'by type: `{ payload?, output?, timeout?, handler }`'
  }),
  /** How many tasks a request may have. @default 1000 */
  maxItems: optional(integer(1), { default: DEFAULT_MAX_ITEMS, description: 'tasks of one request' }),
  /** How many tasks of one request run at a time. @default 16 */
  concurrency: optional(integer(1), { default: 16, description: 'tasks of one request at a time' }),
  /** How many tasks of all requests run at a time; requests take turns. @default 256 */
  maxRunning: optional(integer(1), { default: 256, description: 'tasks of all requests at a time' }),
  /** How many tasks of all requests may wait for their turn; a request that does not fit is answered 503. @default 10000, or `maxItems` if that is more */
  maxQueued: optional(integer(1), {
    defaultText: '`10000`', description: 'tasks of all requests that wait for their turn; then 503; at least `maxItems`'
  }),
  /** Milliseconds that one attempt of a task may take. @default 30000 */
  timeout: optional(integer(1), { default: DEFAULT_TIMEOUT, description: 'milliseconds for one task' }),
  /** How often a task that failed is tried again, unless its ItemError says that it is not retryable. @default 0 */
  retries: optional(integer(0), { default: 0, description: 'how often a failed task runs again' }),
  /** Milliseconds that the results of a batch are kept for a client that comes back for them. @default 3600000 (an hour) */
  ttl: optional(integer(1), { default: 3_600_000, description: 'milliseconds that results are kept for a client that comes back' }),
  /** Who runs the tasks and remembers the batches. @default inProcess() */
  engine: optional(withMethod<TaskEngine>('submit', 'an engine, as inProcess() makes'), {
    defaultText: '`inProcess()`', description: 'who runs tasks and keeps batches; `inProcess({ maxBatches: 1000, maxBytes: 67108864 })`'
  }),
  /** Says whose batch a request makes, in JSON; then only requests of the same owner reach the batch. @default nobody's */
  owner: optional(functionOf<(request: FastifyRequest) => unknown>(), {
    defaultText: 'nobody', description: 'whose batch a request makes: JSON, only for requests of the same owner'
  }),
  /**
   * Whether a request may read, follow and cancel a batch, beside knowing its unguessable id; if not, it is answered 404
   * as if there were none. @default the same owner, or anyone where batches have none
   */
  authorize: optional(functionOf<(request: FastifyRequest, batch: BatchInfo) => boolean | Promise<boolean>>(), {
    defaultText: 'the same `owner`', description: '`(request, batch) => boolean`: who may read, follow and cancel a batch; else 404'
  }),
  /** How many clients may follow the events of batches at a time; one more is answered 503. @default 1000 */
  maxFollowers: optional(integer(1), { default: 1000, description: 'clients that follow events at a time; then 503' }),
  /** Milliseconds without an event after which a follower gets a sign of life. @default 15000 */
  heartbeat: optional(integer(1), {
    default: 15_000, description: 'milliseconds between signs of life to a follower; who reads nothing for twice as long is dropped'
  })
})
export type TasksOptions = Static<typeof TasksOptions>

/** The options with every default in place. */
export type TasksSettings = Required<Omit<TasksOptions, 'owner'>> & Pick<TasksOptions, 'owner'>

/**
 * Adds the defaults that depend on other options.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for a type of task that is not what it should be
 */
export function prepareTasks (options: Settings<typeof TasksOptions>): TasksSettings {
  const { handlers, maxItems, owner } = options
  const settings = {
    ...options,
    engine: options.engine ?? inProcess(),
    authorize: options.authorize ?? isSameOwner(owner),
    maxQueued: options.maxQueued ?? Math.max(10_000, maxItems)
  }
  checkQueue(settings)
  for (const [type, definition] of Object.entries(handlers)) checkDefinition(`tasks.handlers.${type}`, definition)
  return settings
}

/** A request that may have more tasks than may wait would never be taken, however often it is sent. */
function checkQueue ({ maxItems, maxQueued }: TasksSettings): void {
  if (maxQueued >= maxItems) return
  throw new InvalidOption('tasks.maxQueued', `an integer from ${maxItems}, which is maxItems`, show(maxQueued))
}
