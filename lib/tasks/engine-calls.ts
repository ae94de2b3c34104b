// Calls an engine for a request, and hides its internal errors from the client.
import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { tasks } from '../../schemas/index.js'
import { EngineFailed, invalidItemDetail } from '../errors.js'
import type { NewBatch, PlacedTask, TaskEngine } from './engine.js'

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

/**
 * Wraps the methods that requests wait for, so that they throw what {@link maskError} makes of it; but for `submit`, whose
 * errors are looked at first.
 */
export function maskErrors (engine: TaskEngine, log: FastifyBaseLogger): TaskEngine {
  async function mask<R> (call: () => Promise<R>): Promise<R> {
    try {
      return await call()
    } catch (error) {
      throw maskError(error, log)
    }
  }

  return {
    pollInterval: engine.pollInterval,
    submit: batch => engine.submit(batch),
    find: batchId => mask(() => engine.find(batchId)),
    results: batchId => mask(() => engine.results(batchId)),
    settled: (batchId, after, limit) => mask(() => engine.settled(batchId, after, limit)),
    cancel: (batchId, waiting) => mask(() => engine.cancel(batchId, waiting)),
    remove: batchId => mask(() => engine.remove(batchId)),
    watch: (batchId, what, onNotification) => engine.watch(batchId, what, onNotification),
    close: grace => engine.close(grace)
  }
}

/**
 * What a request may be told of an error of an engine: all of one with a status of its own, as the errors of this package
 * and those of @fastify/error have; any other is logged, and is FST_MULTI_STATUS_ENGINE_FAILED.
 */
export function maskError (error: unknown, log: FastifyBaseLogger): unknown {
  if ((error as { statusCode?: unknown } | undefined)?.statusCode !== undefined) return error
  log.error({ err: error }, 'the engine of the tasks has failed')
  return new EngineFailed()
}
