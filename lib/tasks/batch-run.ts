// The tasks of one batch on their way through the in-process engine.
import { tasks, type FailureDetail, type Key } from '../../schemas/index.js'
import { createCanceller } from '../core/attempt.js'
import { cancelled, toFailure } from '../errors.js'
import type { NewBatch, PlacedResult, PlacedTask } from './engine.js'
import type { RunTask, TaskAttempt, TaskEnd } from './run-task.js'
import type { Runnable } from './scheduler.js'

/** A batch that runs, or is about to. */
export interface BatchRun extends Runnable {
  /** How many of its tasks have not begun. */
  waiting (): number
  /** Gives every task that has no result one; what runs is told to stop. */
  cancel (waiting?: FailureDetail): void
}

/** What a run needs of its engine. */
export interface RunOptions {
  readonly runTask: RunTask
  /** How many tasks of the batch run at a time. */
  readonly concurrency: number
  /** Called with the result of each task, once. */
  readonly onResult: (placed: PlacedResult) => void
  /** Called when a task is ready again after a wait. */
  readonly onReady: () => void
}

/** A task, and what is told of this attempt at it. */
interface Try extends PlacedTask, TaskAttempt {}

export function createRun ({ batchId, tasks: given, log }: NewBatch, options: RunOptions): BatchRun {
  let placed = given
  const { runTask, concurrency, onResult, onReady } = options
  const canceller = createCanceller()
  const retries: Try[] = []
  const pauses = new Map<Try, NodeJS.Timeout>()
  let begun = 0
  // Begun and without a result, also those that wait to be tried again: with a concurrency of 1, tasks run in order.
  let open = 0

  function next (): Try {
    if (retries.length > 0) return retries.shift()!
    open++
    const { index, task } = placed[begun++]!
    const one = { index, task, attempt: 1, batchId, log, canceller }
    if (begun === placed.length) forget()
    return one
  }

  /** Lets go of the tasks, which may be large, although the batch may be kept for long. */
  function forget (): void {
    placed = []
    begun = 0
  }

  function note (one: Try, { result, retryIn }: TaskEnd): void {
    if (retryIn === undefined) {
      open--
      return onResult({ index: one.index, result })
    }
    const again = { ...one, attempt: one.attempt + 1 }
    pauses.set(again, setTimeout(() => {
      pauses.delete(again)
      retries.push(again)
      onReady()
    }, retryIn))
  }

  function fail ({ index, task }: PlacedTask, why: FailureDetail): void {
    onResult({ index, result: tasks.fail(task.taskId as Key, why) })
  }

  const run: BatchRun = {
    waiting: () => placed.length - begun,
    isReady: () => retries.length > 0 || (open < concurrency && begun < placed.length),
    startNext (onEnded) {
      const one = next()
      let isRunning = true
      let goesOn = false
      runTask(one.task, one, end => {
        isRunning = false
        note(one, end)
        if (goesOn) onEnded(run)
      })
      goesOn = isRunning
      return goesOn
    },
    cancel (why = toFailure(cancelled())) {
      const stopped = toFailure(cancelled())
      const notBegun = placed.slice(begun)
      const again = [...retries.splice(0), ...pauses.keys()]
      forget()
      for (const timer of pauses.values()) clearTimeout(timer)
      pauses.clear()
      canceller.cancel(cancelled())
      for (const one of again) fail(one, stopped)
      for (const one of notBegun) fail(one, why)
    }
  }
  return run
}
