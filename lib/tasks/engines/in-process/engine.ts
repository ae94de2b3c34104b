// The in-process engine: runs tasks in this process. Batches do not survive the process.
import { Type, type Static } from '@sinclair/typebox'
import { integer, optional, readOptions } from '../../../core/options.js'
import { waitAtMost } from '../../../core/settle/wait.js'
import { EngineUnavailable, notRun, QueueFull, toFailure } from '../../../errors.js'
import { createEntry, type Entry } from './batch.js'
import type { EngineHost, NewBatch, TaskEngine } from '../../engine.js'
import { createNotifications, type Notifications } from '../notifications.js'
import { createStore, type Store } from './store.js'
import { createScheduler, type Scheduler } from './scheduler.js'

/** The bounds of what the in-process engine keeps of batches that clients come back for. */
export const InProcessOptions = Type.Object({
  /** How many batches are kept at a time; then those go whose results have been read, and then new ones are answered 503. @default 1000 */
  maxBatches: optional(integer(1), { default: 1000 }),
  /** Bytes of all their tasks and results, in JSON; the same holds. @default 67108864 (64 MiB) */
  maxBytes: optional(integer(1), { default: 64 * 1024 * 1024 })
})
export type InProcessOptions = Static<typeof InProcessOptions>

/**
 * Makes the default engine: tasks run in this process, and the batches that it has accepted are lost with it.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when an option is not what it should be
 * @example await app.register(multiStatus, { tasks: { handlers, engine: inProcess({ maxBatches: 100 }) } })
 */
export function inProcess (options: InProcessOptions = {}): TaskEngine {
  const { maxBatches, maxBytes } = readOptions('inProcess', InProcessOptions, options)

  const notifications = createNotifications()
  let inside: Inside | undefined
  let isClosing = false
  const started = (): Inside => {
    if (inside === undefined) throw new EngineUnavailable('it has not been started')
    return inside
  }

  return {
    start (host) {
      const kept = createStore<Entry>({ maxBatches, maxBytes, ttl: host.limits.ttl })
      inside = { host, notifications, kept, scheduler: createScheduler(host.limits.maxRunning), passing: new Map(), active: new Set() }
    },
    async submit (batch) {
      if (isClosing) throw new EngineUnavailable('the server is closing')
      expectRoom(started(), batch)
      admit(started(), batch).begin(batch)
    },
    async find (batchId) {
      const found = find(started(), batchId)
      return found === 'expired' ? found : found?.record.info()
    },
    async results (batchId) {
      const entry = entryOf(started(), batchId)
      if (!entry?.record.isDone()) return undefined
      entry.isRead = true
      return entry.record.results()
    },
    async settled (batchId, after, limit) { return entryOf(started(), batchId)?.record.settled(after, limit) },
    async cancel (batchId, waiting) {
      const entry = entryOf(started(), batchId)
      entry?.run.cancel(waiting)
      await entry?.ended
    },
    async remove (batchId) {
      if (!entryOf(started(), batchId)?.record.isDone()) return
      started().passing.delete(batchId)
      started().kept.remove(batchId)
    },
    watch: notifications.watch,
    async close (grace) {
      isClosing = true
      if (inside !== undefined) await endAll(inside, grace)
    }
  }
}

/** What an engine has in it once it is started. */
interface Inside {
  readonly host: EngineHost
  readonly notifications: Notifications
  /** Batches that clients come back for. */
  readonly kept: Store<Entry>
  /** Batches of which the request waits for the end. */
  readonly passing: Map<string, Entry>
  /** Batches that have not ended. */
  readonly active: Set<Entry>
  readonly scheduler: Scheduler
}

function find ({ passing, kept }: Inside, batchId: string): Entry | 'expired' | undefined {
  return passing.get(batchId) ?? kept.get(batchId)
}

function entryOf (inside: Inside, batchId: string): Entry | undefined {
  const found = find(inside, batchId)
  return found === 'expired' ? undefined : found
}

/** @throws FST_MULTI_STATUS_QUEUE_FULL */
function expectRoom ({ active, host: { limits: { maxQueued } } }: Inside, batch: NewBatch): void {
  let waiting = batch.tasks.length
  for (const { run } of active) waiting += run.waiting()
  if (waiting > maxQueued) throw new QueueFull(maxQueued, waiting)
}

function admit ({ host, notifications, kept, passing, active, scheduler }: Inside, batch: NewBatch): Entry {
  const { batchId, keep } = batch
  const entry = createEntry(batch, host, scheduler.openGate(), {
    makeRoom: bytes => kept.grow(entry, bytes),
    // Nobody follows a batch of which the request waits for the end.
    onResult: keep ? () => notifications.notify(batchId, 'result') : () => {},
    onEnd (taskBytes) {
      active.delete(entry)
      if (keep) kept.finish(entry, taskBytes)
      notifications.notify(batchId, 'end')
    }
  })
  if (keep) kept.add(entry)
  else passing.set(batchId, entry)
  active.add(entry)
  return entry
}

async function endAll ({ active, kept }: Inside, grace: number): Promise<void> {
  const ended = Promise.all([...active].map(entry => entry.ended))
  await waitAtMost(ended, grace)
  for (const { run } of [...active]) run.cancel(toFailure(notRun('Server closing')))
  await ended
  kept.close()
}
