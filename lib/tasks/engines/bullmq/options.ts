// The options of the BullMQ engine and of its workers, and their checks.
import type { FastifyBaseLogger } from 'fastify'
import { checkFunction, checkMembers, membersOf } from '../../../core/options.js'
import type { OnItemError } from '../../../core/results/failure-log.js'
import { checkInteger, show } from '../../../core/settle/options.js'
import { InvalidOption } from '../../../errors.js'
import type { TaskDefinition } from '../../definition.js'
import type { RedisLocation } from './connection.js'

/** What the web processes and the workers of one app have in common. */
export interface SharedOptions {
  /** Where Redis is: a URL, the options of ioredis, or a connection, of which others are made. */
  connection: RedisLocation
  /** What the names of all keys in Redis begin with; with a hash tag, as `{tasks}`, where Redis is a cluster. @default 'multi-status' */
  prefix?: string
  /**
   * Milliseconds after which the tasks of a process that gives no sign of life run again elsewhere. A handler that
   * blocks the event loop for longer makes healthy tasks run twice. @default 30000
   */
  lockDuration?: number
  /** Bytes that a result may have in JSON; a larger one makes its task a failure, `RESULT_TOO_LARGE`. @default 1048576 (1 MiB) */
  maxResultBytes?: number
}

/** The options of the engine. */
export interface BullmqOptions extends SharedOptions {
  /** Whether this process runs tasks itself; if not, workers made by `createWorker` do. @default true */
  worker?: boolean
}

/** The options of a worker; those that /tasks has too mean the same. */
export interface WorkerOptions extends SharedOptions {
  /** The tasks that can be run, by type: the same as in the web processes. */
  handlers: Record<string, TaskDefinition>
  /** How many tasks run at a time in this process. @default 256 */
  maxRunning?: number
  /** Milliseconds that one attempt of a task may take. @default 30000 */
  timeout?: number
  /** How often a task that failed is tried again, unless its ItemError says that it is not retryable. @default 0 */
  retries?: number
  /** A pino logger, or one like it. @default warnings and errors go to the console */
  log?: FastifyBaseLogger
  /** Called for every task that an error has failed in this process, as that of the plugin in its own. */
  onItemError?: OnItemError
}

const SHARED = { connection: 1, prefix: 1, lockDuration: 1, maxResultBytes: 1 } as const
const ENGINE_MEMBERS = membersOf<BullmqOptions>({ ...SHARED, worker: 1 })
const WORKER_MEMBERS = membersOf<WorkerOptions>({ ...SHARED, handlers: 1, maxRunning: 1, timeout: 1, retries: 1, log: 1, onItemError: 1 })

/** The options that all have, with every default in place. */
export type SharedSettings = Required<SharedOptions>

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readBullmqOptions (options: BullmqOptions): SharedSettings & { readonly worker: boolean } {
  checkMembers('bullmq', options, ENGINE_MEMBERS)
  const { worker = true } = options
  if (typeof worker !== 'boolean') throw new InvalidOption('bullmq.worker', 'true or false', show(worker))
  return { ...readShared('bullmq', options), worker }
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readWorkerOptions (options: WorkerOptions): SharedSettings {
  checkMembers('createWorker', options, WORKER_MEMBERS)
  checkInteger('createWorker.maxRunning', options.maxRunning, 1)
  checkInteger('createWorker.timeout', options.timeout, 1)
  checkInteger('createWorker.retries', options.retries, 0)
  checkFunction('createWorker.onItemError', options.onItemError)
  return readShared('createWorker', options)
}

function readShared (name: string, options: SharedOptions): SharedSettings {
  const { connection, prefix = 'multi-status', lockDuration = 30_000, maxResultBytes = 1024 * 1024 } = options
  const isLocation = typeof connection === 'string' ? connection !== '' : typeof connection === 'object' && connection !== null
  if (!isLocation) throw new InvalidOption(`${name}.connection`, 'a URL, an object of options for ioredis, or a connection', show(connection))
  if (typeof prefix !== 'string' || prefix === '') throw new InvalidOption(`${name}.prefix`, 'text as "my-app"', show(prefix))
  checkInteger(`${name}.lockDuration`, lockDuration, 100)
  checkInteger(`${name}.maxResultBytes`, maxResultBytes, 1024)
  return { connection, prefix, lockDuration, maxResultBytes }
}
