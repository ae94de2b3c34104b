// The engine on BullMQ: batches live in Redis, and any process can answer for them or run their tasks.
import { setTimeout } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Redis } from 'ioredis'
import { tasks, type FailureDetail } from '../../../../schemas/index.js'
import { waitAtMost } from '../../../core/settle/timeout.js'
import { EngineClosed, EngineUnavailable, isUnavailable, QueueFull } from '../../../errors.js'
import type { EngineHost, NewBatch, TaskEngine } from '../../engine.js'
import { lookUntil } from '../../http/poll.js'
import { openChannel, type Channel } from './pubsub.js'
import { end, openFailFast, openPatient, wordError } from './connection.js'
import { openJobs } from './jobs.js'
import { readBullmqOptions, type BullmqOptions } from './options.js'
import { createRecords } from './records.js'
import { createScripts } from './scripts.js'
import { startTender, type Tender } from './stalled-check.js'
import { startWorker, type TaskWorker } from './worker.js'

/** Milliseconds that the start of an app waits for Redis; without it, clients are answered 503 until it is there. */
const START_WAIT = 1_000
/** Milliseconds after which to look at a batch whose end is waited for although there was no hint, which is rarely lost. */
const LOOK_INTERVAL = 60_000
/** How many loggers of batches are remembered. */
const LOGGERS = 1_000

/**
 * Makes an engine that keeps batches in Redis, by BullMQ: they survive the process that took them, any process can
 * answer for them, and their tasks run in all that have a worker. A task runs at least once, and can run again when the
 * process that it ran in is thought dead; its first result counts. Of the bounds in the options of /tasks, `maxRunning`
 * holds in each process, `maxQueued` for all of them, and `concurrency` not at all.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when an option is not what it should be
 * @example await app.register(multiStatus, { tasks: { handlers, engine: bullmq({ connection: 'redis://127.0.0.1:6379' }) } })
 */
export function bullmq (options: BullmqOptions): TaskEngine {
  const life: Life = {
    settings: readBullmqOptions(options), loggers: new Map(), followed: new Map(), parts: undefined, isClosing: false, isClosed: false
  }
  return {
    async start (host) {
      const { redis } = life.parts = open(life, host)
      if (redis.status !== 'ready') await waitAtMost(isReady(redis), START_WAIT)
    },
    async submit (batch) {
      if (life.isClosing) throw new EngineUnavailable('the server is closing')
      await reach(life, parts => submit(life, parts, batch))
    },
    find: batchId => reach(life, ({ records }) => records.find(batchId)),
    results: batchId => reach(life, ({ records }) => records.results(batchId)),
    settled: (batchId, after, limit) => reach(life, ({ records }) => records.settled(batchId, after, limit)),
    cancel: (batchId, waiting) => cancel(life, batchId, waiting),
    remove: batchId => remove(life, batchId),
    watch: (batchId, what, onHint) => life.parts?.channel.watch(batchId, what, onHint) ?? (() => {}),
    async close (grace) {
      life.isClosing = true
      for (const batchId of life.followed.keys()) leave(life, batchId)
      if (life.parts !== undefined) await closeParts(life.parts, grace)
      life.isClosed = life.parts !== undefined
    }
  }
}

/** One engine, from when it is made until it is closed. */
interface Life {
  readonly settings: ReturnType<typeof readBullmqOptions>
  /** The loggers of batches that this process has taken. */
  readonly loggers: Map<string, FastifyBaseLogger>
  /** The batches whose end somebody here wants to hear of. */
  readonly followed: Map<string, AbortController>
  /** Undefined until it is started. */
  parts: Parts | undefined
  isClosing: boolean
  isClosed: boolean
}

type Parts = ReturnType<typeof open>

function open (life: Life, host: EngineHost) {
  const { connection, prefix, lockDuration, worker: hasWorker } = life.settings
  const redis = openFailFast(connection)
  const subscriber = openPatient(connection)
  const records = createRecords(createScripts(redis, prefix), lockDuration)
  const jobs = openJobs(redis, prefix)
  const channel = openChannel(subscriber, prefix)
  const tender: Tender = startTender({ records, jobs, lease: lockDuration, log: host.log })
  const worker = hasWorker ? openWorker(life, host, channel) : undefined
  return { host, redis, subscriber, records, jobs, channel, tender, worker }
}

