// What the in-process engine remembers of one batch: its results, and the order in which they came.
import type { TaskResult } from '../../schemas/index.js'
import type { BatchInfo, NewBatch, PlacedResult, SettledTask } from './engine.js'
import { readResult, writeResult } from './result.js'
import { resultTooLarge, toFailure } from '../errors.js'
import { tasks } from '../../schemas/index.js'

/** The record of one batch. */
export interface BatchRecord {
  readonly info: () => BatchInfo
  /** Bytes of the results so far. */
  readonly bytes: () => number
  readonly isDone: () => boolean
  /** What is to be called after each result, and after the last one. */
  readonly watchers: Record<'result' | 'end', Set<() => void>>
  /** Notes a result; only the first one of a task counts. */
  settle (placed: PlacedResult): void
  results (): TaskResult[]
  settled (after: number, limit: number): SettledTask[]
}

/** @param hasRoom whether so many bytes more can be kept */
export function createRecord (batch: NewBatch, hasRoom: (bytes: number) => boolean): BatchRecord {
  const { batchId, total, owner, keep, log } = batch
  const createdAt = Date.now()
  const results: (TaskResult | string | undefined)[] = new Array(total)
  const order: number[] = []
  const successes: number[] = []
  const watchers = { result: new Set<() => void>(), end: new Set<() => void>() }
  let succeeded = 0
  let bytes = 0

  /** Text where it has to last: what a handler has returned may change. */
  function keepable (placed: PlacedResult): { kept: TaskResult | string, failed: boolean } {
    if (!keep) return { kept: placed.result, failed: placed.result.status === 'failed' }
    const { json, failed } = writeResult(placed, log)
    const size = Buffer.byteLength(json)
    if (failed || hasRoom(size)) {
      bytes += size
      return { kept: json, failed }
    }
    const tooLarge = tasks.fail(placed.result.taskId, toFailure(resultTooLarge()))
    return keepable({ index: placed.index, result: tooLarge })
  }

  function read (index: number): TaskResult {
    const kept = results[index]!
    return typeof kept === 'string' ? readResult(kept) : kept
  }

  return {
    watchers,
    bytes: () => bytes,
    isDone: () => order.length === total,
    info: () => ({
      batchId,
      createdAt,
      ...(owner !== undefined && { owner }),
      summary: { total, succeeded, failed: order.length - succeeded, pending: total - order.length }
    }),
    settle (placed) {
      const { index } = placed
      if (results[index] !== undefined) return
      const { kept, failed } = keepable(placed)
      results[index] = kept
      if (!failed) succeeded++
      order.push(index)
      successes.push(succeeded)
      for (const onHint of watchers.result) onHint()
      if (order.length === total) for (const onHint of watchers.end) onHint()
    },
    results: () => results.map((_, index) => read(index)),
    settled: (after, limit) => order.slice(after, after + limit).map((index, place) =>
      ({ index, result: read(index), succeeded: successes[after + place]! }))
  }
}
