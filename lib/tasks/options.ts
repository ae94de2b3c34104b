// The options of /tasks, and their checks.
import type { Static, TSchema } from '@sinclair/typebox'
import type { FastifyBaseLogger } from 'fastify'
import type { Key } from '../../schemas/index.js'
import { checkMembers, checkObject, checkPath, membersOf } from '../core/check-options.js'
import { checkInteger, show } from '../core/settle-options.js'
import { InvalidOption } from '../errors.js'
import type { TaskEngine } from './engine.js'

/** What the handler of a task is told about it. */
export interface TaskContext {
  /** What the server calls the batch of the task. */
  readonly batchId: string
  /** The client's own name for the task, unique in its batch. */
  readonly taskId: Key
  /**
   * Tells the task from every other one, and is the same each time that it runs: for what must not be done twice, as the
   * key of a row or an `Idempotency-Key`. Made of the batch's id and the task's place in the request: `<batchId>/<index>`.
   */
  readonly key: string
  /** 1 at first, one more each time that the task runs again: after a failure, or a crash of its process. */
  readonly attempt: number
  /** Aborts when the task's time is up, it is cancelled, its client is gone or the app closes. */
  readonly signal: AbortSignal
  readonly log: FastifyBaseLogger
}

/** One type of task. */
export interface TaskDefinition<P extends TSchema = TSchema, O extends TSchema = TSchema> {
  /** What the task needs to be told. @default anything, or nothing */
  payload?: P
  /** What the task gives back; an output that does not fit makes the task a failure. @default anything */
  output?: O
  /** Milliseconds that one attempt may take. @default the `timeout` of all tasks */
  timeout?: number
  /** Does the work. What it returns is the task's output; an ItemError that it throws says why the task failed. */
  handler (payload: Static<P>, context: TaskContext): Static<O> | Promise<Static<O>>
}

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
  /** How many tasks of all requests run at a time, in turns. @default 256 */
  maxRunning?: number
  /** How many tasks of all requests may wait for their turn; beyond that a request is answered 503. @default 10000 */
  maxQueued?: number
  /** Milliseconds that the results of a batch are kept for a client that comes back for them. @default 3600000 (an hour) */
  ttl?: number
  /** Who runs the tasks. @default inProcess() */
  engine?: TaskEngine
  /** Milliseconds that one attempt of a task may take. @default 30000 */
  timeout?: number
  /** How often a task that failed is tried again, unless its ItemError says that it is not retryable. @default 0 */
  retries?: number
}

/**
 * Types the handler of a task by its schemas; returns what it is given.
 * @example
 *   const resize = defineTask({ payload: Type.Object({ width: Type.Integer() }), handler: async ({ width }) => ... })
 */
export function defineTask<P extends TSchema, O extends TSchema> (definition: TaskDefinition<P, O>): TaskDefinition<P, O> {
  return definition
}

const MEMBERS = membersOf<TasksOptions>({
  url: 1, handlers: 1, maxItems: 1, concurrency: 1, maxRunning: 1, maxQueued: 1, timeout: 1, retries: 1, ttl: 1, engine: 1
})
const DEFINITION_MEMBERS = membersOf<TaskDefinition>({ payload: 1, output: 1, timeout: 1, handler: 1 })

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function checkTasksOptions (options: TasksOptions): void {
  const { url, handlers = {}, maxItems, concurrency, timeout, retries } = options
  checkMembers('tasks', options, MEMBERS)
  checkPath('tasks.url', url)
  checkInteger('tasks.maxItems', maxItems, 1)
  checkInteger('tasks.concurrency', concurrency, 1)
  checkInteger('tasks.timeout', timeout, 1)
  checkInteger('tasks.retries', retries, 0)
  checkObject('tasks.handlers', handlers, 'an object with one member for each type of task')
  for (const [type, definition] of Object.entries(handlers)) checkDefinition(`tasks.handlers.${type}`, definition)
}

function checkDefinition (name: string, definition: TaskDefinition): void {
  if (typeof definition?.handler !== 'function') {
    throw new InvalidOption(name, 'an object with a function "handler"', show(definition))
  }
  checkMembers(name, definition, DEFINITION_MEMBERS)
  const { payload, output, timeout } = definition
  if (payload !== undefined) checkObject(`${name}.payload`, payload, 'a schema')
  if (output !== undefined) checkObject(`${name}.output`, output, 'a schema')
  checkInteger(`${name}.timeout`, timeout, 1)
}
