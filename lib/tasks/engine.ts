// The interface of an engine, which runs the tasks of batches and keeps their results.
import type { FastifyBaseLogger } from 'fastify'
import type { BatchSummary, FailureDetail, TaskResult } from '../../schemas/index.js'
import type { OnItemError } from '../core/results/failure-log.js'
import type { RunTask, Task } from './run-task.js'

/** A task and its place in the request, from 0. */
export interface PlacedTask {
  readonly index: number
  readonly task: Task
}

/** A result and the place in the request of its task, from 0. */
export interface PlacedResult {
  readonly index: number
  readonly result: TaskResult
}

/** A batch on its way into an engine. `tasks` and `invalid` together have every place from 0 to `total - 1` once. */
export interface NewBatch {
  /** Unguessable, and never used before. */
  readonly batchId: string
  /** How many tasks the request had. */
  readonly total: number
  /** The tasks that may run, in request order. Can be empty. */
  readonly tasks: readonly PlacedTask[]
  /** The results of those that never will, because they are invalid. They have settled first, in this order. */
  readonly invalid: readonly PlacedResult[]
  /** Whose batch it is: JSON, given back in {@link BatchInfo}. */
  readonly owner?: unknown
  /**
   * Whether the batch is to be kept for `ttl` after its end. One that is not has nobody to come back for it: the engine
   * may forget it as soon as it is removed, need not snapshot its results, and should cancel it should its submitter die.
   */
  readonly keep: boolean
  /** To be called once when the last task has its result, in the process that has taken the batch, unless it is removed first. */
  readonly onEnd?: (end: BatchEnd) => void
  /** The logger of the batch. For tasks that run in this process; other processes have their own. */
  readonly log: FastifyBaseLogger
}

/** What became of a batch. */
export interface BatchEnd {
  readonly total: number
  readonly failed: number
  /** The results, in request order. */
  results (): readonly TaskResult[]
}

/** What an engine knows of a batch beside its results. */
export interface BatchInfo {
  readonly batchId: string
  /** How far it is; `total` is the sum of the other three. */
  readonly summary: BatchSummary
  /** As it was submitted. */
  readonly owner?: unknown
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

/** One task that has a result, as the engine's record of the batch has it. */
export interface SettledTask extends PlacedResult {
  /** How many tasks had succeeded by then, this one included. */
  readonly succeeded: number
}

/** The bounds of an engine. Those that cannot be kept by one of several processes are said by the engine to be its own. */
export interface EngineLimits {
  /** How many tasks of one batch run at a time. */
  readonly concurrency: number
  /** How many tasks of all batches run at a time in this process. */
  readonly maxRunning: number
  /** How many tasks of all batches may wait for their turn. */
  readonly maxQueued: number
  /** Milliseconds that a batch is kept after its last task has settled. */
  readonly ttl: number
}

/** What an engine gets from the app. */
export interface EngineHost {
  /** Makes one attempt at one task. The same code for every engine: it never throws or rejects. */
  readonly runTask: RunTask
  readonly limits: EngineLimits
  /** For what concerns no batch. */
  readonly log: FastifyBaseLogger
  /** To be called for a task whose result cannot be kept, or that is given up; `runTask` does so for those that fail. */
  readonly onItemError?: OnItemError | undefined
}

/**
 * Runs batches. Every method may be called in another process than the one that submitted the batch, if the engine
 * has more than one; nothing is known of a batch but its id. All may reject with {@link EngineUnavailable} when what the
 * engine depends on cannot be reached: at once (100 ms), and never hang; the client is then answered 503.
 *
 * The answers of `find`, `settled` and `results` are the truth. `watch` only says when to ask.
 *
 * The life of a task: it waits; it runs, one attempt at a time (two at most where a process that was thought dead is
 * not); `runTask` says that it is to be tried again in some time, or gives its result. The first result that is recorded
 * stays; later ones are dropped. A task whose process dies again and again is to be given up, with one failed result
 * (code `TASK_LOST`, statusCode 500, see `taskLost` in errors), and not to cost another task anything.
 */
export interface TaskEngine {
  /** Called once before the first batch. What it throws stops the app from starting. */
  start? (host: EngineHost): void | Promise<void>

  /**
   * Takes a batch, whole or not at all. Once it resolves the batch is as durable as anything in this engine, can be
   * found, and will run.
   * @throws QueueFull when there is no room for its tasks, EngineUnavailable when it cannot be stored. Nothing of it has
   *   run then, and nothing will.
   */
  submit (batch: NewBatch): Promise<void>

  /**
   * How far a batch is.
   * @returns `'expired'` for one that was kept and is not any more (as long as that is remembered, at least for another
   *   `ttl` or 10,000 batches), undefined for one that never was, or has been removed
   */
  find (batchId: string): Promise<BatchInfo | 'expired' | undefined>

  /**
   * The results of a batch that has none pending, in request order: as many as tasks in the request.
   * @returns undefined when there is no such batch (any more), or a task of it has no result yet
   */
  results (batchId: string): Promise<TaskResult[] | undefined>

  /**
   * Tasks that have a result, in the order in which they settled. That order never changes once it has been told.
   * @param after how many to leave out: those that the caller has already
   * @param limit how many to give at most
   * @returns an empty array when there are no more (yet), undefined when there is no such batch (any more)
   */
  settled (batchId: string, after: number, limit: number): Promise<SettledTask[] | undefined>

  /**
   * Ends a batch. Every task that has no result gets one: those that have not begun fail with `waiting`, those that run
   * (or wait to be tried again) with `cancelled()`. When it resolves the batch has no task pending, or is about to have
   * none without any handler's doing: a handler that ignores its signal holds up nothing. What runs, wherever it does, is
   * told by its signal. Nothing happens to a batch that has ended or is not known.
   * @param waiting why those that have not begun failed @default `Cancelled`, code `CANCELLED`
   */
  cancel (batchId: string, waiting?: FailureDetail): Promise<void>

  /** Forgets a batch that has ended; then it is unknown, not expired. Nothing happens to one that is not known. */
  remove (batchId: string): Promise<void>

  /**
   * Calls `onNotification` when it is worth looking at a batch: soon after a task has settled (`'result'`) or the last one has
   * (`'end'`), perhaps once for several results, perhaps without need, perhaps (where messages can be lost) not at all.
   * Callers look by themselves first, and every `pollInterval`. Never throws.
   * @returns what ends it; calling that twice is harmless
   */
  watch (batchId: string, what: 'result' | 'end', onNotification: () => void): () => void

  /** Milliseconds after which to look at a watched batch although there was no notification. @default 1000 */
  readonly pollInterval?: number

  /**
   * Called when the app closes, also when it has failed to start and the engine has not been started. Takes no further
   * batch; lets what runs in this process end; after `grace` aborts what still runs here. An engine whose batches outlive
   * the process leaves those to the others, without a result for what it aborted; any other cancels its batches, with
   * `Server closing` for what has not begun. Resolves when nothing of it is left: no timer, socket or listener.
   * Afterwards every method but `close` may reject.
   * @param grace milliseconds
   */
  close (grace: number): Promise<void>
}
