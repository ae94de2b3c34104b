// Recovers batches whose process died or whose jobs were lost.
import type { FastifyBaseLogger } from 'fastify'
import { every } from './interval.js'
import type { Jobs } from './jobs.js'
import type { Records } from './records.js'

/** A check that runs from time to time until it is stopped. */
export interface StalledCheck {
  /** Keeps the batch alive as long as this process lives. If the process dies, another one cancels the batch. */
  follow (batchId: string): void
  stop (): void
}

/** What the check works with. */
export interface StalledCheckOptions {
  readonly records: Records
  readonly jobs: Jobs
  /** Milliseconds after which a process that gives no sign of life counts as dead. */
  readonly lockDuration: number
  readonly log: FastifyBaseLogger
}

/** Starts the check. It runs three times in each `lockDuration`. */
export function startStalledCheck ({ records, jobs, lockDuration, log }: StalledCheckOptions): StalledCheck {
  const followed = new Set<string>()

  async function check (): Promise<void> {
    if (followed.size > 0) await renewLocks([...followed])
    for (const batchId of await records.takeDue()) {
      if (await records.isTransient(batchId)) await abandon(batchId)
      else await records.reconcile(batchId, jobs.startOfKeys(batchId))
    }
  }

  async function renewLocks (batchIds: readonly string[]): Promise<void> {
    const running = new Set(await records.renew(batchIds))
    for (const batchId of batchIds) {
      if (running.has(batchId)) await records.reconcile(batchId, jobs.startOfKeys(batchId))
      else followed.delete(batchId)
    }
  }

  async function abandon (batchId: string): Promise<void> {
    log.warn({ batchId }, 'batch cancelled, as the process that waited for it is gone')
    await records.cancel(batchId)
    await jobs.removeWaiting(batchId)
    await records.remove(batchId)
  }

  return {
    follow: batchId => { followed.add(batchId) },
    stop: every(lockDuration / 3, check)
  }
}
