// The BullMQ engine: batches live in Redis, and any process can answer for them or run their tasks.
import { setTimeout } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Redis } from 'ioredis'
import { tasks, type FailureDetail } from '../../../../schemas/index.js'
import { waitAtMost } from '../../../core/settle/wait.js'
import { EngineClosed, EngineUnavailable, isUnavailable, QueueFull } from '../../../errors.js'
import type { EngineHost, NewBatch, TaskEngine } from '../../engine.js'
import { pollUntil } from '../../http/poll.js'
import { openPubSub, type PubSub } from './pubsub.js'
import { end, openFailFast, openPatient, toClientError } from './connection.js'
import { openJobs } from './jobs.js'
import { readBullmqOptions, type BullmqOptions } from './options.js'
import { createRecords } from './records.js'
import { createScripts } from './scripts.js'
import { startStalledCheck, type StalledCheck } from './stalled-check.js'
import { startWorker, type TaskWorker } from './worker.js'

/** Milliseconds that the start of an app waits for Redis. Afterwards clients get 503 until Redis is there. */
const START_WAIT = 1_000
/** Milliseconds between polls for the end of a batch. Notifications are rarely lost. */
const POLL_INTERVAL = 60_000
/** How many loggers of batches are kept. */
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
  const state: EngineState = {
    settings: readBullmqOptions(options), loggers: new Map(), followed: new Map(), parts: undefined, isClosing: false, isClosed: false
  }
  return {
    async start (host) {
      const { redis } = state.parts = open(state, host)
      if (redis.status !== 'ready') await waitAtMost(isReady(redis), START_WAIT)
    },
    async submit (batch) {
      if (state.isClosing) throw new EngineUnavailable('the server is closing')
      await callRedis(state, parts => submit(state, parts, batch))
    },
    find: batchId => callRedis(state, ({ records }) => records.find(batchId)),
    results: batchId => callRedis(state, ({ records }) => records.results(batchId)),
    settled: (batchId, after, limit) => callRedis(state, ({ records }) => records.settled(batchId, after, limit)),
    cancel: (batchId, waiting) => cancel(state, batchId, waiting),
    remove: batchId => remove(state, batchId),
    watch: (batchId, what, onNotification) => state.parts?.channel.watch(batchId, what, onNotification) ?? (() => {}),
    async close (grace) {
      state.isClosing = true
      for (const batchId of state.followed.keys()) unfollow(state, batchId)
      if (state.parts !== undefined) await closeParts(state.parts, grace)
      state.isClosed = state.parts !== undefined
    }
  }
}

/** The state of one engine. */
interface EngineState {
  readonly settings: ReturnType<typeof readBullmqOptions>
  /** The loggers of batches that this process has taken. */
  readonly loggers: Map<string, FastifyBaseLogger>
  /** The batches with an `onEnd` callback in this process. */
  readonly followed: Map<string, AbortController>
  /** Undefined until it is started. */
  parts: Parts | undefined
  isClosing: boolean
  isClosed: boolean
}

type Parts = ReturnType<typeof open>

function open (state: EngineState, host: EngineHost) {
  const { connection, prefix, lockDuration, worker: hasWorker } = state.settings
  const redis = openFailFast(connection)
  const subscriber = openPatient(connection)
  const records = createRecords(createScripts(redis, prefix), lockDuration)
  const jobs = openJobs(redis, prefix)
  const channel = openPubSub(subscriber, prefix)
  const stalledCheck: StalledCheck = startStalledCheck({ records, jobs, lockDuration, log: host.log })
  const worker = hasWorker ? openWorker(state, host, channel) : undefined
  return { host, redis, subscriber, records, jobs, channel, stalledCheck, worker }
}

