// Runs a worker in a process of its own, without a web server.
import { DEFAULT_TIMEOUT } from '../../../core/bulk-route.js'
import { createConsoleLogger } from '../console-logger.js'
import { createTaskRunner } from '../../run-task.js'
import { openPubSub } from './pubsub.js'
import { end, openPatient } from './connection.js'
import { openJobs } from './jobs.js'
import { readWorkerOptions, type WorkerOptions } from './options.js'
import { createRecords } from './records.js'
import { createScripts } from './scripts.js'
import { startStalledCheck } from './stalled-check.js'
import { startWorker, type TaskWorker } from './worker.js'

/**
 * Runs the tasks of web processes that have the same `connection` and `prefix`, until it is closed.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when an option is not what it should be
 * @example
 *   const worker = createWorker({ handlers, connection: 'redis://127.0.0.1:6379' })
 *   process.once('SIGTERM', () => worker.close(10_000))
 */
export function createWorker (options: WorkerOptions): TaskWorker {
  const settings = readWorkerOptions(options)
  const { connection, prefix, lockDuration } = settings
  const { handlers, timeout = DEFAULT_TIMEOUT, retries = 0, maxRunning = 256, log = consoleLogger, onItemError } = options
  const redis = openPatient(connection)
  const subscriber = openPatient(connection)
  const records = createRecords(createScripts(redis, prefix), lockDuration)
  const jobs = openJobs(redis, prefix)
  const stalledCheck = startStalledCheck({ records, jobs, lockDuration, log })
  const worker = startWorker({
    ...settings,
    redis,
    records,
    channel: openPubSub(subscriber, prefix),
    runTask: createTaskRunner({ handlers, timeout, retries, onItemError }),
    onItemError,
    maxRunning,
    log,
    logOf: batchId => log.child({ batchId })
  })
  return {
    async close (grace) {
      await worker.close(grace)
      stalledCheck.stop()
      await jobs.close()
      await end(subscriber)
    }
  }
}

/** Warnings and errors go to the console. */
const consoleLogger = createConsoleLogger((...message) => console.error(...message))
