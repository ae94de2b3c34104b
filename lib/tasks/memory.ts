// The engine that runs tasks in this process, and forgets them with it.
import { EngineUnavailable, notRun, QueueFull, StoreFull, toFailure } from '../errors.js'
import { within } from '../core/within.js'
import { createRecord, type BatchRecord } from './batch-record.js'
import { createRun, type BatchRun } from './batch-run.js'
import type { EngineHost, NewBatch, TaskEngine } from './engine.js'
import { createScheduler, type Scheduler } from './scheduler.js'

/** The bounds of what the in-process engine keeps of batches that clients come back for. */
export interface InProcessOptions {
  /** How many batches are kept at a time. @default 1000 */
  maxBatches?: number
  /** Bytes of all their tasks that have not run and all their results. @default 67108864 (64 MiB) */
  maxBytes?: number
}

interface Entry {
  readonly record: BatchRecord
  readonly run: BatchRun
  /** Resolves when the batch has ended. */
  readonly ended: Promise<void>
}

/**
 * Makes the default engine: tasks run in this process. Batches that have been accepted are lost with the process.
 * @example await app.register(multiStatus, { tasks: { handlers, engine: inProcess({ maxBatches: 100 }) } })
 */
export function inProcess ({ maxBatches = 1000, maxBytes = 64 * 1024 * 1024 }: InProcessOptions = {}): TaskEngine {
  const entries = new Map<string, Entry>()
  let host: EngineHost
  let scheduler: Scheduler
  let isClosing = false

  function admit (batch: NewBatch): Entry {
    const { runTask, limits } = host
    let end = () => {}
    const ended = new Promise<void>(resolve => { end = resolve })
    const record = createRecord(batch, () => true)
    const run = createRun(batch, {
      runTask,
      concurrency: limits.concurrency,
      onReady: () => scheduler.wake(run),
      onResult (placed) {
        record.settle(placed)
        if (record.isDone()) end()
      }
    })
    for (const placed of batch.invalid) record.settle(placed)
    if (record.isDone()) end()
    return { record, run, ended }
  }

  return {
    start (given) {
      host = given
      scheduler = createScheduler(given.limits.maxRunning)
    },
    async submit (batch) {
      if (isClosing) throw new EngineUnavailable('the server is closing')
      const waiting = [...entries.values()].reduce((sum, { run }) => sum + run.waiting(), batch.tasks.length)
      if (waiting > host.limits.maxQueued) throw new QueueFull(host.limits.maxQueued, waiting)
      if (entries.size >= maxBatches) throw new StoreFull(`${maxBatches} batches, ${maxBytes} bytes`)
      const entry = admit(batch)
      entries.set(batch.batchId, entry)
      scheduler.wake(entry.run)
    },
    async find (batchId) { return entries.get(batchId)?.record.info() },
    async results (batchId) {
      const record = entries.get(batchId)?.record
      return record?.isDone() ? record.results() : undefined
    },
    async settled (batchId, after, limit) { return entries.get(batchId)?.record.settled(after, limit) },
    async cancel (batchId, waiting) {
      const entry = entries.get(batchId)
      entry?.run.cancel(waiting)
      await entry?.ended
    },
    async remove (batchId) { entries.delete(batchId) },
    watch (batchId, what, onHint) {
      const watchers = entries.get(batchId)?.record.watchers[what]
      watchers?.add(onHint)
      return () => { watchers?.delete(onHint) }
    },
    async close (grace) {
      isClosing = true
      const ended = Promise.all([...entries.values()].map(entry => entry.ended))
      await within(ended, grace)
      for (const { run } of entries.values()) run.cancel(toFailure(notRun('Server closing')))
      await ended
    }
  }
}
