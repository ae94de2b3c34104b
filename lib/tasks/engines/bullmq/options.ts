// The options of the BullMQ engine and of its workers.
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyBaseLogger } from 'fastify'
import { custom, functionOf, integer, optional, readOptions } from '../../../core/options.js'
import type { OnItemError } from '../../../core/results/failure-log.js'
import type { TaskDefinition } from '../../definition.js'
import type { RedisLocation } from './connection.js'

/** What the web processes and the workers of one app have in common. */
const SharedOptions = Type.Object({
  /** Where Redis is: a URL, the options of ioredis, or a connection, of which others are made. */
  connection: Type.Unsafe<RedisLocation>({
    ...custom('a URL, an object of options for ioredis, or a connection', isLocation), description: 'a URL, ioredis options, or a connection to duplicate'
  }),
  /** What the names of all keys in Redis begin with; with a hash tag, as `{tasks}`, where Redis is a cluster. @default 'multi-status' */
  prefix: optional(Type.String({ minLength: 1 }), {
    default: 'multi-status', expected: 'text as "my-app"', description: 'of all keys in Redis; one per app'
  }),
  /**
   * Milliseconds after which the tasks of a process that gives no sign of life run again elsewhere. A handler that
   * blocks the event loop for longer makes healthy tasks run twice. @default 30000
   */
  lockDuration: optional(integer(100), { default: 30_000, description: 'milliseconds without a sign of life after which tasks run again elsewhere' }),
  /** Bytes that a result may have in JSON; a larger one makes its task a failure, `RESULT_TOO_LARGE`. @default 1048576 (1 MiB) */
  maxResultBytes: optional(integer(1024), { default: 1024 * 1024, description: 'a larger result makes its task fail with `RESULT_TOO_LARGE`' })
})

/** The options of the engine. */
export const BullmqOptions = Type.Object({
  ...SharedOptions.properties,
  /** Whether this process runs tasks itself; if not, workers made by `createWorker` do. @default true */
  worker: optional(Type.Boolean(), { default: true, description: '`false` where only `createWorker` runs tasks' })
})
export type BullmqOptions = Static<typeof BullmqOptions>

/** The options of a worker; those that /tasks has too mean the same. */
export const WorkerOptions = Type.Object({
  ...SharedOptions.properties,
  /** The tasks that can be run, by type: the same as in the web processes. */
  handlers: custom<Record<string, TaskDefinition>>('an object with one member for each type of task', () => true),
  /** How many tasks run at a time in this process. @default 256 */
  maxRunning: optional(integer(1), {}),
  /** Milliseconds that one attempt of a task may take. @default 30000 */
  timeout: optional(integer(1), {}),
  /** How often a task that failed is tried again, unless its ItemError says that it is not retryable. @default 0 */
  retries: optional(integer(0), {}),
  /** A pino logger, or one like it. @default warnings and errors go to the console */
  log: optional(custom<FastifyBaseLogger>('a logger', () => true), {}),
  /** Called for every task that an error has failed in this process, as that of the plugin in its own. */
  onItemError: optional(functionOf<OnItemError>(), {})
})
export type WorkerOptions = Static<typeof WorkerOptions>

/** The options that all have, with every default in place. */
export type SharedSettings = Required<Static<typeof SharedOptions>>

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readBullmqOptions (options: BullmqOptions): SharedSettings & { readonly worker: boolean } {
  return readOptions('bullmq', BullmqOptions, options)
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readWorkerOptions (options: WorkerOptions): SharedSettings {
  return readOptions('createWorker', WorkerOptions, options)
}

function isLocation (value: unknown): boolean {
  return typeof value === 'string' ? value !== '' : typeof value === 'object' && value !== null
}
