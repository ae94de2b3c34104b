// Runs the tasks of all batches in this process, as many at a time as it may, and records what they come to.
import { setTimeout } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Redis } from 'ioredis'
import { tasks, type Key, type TaskResult } from '../../../../schemas/index.js'
import { createCanceller, type Canceller } from '../../../core/settle/attempt.js'
import { recordFailure, type FailureLogger, type OnItemError } from '../../../core/results/failure-log.js'
import { within } from '../../../core/settle/timeout.js'
import { cancelled, notRun, taskLost, toFailure, type ItemError } from '../../../errors.js'
import { writeResult, writeTooLarge, type ResultText } from '../../result.js'
import type { RunTask, Task, TaskEnd } from '../../run-task.js'
import type { Channel } from './pubsub.js'
import { followCopies, isLost } from './connection.js'
import { startCrew, type HeldJob } from './job-worker.js'
import { createGate, type Gate } from './semaphore.js'
import { BATCH_JOB, placeOf, type JobPlace } from './jobs.js'
import { Begin, type Records } from './records.js'

/** What a worker works with. */
export interface TaskWorkerOptions {
  /** Whose commands wait for Redis; the worker ends it. */
  readonly redis: Redis
  readonly prefix: string
  readonly records: Records
  readonly channel: Channel
  readonly runTask: RunTask
  /** What the app is told of results that cannot be kept, and of tasks that are given up. */
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

/** What a worker has in hand. */
interface Shift {
  readonly options: TaskWorkerOptions
  readonly gate: Gate
  readonly running: Set<Running>
  readonly closing: AbortController
}

export function startWorker (options: TaskWorkerOptions): TaskWorker {
  const { redis, prefix, channel, maxRunning, lockDuration, log } = options
  const shift: Shift = { options, gate: createGate(), running: new Set(), closing: new AbortController() }
  const connections = followCopies(redis)
  const crew = startCrew({ redis, prefix, most: maxRunning, lockDuration, log, work: job => work(shift, job) })
  const lookSafely = () => { if (shift.running.size > 0) look(shift).catch(() => {}) }
  const timer = setInterval(lookSafely, LOOK_INTERVAL)
  channel.onCancel(lookSafely)

  return {
    async close (grace) {
      const closed = crew.close()
      await within(closed, grace)
      shift.closing.abort()
      for (const { canceller } of shift.running) canceller.cancel(serverClosing())
      // Nothing can be given back to a Redis that is gone.
      await within(Promise.race([closed, isLost(redis)]), LAST_WORDS)
      clearInterval(timer)
      // BullMQ waits for Redis to say goodbye; that its connections have ended will do as well.
      await connections.end()
      await within(closed, LAST_WORDS)
    }
  }
}

/** @returns milliseconds after which the job is to be taken again; undefined when there is nothing left to do */
async function work (shift: Shift, job: HeldJob): Promise<number | undefined> {
  const task = readTask(job)
  if (task === undefined) return undefined
  try {
    const end = await attempt(shift, task, job.json)
    if (end !== undefined && end.retryIn === undefined) await record(shift, task, end.result)
    return end?.retryIn
  } catch (error) {
    if (!shift.closing.signal.aborted) shift.options.log.error({ err: error, job: job.id }, 'task not recorded; it will run again')
    return 0
  }
}

interface TaskJob extends JobPlace {
  readonly task: Task
}

/** @returns undefined for the job that stands for its batch */
function readTask ({ id, json }: HeldJob): TaskJob | undefined {
  const task = JSON.parse(json.data) as Task
  return json.name === BATCH_JOB && task.taskId === undefined ? undefined : { ...placeOf(id), task }
}

/** @returns undefined when there is nothing to record, as the task has its result */
async function attempt (shift: Shift, { batchId, index, task }: TaskJob, job: HeldJob['json']): Promise<TaskEnd | undefined> {
  const { options, options: { records }, gate } = shift
  const alone = job.stalledCounter >= SUSPECT_AFTER
  const leave = await gate.enter(alone)
  try {
    expectOpen(shift)
    const state = await records.begin(batchId, { index, alone })
    if (state === Begin.Settled) return undefined
    if (state === Begin.KilledBefore) return { result: loseTask(failureLoggerOf(options, batchId), index, task.taskId), retryIn: undefined }
    expectOpen(shift)
    return await run(shift, { batchId, index, task }, job.attemptsStarted, alone)
  } finally {
    leave()
  }
}

async function run (shift: Shift, { batchId, index, task }: TaskJob, attempt: number, alone: boolean): Promise<TaskEnd> {
  const { options: { records, runTask, logOf }, running } = shift
  const one: Running = { batchId, index, canceller: createCanceller() }
  running.add(one)
  try {
    const end = await runTask(task, { batchId, index, attempt, log: logOf(batchId), canceller: one.canceller })
    if (shift.closing.signal.aborted && one.canceller.reason !== undefined) {
      if (alone) await records.handBack(batchId, index)
      expectOpen(shift)
    }
    return end
  } finally {
    running.delete(one)
  }
}

function expectOpen ({ closing }: Shift): void {
  if (closing.signal.aborted) throw serverClosing()
}

function failureLoggerOf ({ logOf, onItemError }: TaskWorkerOptions, batchId: string): FailureLogger {
  return { log: logOf(batchId), request: null, onItemError }
}

function loseTask (book: FailureLogger, index: number, taskId: Key): TaskResult {
  const lost = taskLost('each process that it ran in has died')
  recordFailure(book, toFailure(lost), lost, index, taskId)
  return tasks.fail(taskId, toFailure(lost))
}

async function record (shift: Shift, { batchId, index }: TaskJob, result: TaskResult): Promise<void> {
  const { options: { records, log }, closing } = shift
  const text = writeWithin(shift.options, batchId, index, result)
  while (true) {
    try {
      await records.settle(batchId, index, text)
      return
    } catch (error) {
      expectOpen(shift)
      log.error({ err: error, batchId, index }, 'result not recorded yet')
      await setTimeout(LOOK_INTERVAL, undefined, { signal: closing.signal })
    }
  }
}

function writeWithin (options: TaskWorkerOptions, batchId: string, index: number, result: TaskResult): ResultText {
  const book = failureLoggerOf(options, batchId)
  const text = writeResult({ index, result }, book)
  return Buffer.byteLength(text.json) <= options.maxResultBytes ? text : writeTooLarge({ index, result }, book)
}

/** Stops what has got a result elsewhere, as by being cancelled. */
async function look ({ options: { records }, running }: Shift): Promise<void> {
  const batchIds = new Set([...running].map(({ batchId }) => batchId))
  await Promise.all([...batchIds].map(async batchId => {
    const ones = [...running].filter(one => one.batchId === batchId)
    const areOpen = await records.areOpen(batchId, ones.map(({ index }) => index))
    ones.forEach(({ canceller }, place) => { if (!areOpen[place]) canceller.cancel(cancelled()) })
  }))
}

const serverClosing = (): ItemError => notRun('Server closing')
