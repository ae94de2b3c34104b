// Runs the tasks of all batches in this process and records their results.
import { setTimeout } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Redis } from 'ioredis'
import { tasks, type Key, type TaskResult } from '../../../../schemas/index.js'
import { recordFailure, type FailureLogger, type OnItemError } from '../../../core/results/failure-log.js'
import { waitAtMost } from '../../../core/settle/wait.js'
import { cancelled, notRun, taskLost, toFailure, type ItemError } from '../../../errors.js'
import { writeResult, writeTooLarge, type ResultText } from '../../result.js'
import { createCanceller, type Canceller, type RunTask, type Task, type TaskEnd } from '../../run-task.js'
import type { PubSub } from './pubsub.js'
import { followCopies, isLost } from './connection.js'
import { startJobWorker, type HeldJob } from './job-worker.js'
import { createSemaphore, type Semaphore } from './semaphore.js'
import { BATCH_JOB, placeOf, type JobPlace } from './jobs.js'
import { Begin, type Records } from './records.js'

/** What a worker works with. */
export interface TaskWorkerOptions {
  /** A connection whose commands wait for Redis. The worker closes it. */
  readonly redis: Redis
  readonly prefix: string
  readonly records: Records
  readonly channel: PubSub
  readonly runTask: RunTask
  /** Called for results that cannot be kept and for tasks that are given up. */
  readonly onItemError: OnItemError | undefined
  readonly maxRunning: number
  readonly lockDuration: number
  readonly maxResultBytes: number
  readonly log: FastifyBaseLogger
  /** The logger of a batch. */
  logOf (batchId: string): FastifyBaseLogger
}

/** A worker that runs. */
export interface TaskWorker {
  /** Takes no further task. After `grace` milliseconds it gives back the tasks that still run. */
  close (grace: number): Promise<void>
}

interface Running {
  readonly batchId: string
  readonly index: number
  readonly canceller: Canceller
}

/** Milliseconds between two checks whether the running tasks were cancelled. */
const POLL_INTERVAL = 1_000
/** After so many deaths of its process a task runs alone, so that it must be the cause of the next one. */
const SUSPECT_AFTER = 2
/** Milliseconds to give tasks back when the worker closes. */
const CLOSE_TIMEOUT = 1_000

/** The state of one worker. */
interface WorkerState {
  readonly options: TaskWorkerOptions
  readonly semaphore: Semaphore
  readonly running: Set<Running>
  readonly closing: AbortController
}

export function startWorker (options: TaskWorkerOptions): TaskWorker {
  const { redis, prefix, channel, maxRunning, lockDuration, log } = options
  const state: WorkerState = { options, semaphore: createSemaphore(), running: new Set(), closing: new AbortController() }
  const connections = followCopies(redis)
  const jobWorker = startJobWorker({ redis, prefix, concurrency: maxRunning, lockDuration, log, run: job => runJob(state, job) })
  const stopSettledSafely = () => { if (state.running.size > 0) stopSettled(state).catch(() => {}) }
  const timer = setInterval(stopSettledSafely, POLL_INTERVAL)
  channel.onCancel(stopSettledSafely)

  return {
    async close (grace) {
      const closed = jobWorker.close()
      await waitAtMost(closed, grace)
      state.closing.abort()
      for (const { canceller } of state.running) canceller.cancel(serverClosing())
      // Without Redis nothing can be given back.
      await waitAtMost(Promise.race([closed, isLost(redis)]), CLOSE_TIMEOUT)
      clearInterval(timer)
      // BullMQ waits for Redis to close its connections, so they are closed here.
      await connections.end()
      await waitAtMost(closed, CLOSE_TIMEOUT)
    }
  }
}

/** @returns milliseconds after which to run the job again, or undefined when it is done */
async function runJob (state: WorkerState, job: HeldJob): Promise<number | undefined> {
  const task = readTask(job)
  if (task === undefined) return undefined
  try {
    const end = await attempt(state, task, job.json)
    if (end !== undefined && end.retryIn === undefined) await record(state, task, end.result)
    return end?.retryIn
  } catch (error) {
    if (!state.closing.signal.aborted) state.options.log.error({ err: error, job: job.id }, 'task not recorded; it will run again')
    return 0
  }
}