function openWorker ({ settings, loggers }: EngineState, host: EngineHost, channel: PubSub): TaskWorker {
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

async function closeParts ({ worker, stalledCheck, jobs, redis, subscriber }: Parts, grace: number): Promise<void> {
  await worker?.close(grace)
  stalledCheck.stop()
  await jobs.close()
  await Promise.all([end(redis), end(subscriber)])
}

/** Calls Redis for a client. It fails at once while Redis is known to be away. */
async function callRedis<T> ({ parts, isClosed }: EngineState, use: (parts: Parts) => Promise<T>): Promise<T> {
  if (parts === undefined) throw new EngineUnavailable('it has not been started')
  if (isClosed) throw new EngineClosed()
  if (parts.redis.status !== 'ready') throw new EngineUnavailable('Redis is not connected')
  try {
    return await use(parts)
  } catch (error) {
    const shown = toClientError(error as Error)
    if (shown !== error && isUnavailable(shown)) parts.host.log.warn({ err: error }, 'Redis cannot be reached')
    throw shown
  }
}

async function submit (state: EngineState, { records, jobs, stalledCheck, host: { limits: { ttl, maxQueued } } }: Parts, batch: NewBatch): Promise<void> {
  const { batchId, keep } = batch
  const waiting = await records.create(batch, { ttl, maxQueued, queues: jobs.queues })
  if (waiting !== undefined) throw new QueueFull(maxQueued, waiting)
  try {
    remember(state, batchId, batch.log)
    if (batch.tasks.length > 0) await jobs.add(batch)
    if (!await records.accept(batchId)) throw new EngineUnavailable('the batch came too late')
  } catch (error) {
    withdraw(state, batchId)
    throw error
  }
  if (!keep) stalledCheck.follow(batchId)
  if (batch.onEnd !== undefined) {
    followEnd(state, batch, batch.onEnd).catch(error => batch.log.error({ err: error, batchId }, 'the end of the batch cannot be reported'))
  }
}

/** Calls `onEnd` at the end of a batch, wherever its tasks ran. */
async function followEnd (state: EngineState, { batchId }: NewBatch, onEnd: NonNullable<NewBatch['onEnd']>): Promise<void> {
  const controller = new AbortController()
  state.followed.set(batchId, controller)
  const results = await pollUntil(() => callRedis(state, ({ records }) => records.results(batchId)), {
    engine: { watch: state.parts!.channel.watch, pollInterval: POLL_INTERVAL }, batchId, what: 'end', ms: Infinity, signal: controller.signal
  })
  unfollow(state, batchId)
  if (results === undefined) return
  onEnd({ total: results.length, failed: results.filter(({ status }) => status === tasks.failureWord).length, results: () => results })
}

function unfollow ({ followed }: EngineState, batchId: string): void {
  followed.get(batchId)?.abort()
  followed.delete(batchId)
}

function remember ({ loggers }: EngineState, batchId: string, log: FastifyBaseLogger): void {
  loggers.set(batchId, log)
  if (loggers.size > LOGGERS) loggers.delete(loggers.keys().next().value!)
}

/** Removes a batch of which nobody knows whether Redis has stored it, so that it does not run later. */
async function withdraw (state: EngineState, batchId: string): Promise<void> {
  try {
    await cancel(state, batchId)
    await remove(state, batchId)
  } catch {
    await setTimeout(100, undefined, { ref: false })
    if (!state.isClosing) await withdraw(state, batchId)
  }
}

function cancel (state: EngineState, batchId: string, waiting?: FailureDetail): Promise<void> {
  return callRedis(state, async ({ records, jobs }) => {
    await records.cancel(batchId, waiting)
    await jobs.removeWaiting(batchId)
  })
}

function remove (state: EngineState, batchId: string): Promise<void> {
  return callRedis(state, async ({ records }) => {
    state.loggers.delete(batchId)
    await records.remove(batchId)
    unfollow(state, batchId)
  })
}

/** Not `events.once`, which rejects when the first attempt to connect fails. */
function isReady (redis: Redis): Promise<void> {
  return new Promise(resolve => redis.once('ready', resolve))
}
