// Runs the tasks of one batch in this process.
import type { FailureDetail, TaskResult } from '../../../../schemas/index.js'
import { cancelled, ItemError, toFailure } from '../../../errors.js'
import type { NewBatch, PlacedTask } from '../../engine.js'
import { createCanceller, type RunTask } from '../../run-task.js'
import type { Gate } from '../../../core/settle/pool.js'

/** A batch that runs, or is about to. */
export interface BatchRun {
  /** How many of its tasks have not begun. */
  waiting (): number
  /** To be called once. */
  start (tasks: readonly PlacedTask[]): void
  /** Gives every task that has no result one; what runs is told to stop. */
  cancel (waiting?: FailureDetail): void
}

/** What a run needs of its engine. */
export interface RunOptions {
  readonly runTask: RunTask
  /** How many tasks of the batch run at a time. */
  readonly concurrency: number
  /** Where its attempts wait for their turn among those of all batches. */
  readonly gate: Gate
  /** Called with the result of each task, once, and its place in the request. */
  readonly onResult: (index: number, result: TaskResult) => void
}

/** The tasks are not kept after their end, as they may be large and the batch may be kept for long. */
export function createRun ({ batchId, tasks: { length }, log }: NewBatch, { runTask, ...options }: RunOptions): BatchRun {
  const canceller = createCanceller()
  let waiting = length

  return {
    waiting: () => waiting,
    start (tasks) {
      runTask.batch({ batchId, log, canceller, tasks, ...options, onBegin () { waiting-- } })
    },
    cancel (why = toFailure(cancelled())) {
      waiting = 0
      canceller.cancel(new ItemError(why.message, why))
    }
  }
}
