// The tasks of one batch on their way through the in-process engine.
import { tasks, type FailureDetail, type TaskResult } from '../../../../schemas/index.js'
import { createCanceller } from '../../../core/settle/attempt.js'
import { cancelled, toFailure } from '../../../errors.js'
import type { NewBatch, PlacedTask } from '../../engine.js'
import type { RunTask, Turn, Turns } from '../../run-task.js'
import type { Runnable, Slots } from './scheduler.js'

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
  /** Called with the result of each task, once, and its place in the request. */
  readonly onResult: (index: number, result: TaskResult) => void
  /** Called when a task is ready again after a wait. */
  readonly onReady: () => void
}

export function createRun ({ batchId, tasks: given, log }: NewBatch, options: RunOptions): BatchRun {
  const { runTask, concurrency, onResult, onReady } = options
  const canceller = createCanceller()
  const queue = createQueue(given)
  const again = createRetries<Turn>(onReady)
  // Begun and without a result, also those that wait to be tried again: with a concurrency of 1, tasks run in order.
  let open = 0

  /** Undefined when none may start now. */
  function take (): Turn | undefined {
    if (again.isReady()) return again.take()
    if (open >= concurrency) return undefined
    const next = queue.take()
    if (next !== undefined) open++
    return next
  }

  const turnsIn = (slots: Slots): Turns => ({
    batchId,
    log,
    canceller,
    next: () => slots.mayGoOn(run) ? take() : undefined,
    onEnd (turn, result, retryIn) {
      if (retryIn !== undefined) return again.add({ task: turn.task, index: turn.index, attempt: (turn.attempt ?? 1) + 1 }, retryIn)
      open--
      onResult(turn.index, result)
    },
    onStop: () => slots.free(run)
  })
  let turns: Turns | undefined

  const run: BatchRun = {
    waiting: queue.length,
    isReady: () => again.isReady() || (open < concurrency && queue.length() > 0),
    start (slots) {
      turns ??= turnsIn(slots)
      runTask.inTurn(take()!, turns)
    },
    cancel (why = toFailure(cancelled())) {
      const stopped = toFailure(cancelled())
      const [notBegun, begunBefore] = [queue.clear(), again.clear()]
      canceller.cancel(cancelled())
      for (const one of begunBefore) onResult(one.index, failed(one, stopped))
      for (const one of notBegun) onResult(one.index, failed(one, why))
    }
  }
  return run
}

function failed ({ task }: Turn, why: FailureDetail): TaskResult {
  return tasks.fail(task.taskId, why)
}

/** The tasks that have not begun. */
function createQueue (given: readonly PlacedTask[]) {
  let placed = given
  let begun = 0

  /** Lets go of the tasks, which may be large, although the batch may be kept for long. */
  function clear (): PlacedTask[] {
    const left = placed.slice(begun)
    placed = []
    begun = 0
    return left
  }
  return {
    clear,
    length: () => placed.length - begun,
    take (): PlacedTask | undefined {
      if (begun === placed.length) return undefined
      const one = placed[begun++]
      if (begun === placed.length) clear()
      return one
    }
  }
}

/** What is to be tried again. */
interface Retries<T> {
  /** @param ms after which it is ready */
  add (one: T, ms: number): void
  isReady (): boolean
  /** One that is ready; there must be one. */
  take (): T
  /** Gives up all of them. @returns them */
  clear (): T[]
}

function createRetries<T> (onReady: () => void): Retries<T> {
  const ready: T[] = []
  const pauses = new Map<T, NodeJS.Timeout>()
  return {
    add (one, ms) {
      pauses.set(one, setTimeout(() => {
        pauses.delete(one)
        ready.push(one)
        onReady()
      }, ms))
    },
    isReady: () => ready.length > 0,
    take: () => ready.shift()!,
    clear () {
      const all = [...ready.splice(0), ...pauses.keys()]
      for (const timer of pauses.values()) clearTimeout(timer)
      pauses.clear()
      return all
    }
  }
}