interface TaskJob extends JobPlace {
  readonly task: Task
}

/** @returns undefined for the parent job of a batch */
function readTask ({ id, json }: HeldJob): TaskJob | undefined {
  const task = JSON.parse(json.data) as Task
  return json.name === BATCH_JOB && task.taskId === undefined ? undefined : { ...placeOf(id), task }
}

/** @returns undefined when the task already has its result */
async function attempt (state: WorkerState, { batchId, index, task }: TaskJob, job: HeldJob['json']): Promise<TaskEnd | undefined> {
  const { options, options: { records }, semaphore } = state
  const alone = job.stalledCounter >= SUSPECT_AFTER
  const release = await semaphore.acquire(alone)
  try {
    expectOpen(state)
    const answer = await records.begin(batchId, { index, alone })
    if (answer === Begin.Settled) return undefined
    if (answer === Begin.KilledBefore) return { result: failLostTask(failureLoggerOf(options, batchId), index, task.taskId), retryIn: undefined }
    expectOpen(state)
    return await run(state, { batchId, index, task }, job.attemptsStarted, alone)
  } finally {
    release()
  }
}

async function run (state: WorkerState, { batchId, index, task }: TaskJob, attempt: number, alone: boolean): Promise<TaskEnd> {
  const { options: { records, runTask, logOf }, running } = state
  const one: Running = { batchId, index, canceller: createCanceller() }
  running.add(one)
  try {
    const end = await runTask(task, { batchId, index, attempt, log: logOf(batchId), canceller: one.canceller })
    if (state.closing.signal.aborted && one.canceller.reason !== undefined) {
      if (alone) await records.handBack(batchId, index)
      expectOpen(state)
    }
    return end
  } finally {
    running.delete(one)
  }
}

function expectOpen ({ closing }: WorkerState): void {
  if (closing.signal.aborted) throw serverClosing()
}

function failureLoggerOf ({ logOf, onItemError }: TaskWorkerOptions, batchId: string): FailureLogger {
  return { log: logOf(batchId), request: null, onItemError }
}

function failLostTask (failureLogger: FailureLogger, index: number, taskId: Key): TaskResult {
  const lost = taskLost('each process that it ran in has died')
  recordFailure(failureLogger, toFailure(lost), lost, index, taskId)
  return tasks.fail(taskId, toFailure(lost))
}

async function record (state: WorkerState, { batchId, index }: TaskJob, result: TaskResult): Promise<void> {
  const { options: { records, log }, closing } = state
  const text = writeLimited(state.options, batchId, index, result)
  while (true) {
    try {
      await records.settle(batchId, index, text)
      return
    } catch (error) {
      expectOpen(state)
      log.error({ err: error, batchId, index }, 'result not recorded yet')
      await setTimeout(POLL_INTERVAL, undefined, { signal: closing.signal })
    }
  }
}

function writeLimited (options: TaskWorkerOptions, batchId: string, index: number, result: TaskResult): ResultText {
  const failureLogger = failureLoggerOf(options, batchId)
  const text = writeResult({ index, result }, failureLogger)
  return Buffer.byteLength(text.json) <= options.maxResultBytes ? text : writeTooLarge({ index, result }, failureLogger)
}

/** Stops tasks that have their result from elsewhere, for example because they were cancelled. */
async function stopSettled ({ options: { records }, running }: WorkerState): Promise<void> {
  const batchIds = new Set([...running].map(({ batchId }) => batchId))
  await Promise.all([...batchIds].map(async batchId => {
    const ones = [...running].filter(one => one.batchId === batchId)
    const areOpen = await records.areOpen(batchId, ones.map(({ index }) => index))
    ones.forEach(({ canceller }, place) => { if (!areOpen[place]) canceller.cancel(cancelled()) })
  }))
}

const serverClosing = (): ItemError => notRun('Server closing')
