// Gives a batch to its engine, whatever is in it.
import { randomUUID } from 'node:crypto'
import { tasks } from '../../schemas/index.js'
import { invalidItemDetail } from '../errors.js'
import type { NewBatch, PlacedTask, TaskEngine } from './engine.js'
import { maskError } from './masked-engine.js'

const TOO_DEEP = invalidItemDetail([{ pointer: '#/payload', detail: 'must not be so deep' }])

/**
 * Submits a batch. JSON can be read that is too deep to be written again; a task in which there is such fails, and costs
 * no other task anything.
 * @returns what has been submitted
 */
export async function submit (engine: TaskEngine, batch: NewBatch): Promise<NewBatch> {
  try {
    await engine.submit(batch)
    return batch
  } catch (error) {
    const tooDeep = error instanceof RangeError ? batch.tasks.filter(one => !canBeWritten(one)) : []
    if (tooDeep.length === 0) throw maskError(error, batch.log)
    return submit(engine, withoutTasks(batch, tooDeep))
  }
}

/** Deeper than in the task alone, as it stands in other objects there. */
function canBeWritten (task: PlacedTask): boolean {
  try {
    JSON.stringify([[[[[[[[task]]]]]]]])
    return true
  } catch {
    return false
  }
}

/** Under an id of its own, because nothing is known of one that an engine has refused. */
function withoutTasks (batch: NewBatch, failed: readonly PlacedTask[]): NewBatch {
  const results = failed.map(({ index, task }) => ({ index, result: tasks.fail(task.taskId, TOO_DEEP) }))
  return {
    ...batch,
    batchId: randomUUID(),
    tasks: batch.tasks.filter(one => !failed.includes(one)),
    invalid: [...batch.invalid, ...results].sort((a, b) => a.index - b.index)
  }
}
