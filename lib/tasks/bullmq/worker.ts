// Runs the tasks of all batches in this process, as many at a time as it may, and records what they come to.
import { setTimeout } from 'node:timers/promises'
import { DelayedError, WaitingError, Worker, type Job } from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import type { Redis } from 'ioredis'
import { tasks, type Key, type TaskResult } from '../../../schemas/index.js'
import { createCanceller, type Canceller } from '../../core/attempt.js'
import { logItemFailure } from '../../core/item-log.js'
import { within } from '../../core/within.js'
import { cancelled, notRun, resultTooLarge, taskLost, toFailure, type ItemError } from '../../errors.js'
import { writeResult, type ResultText } from '../result.js'
import type { RunTask, TaskEnd } from '../run-task.js'
import type { Channel } from './channel.js'
import { followCopies, isLost } from './connection.js'
import { createGate } from './gate.js'
import { BATCH_JOB, QUEUE, type TaskJob } from './jobs.js'
import { Begin, type Records } from './records.js'

/** What a worker works with. */
export interface TaskWorkerOptions {
  /** Whose commands wait for Redis; the worker ends it. */
  readonly redis: Redis
  readonly prefix: string
  readonly records: Records
  readonly channel: Channel
  readonly runTask: RunTask
  readonly maxRunning: number
  readonly lockDuration: number
  readonly maxResultBytes: number
  readonly log: FastifyBaseLogger
  /** The logger of a batch. */
  logOf (batchId: string): FastifyBaseLogger
}

/** A worker that runs. */
export interface TaskWorker {
  /** Takes no further task; after `grace` milliseconds gives back those that still run. */
  close (grace: number): Promise<void>
}

interface Running {
  readonly batchId: string
  readonly index: number
  readonly canceller: Canceller
}

/** Milliseconds between two looks at whether what runs here may still run. */
const LOOK_INTERVAL = 1_000
/** After so many deaths of the process that it ran in, a task runs alone, so that the next death can only be its own fault. */
const SUSPECT_AFTER = 2
/** Milliseconds to give tasks back when the worker closes. */
const LAST_WORDS = 1_000

export function startWorker (options: TaskWorkerOptions): TaskWorker {
  const { redis, prefix, records, channel, runTask, maxRunning, lockDuration, log, logOf } = options
  const gate = createGate()
  const running = new Set<Running>()
  const closing = new AbortController()

  /** What it throws makes BullMQ keep the job, and anything else would make it a failure without a result. */
  async function process (job: Job, token?: string): Promise<void> {
    if (job.name === BATCH_JOB && job.data.batchId === undefined) return
    try {
      const end = await attempt(job.data as TaskJob, job)
      if (end?.retryIn !== undefined) return await delay(job, end.retryIn, token)
      if (end !== undefined) await record(job.data as TaskJob, end.result)
    } catch (error) {
      if (error instanceof DelayedError) throw error
      if (!closing.signal.aborted) log.error({ err: error, job: job.id }, 'task not recorded; it will run again')
      await job.moveToWait(token).catch(() => {})
      throw new WaitingError()
    }
  }

  /** @returns undefined when there is nothing to record, as the task has its result */
  async function attempt ({ batchId, index, task }: TaskJob, job: Job): Promise<TaskEnd | undefined> {
    const alone = job.stalledCounter >= SUSPECT_AFTER
    const leave = await gate.enter(alone)
    const one: Running = { batchId, index, canceller: createCanceller() }
    try {
      expectOpen()
      const state = await records.begin(batchId, { index, alone })
      if (state === Begin.Settled) return undefined
      if (state === Begin.KilledBefore) return { result: loseTask(batchId, index, task.taskId), retryIn: undefined }
      expectOpen()
      running.add(one)
      const end = await runTask(task, { batchId, index, attempt: job.attemptsStarted, log: logOf(batchId), canceller: one.canceller })
      if (closing.signal.aborted && one.canceller.reason !== undefined) {
        if (alone) await records.handBack(batchId, index)
        expectOpen()
      }
      return end
    } finally {
      running.delete(one)
      leave()
    }
  }

  function expectOpen (): void {
    if (closing.signal.aborted) throw serverClosing()
  }

  function loseTask (batchId: string, index: number, taskId: Key): TaskResult {
    const lost = taskLost('each process that it ran in has died')
    logItemFailure(logOf(batchId), toFailure(lost), lost, index, taskId)
    return tasks.fail(taskId, toFailure(lost))
  }

  async function delay (job: Job, ms: number, token?: string): Promise<never> {
    await job.moveToDelayed(Date.now() + ms, token)
    throw new DelayedError()
  }

  async function record ({ batchId, index }: TaskJob, result: TaskResult): Promise<void> {
    const text = writeWithin(batchId, index, result)
    while (true) {
      try {
        await records.settle(batchId, index, text)
        return
      } catch (error) {
        expectOpen()
        log.error({ err: error, batchId, index }, 'result not recorded yet')
        await setTimeout(LOOK_INTERVAL, undefined, { signal: closing.signal })
      }
    }
  }

  function writeWithin (batchId: string, index: number, result: TaskResult): ResultText {
    const text = writeResult({ index, result }, logOf(batchId))
    if (Buffer.byteLength(text.json) <= options.maxResultBytes) return text
    return writeResult({ index, result: tasks.fail(result.taskId as Key, toFailure(resultTooLarge())) }, logOf(batchId))
  }

  /** Stops what has got a result elsewhere, as by being cancelled. */
  async function look (): Promise<void> {
    const batchIds = new Set([...running].map(({ batchId }) => batchId))
    await Promise.all([...batchIds].map(async batchId => {
      const ones = [...running].filter(one => one.batchId === batchId)
      const areOpen = await records.areOpen(batchId, ones.map(({ index }) => index))
      ones.forEach(({ canceller }, place) => { if (!areOpen[place]) canceller.cancel(cancelled()) })
    }))
  }

  const connections = followCopies(redis)
  const worker = new Worker(QUEUE, process, {
    connection: redis,
    prefix,
    concurrency: maxRunning,
    lockDuration,
    stalledInterval: lockDuration / 2,
    // Its own way to give a job up would take the neighbours of the one that kills with it.
    maxStalledCount: Number.MAX_SAFE_INTEGER
  })
  worker.on('error', error => log.debug({ err: error }, 'worker'))
  const lookSafely = () => { if (running.size > 0) look().catch(() => {}) }
  const timer = setInterval(lookSafely, LOOK_INTERVAL)
  channel.onCancel(lookSafely)

  return {
    async close (grace) {
      const closed = worker.close()
      await within(closed, grace)
      closing.abort()
      for (const { canceller } of running) canceller.cancel(serverClosing())
      // Nothing can be given back to a Redis that is gone.
      await within(Promise.race([closed, isLost(redis)]), LAST_WORDS)
      clearInterval(timer)
      // BullMQ waits for Redis to say goodbye; that its connections have ended will do as well.
      await connections.end()
      await within(closed, LAST_WORDS)
    }
  }
}

const serverClosing = (): ItemError => notRun('Server closing')
