// Records the results of one batch, and the order in which they came.
import type { TaskResult } from '../../../../schemas/index.js'
import type { FailureLogger, OnItemError } from '../../../core/results/failure-log.js'
import type { BatchInfo, NewBatch, PlacedResult, SettledTask } from '../../engine.js'
import { readResult, writeResult, writeTooLarge, type ResultText } from '../../result.js'

/** The record of one batch. */
export interface BatchRecord {
  info (): BatchInfo
  isDone (): boolean
  /** Notes a result. A task has one: the caller sees to that. */
  settle (index: number, result: TaskResult): void
  results (): TaskResult[]
  settled (after: number, limit: number): SettledTask[]
}

/** A result as it is kept: text where it has to last, because what a handler has returned may change. */
type Kept = TaskResult | string

/**
 * @param makeRoom whether a result of so many bytes can be kept
 * @param onItemError what the app is told of results that cannot be kept
 */
export function createRecord (batch: NewBatch, makeRoom: (bytes: number) => boolean, onItemError: OnItemError | undefined): BatchRecord {
  const { batchId, total, owner, keep, log } = batch
  const logger: FailureLogger = { log, request: null, onItemError }
  const createdAt = Date.now()
  // At their full length, because to let them grow costs as much as all else here.
  const results: Kept[] = new Array(total)
  const order: number[] = new Array(total)
  const successes: number[] = new Array(total)
  let count = 0
  let succeeded = 0

  return {
    isDone: () => count === total,
    info: () => ({
      batchId,
      createdAt,
      ...(owner !== undefined && { owner }),
      summary: { total, succeeded, failed: count - succeeded, pending: total - count }
    }),
    settle (index, result) {
      const text = keep ? write({ index, result }, makeRoom, logger) : undefined
      results[index] = text?.json ?? result
      if (!(text?.failed ?? result.status === 'failed')) succeeded++
      order[count] = index
      successes[count++] = succeeded
    },
    results: () => keep ? results.map(read) : [...results] as TaskResult[],
    settled: (after, limit) => order.slice(after, Math.min(after + limit, count)).map((index, place) =>
      ({ index, result: read(results[index]!), succeeded: successes[after + place]! }))
  }
}

/** Bytes that a result may have in any case: that it was too large has to be said somewhere. */
const SMALL = 1024

function write (placed: PlacedResult, makeRoom: (bytes: number) => boolean, logger: FailureLogger): ResultText {
  const text = writeResult(placed, logger)
  const size = Buffer.byteLength(text.json)
  return makeRoom(size) || size <= SMALL ? text : writeTooLarge(placed, logger)
}

function read (kept: Kept): TaskResult {
  return typeof kept === 'string' ? readResult(kept) : kept
}
