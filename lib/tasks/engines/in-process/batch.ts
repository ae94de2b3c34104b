// Holds one batch of the in-process engine: its run, its record, and who is notified of its results.
import type { TaskResult } from '../../../../schemas/index.js'
import { createRecord, type BatchRecord } from './record.js'
import { createRun, type BatchRun } from './run.js'
import type { Gate } from '../../../core/settle/pool.js'
import type { EngineHost, NewBatch } from '../../engine.js'
import type { Keepable } from './store.js'

/** A batch that runs or has ended. */
export interface Entry extends Keepable {
  readonly record: BatchRecord
  readonly run: BatchRun
  /** Resolves when every task has its result. */
  readonly ended: Promise<void>
  /** Records what has failed already, and starts the rest. */
  begin (batch: NewBatch): void
}

/** What an entry tells its engine, or asks of it. */
export interface EntryEvents {
  /** Whether a result of so many bytes can be kept. */
  makeRoom (bytes: number): boolean
  onResult (): void
  /** Called after the last result, with the bytes of the tasks, which need not be kept any more. */
  onEnd (taskBytes: number): void
}

export function createEntry (batch: NewBatch, { runTask, limits, onItemError }: EngineHost, gate: Gate, events: EntryEvents): Entry {
  const { makeRoom, onResult, onEnd } = events
  const record = createRecord(batch, makeRoom, onItemError)
  const { onEnd: reportEnd } = batch
  const taskBytes = batch.keep ? Buffer.byteLength(JSON.stringify(batch.tasks)) : 0
  let resolve!: () => void
  const ended = new Promise<void>(_resolve => { resolve = _resolve })

  function settle (index: number, result: TaskResult): void {
    record.settle(index, result)
    onResult()
    if (!record.isDone()) return
    onEnd(taskBytes)
    reportEnd?.({ ...record.info().summary, results: record.results })
    resolve()
  }

  const run = createRun(batch, { runTask, concurrency: limits.concurrency, gate, onResult: settle })
  return {
    batchId: batch.batchId,
    bytes: taskBytes,
    isRead: false,
    record,
    run,
    ended,
    begin ({ invalid, tasks }) {
      for (const { index, result } of invalid) settle(index, result)
      run.start(tasks)
    }
  }
}
