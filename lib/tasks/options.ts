// The options of /tasks, and their checks.
import type { FastifyRequest } from 'fastify'
import { checkFunction, checkMembers, checkObject, checkPath, membersOf } from '../core/options.js'
import { DEFAULT_TIMEOUT } from '../core/bulk-route.js'
import { DEFAULT_MAX_ITEMS } from '../core/items/body-schema.js'
import { checkInteger, show } from '../core/settle/options.js'
import { InvalidOption } from '../errors.js'
import { checkDefinition, type TaskDefinition } from './definition.js'
import type { BatchInfo, TaskEngine } from './engine.js'
import { inProcess } from './engines/in-process/engine.js'
import { isSameOwner } from './http/access.js'

/** What /tasks runs, and how. */
export interface TasksOptions {
  /** @default '/tasks' */
  url?: string
  /** The tasks that can be run, by type. @default none */
  handlers?: Record<string, TaskDefinition>
  /** How many tasks a request may have. @default 1000 */
  maxItems?: number
  /** How many tasks of one request run at a time. @default 16 */
  concurrency?: number
  /** How many tasks of all requests run at a time; requests take turns. @default 256 */
  maxRunning?: number
  /** How many tasks of all requests may wait for their turn; a request that does not fit is answered 503. @default 10000, or `maxItems` if that is more */
  maxQueued?: number
  /** Milliseconds that one attempt of a task may take. @default 30000 */
  timeout?: number
  /** How often a task that failed is tried again, unless its ItemError says that it is not retryable. @default 0 */
  retries?: number
  /** Milliseconds that the results of a batch are kept for a client that comes back for them. @default 3600000 (an hour) */
  ttl?: number
  /** Who runs the tasks and remembers the batches. @default inProcess() */
  engine?: TaskEngine
  /** Says whose batch a request makes, in JSON; then only requests of the same owner reach the batch. @default nobody's */
  owner?: (request: FastifyRequest) => unknown
  /**
   * Whether a request may read, follow and cancel a batch, beside knowing its unguessable id; if not, it is answered 404
   * as if there were none. @default the same owner, or anyone where batches have none
   */
  authorize?: (request: FastifyRequest, batch: BatchInfo) => boolean | Promise<boolean>
  /** How many clients may follow the events of batches at a time; one more is answered 503. @default 1000 */
  maxFollowers?: number
  /** Milliseconds without an event after which a follower gets a sign of life. @default 15000 */
  heartbeat?: number
}

/** The options with every default in place. */
export type TasksSettings = Required<Omit<TasksOptions, 'owner'>> & Pick<TasksOptions, 'owner'>

const MEMBERS = membersOf<TasksOptions>({
  url: 1,
  handlers: 1,
  maxItems: 1,
  concurrency: 1,
  maxRunning: 1,
  maxQueued: 1,
  timeout: 1,
  retries: 1,
  ttl: 1,
  engine: 1,
  owner: 1,
  authorize: 1,
  maxFollowers: 1,
  heartbeat: 1
})

const DEFAULTS = {
  url: '/tasks',
  handlers: {},
  maxItems: DEFAULT_MAX_ITEMS,
  concurrency: 16,
  maxRunning: 256,
  timeout: DEFAULT_TIMEOUT,
  retries: 0,
  ttl: 3_600_000,
  maxFollowers: 1000,
  heartbeat: 15_000
} satisfies TasksOptions

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readTasksOptions (options: TasksOptions): TasksSettings {
  checkMembers('tasks', options, MEMBERS)
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as TasksOptions
  const settings = {
    engine: inProcess(),
    authorize: isSameOwner(given.owner),
    maxQueued: Math.max(10_000, given.maxItems ?? 0),
    ...DEFAULTS,
    ...given
  }
  checkPath('tasks.url', settings.url)
  for (const name of ['maxItems', 'concurrency', 'maxRunning', 'maxQueued', 'timeout', 'ttl', 'maxFollowers', 'heartbeat'] as const) {
    checkInteger(`tasks.${name}`, settings[name], 1)
  }
  checkInteger('tasks.retries', settings.retries, 0)
  checkQueue(settings)
  checkFunction('tasks.owner', given.owner)
  checkFunction('tasks.authorize', settings.authorize)
  if (typeof settings.engine?.submit !== 'function') throw new InvalidOption('tasks.engine', 'an engine, as inProcess() makes', show(settings.engine))
  checkObject('tasks.handlers', settings.handlers, 'an object with one member for each type of task')
  for (const [type, definition] of Object.entries<TaskDefinition>(settings.handlers)) checkDefinition(`tasks.handlers.${type}`, definition)
  return settings
}

/** A request that may have more tasks than may wait would never be taken, however often it is sent. */
function checkQueue ({ maxItems, maxQueued }: TasksSettings): void {
  if (maxQueued >= maxItems) return
  throw new InvalidOption('tasks.maxQueued', `an integer from ${maxItems}, which is maxItems`, show(maxQueued))
}