function openWorker ({ settings, loggers }: Life, host: EngineHost, channel: Channel): TaskWorker {
  const { connection, prefix, lockDuration } = settings
  const redis = openPatient(connection)
  return startWorker({
    ...settings,
    redis,
    channel,
    records: createRecords(createScripts(redis, prefix), lockDuration),
    runTask: host.runTask,
    onItemError: host.onItemError,
    maxRunning: host.limits.maxRunning,
    log: host.log,
    logOf: batchId => loggers.get(batchId) ?? host.log.child({ batchId })
  })
}

async function closeParts ({ worker, tender, jobs, redis, subscriber }: Parts, grace: number): Promise<void> {
  await worker?.close(grace)
  tender.stop()
  await jobs.close()
  await Promise.all([end(redis), end(subscriber)])
}

/** Everything that clients wait for: it fails as soon as Redis is known not to be there. */
async function reach<T> ({ parts, isClosed }: Life, use: (parts: Parts) => Promise<T>): Promise<T> {
  if (parts === undefined) throw new EngineUnavailable('it has not been started')
  // Who waits for results that Redis cannot give is not to wait for ever.
  if (isClosed) throw new EngineClosed()
  if (parts.redis.status !== 'ready') throw new EngineUnavailable('Redis is not connected')
  try {
    return await use(parts)
  } catch (error) {
    const worded = wordError(error as Error)
    if (worded !== error && isUnavailable(worded)) parts.host.log.warn({ err: error }, 'Redis cannot be reached')
    throw worded
  }
}

async function submit (life: Life, { records, jobs, tender, host: { limits: { ttl, maxQueued } } }: Parts, batch: NewBatch): Promise<void> {
  const { batchId, keep } = batch
  const waiting = await records.create(batch, { ttl, maxQueued, queues: jobs.queues })
  if (waiting !== undefined) throw new QueueFull(maxQueued, waiting)
  try {
    remember(life, batchId, batch.log)
    if (batch.tasks.length > 0) await jobs.add(batch)
    if (!await records.accept(batchId)) throw new EngineUnavailable('the batch came too late')
  } catch (error) {
    withdraw(life, batchId)
    throw error
  }
  if (!keep) tender.adopt(batchId)
  if (batch.onEnd !== undefined) {
    followEnd(life, batch, batch.onEnd).catch(error => batch.log.error({ err: error, batchId }, 'the end of the batch cannot be told of'))
  }
}

/** Tells of the end of a batch, wherever its tasks have run, if this process is still there. */
async function followEnd (life: Life, { batchId }: NewBatch, onEnd: NonNullable<NewBatch['onEnd']>): Promise<void> {
  const controller = new AbortController()
  life.followed.set(batchId, controller)
  const results = await lookUntil(() => reach(life, ({ records }) => records.results(batchId)), {
    engine: { watch: life.parts!.channel.watch, pollInterval: LOOK_INTERVAL }, batchId, what: 'end', ms: Infinity, signal: controller.signal
  })
  leave(life, batchId)
  if (results === undefined) return
  onEnd({ total: results.length, failed: results.filter(({ status }) => status === tasks.failureWord).length, results: () => results })
}

function leave ({ followed }: Life, batchId: string): void {
  followed.get(batchId)?.abort()
  followed.delete(batchId)
}

function remember ({ loggers }: Life, batchId: string, log: FastifyBaseLogger): void {
  loggers.set(batchId, log)
  if (loggers.size > LOGGERS) loggers.delete(loggers.keys().next().value!)
}

/** Whether a batch is stored is not known when Redis is gone before it has answered: it is not to run later. */
async function withdraw (life: Life, batchId: string): Promise<void> {
  try {
    await cancel(life, batchId)
    await remove(life, batchId)
  } catch {
    await setTimeout(100, undefined, { ref: false })
    if (!life.isClosing) await withdraw(life, batchId)
  }
}

function cancel (life: Life, batchId: string, waiting?: FailureDetail): Promise<void> {
  return reach(life, async ({ records, jobs }) => {
    await records.cancel(batchId, waiting)
    // What is left in the queue would only be taken to find that it has its result.
    await jobs.removeWaiting(batchId)
  })
}

function remove (life: Life, batchId: string): Promise<void> {
  return reach(life, async ({ records }) => {
    life.loggers.delete(batchId)
    await records.remove(batchId)
    leave(life, batchId)
  })
}

/** Not `events.once`, which would reject with the first attempt to connect that fails. */
function isReady (redis: Redis): Promise<void> {
  return new Promise(resolve => redis.once('ready', resolve))
}
