// Looks after batches that run: those of a process that died, and those that have lost a job.
import type { FastifyBaseLogger } from 'fastify'
import { every } from './interval.js'
import type { Jobs } from './jobs.js'
import type { Records } from './records.js'

/** Tends until it is stopped. */
export interface Tender {
  /** The batch has nobody but this process to come back for it, and is to be cancelled should this process die. */
  adopt (batchId: string): void
  stop (): void
}

/** What a tender works with. */
export interface TenderOptions {
  readonly records: Records
  readonly jobs: Jobs
  /** Milliseconds after which a process that gives no sign of life is thought dead. */
  readonly lease: number
  readonly log: FastifyBaseLogger
}

export function startTender ({ records, jobs, lease, log }: TenderOptions): Tender {
  const own = new Set<string>()

  async function tend (): Promise<void> {
    if (own.size > 0) await renewOwn([...own])
    for (const batchId of await records.takeDue()) {
      if (await records.isPassing(batchId)) await abandon(batchId)
      else await records.reconcile(batchId, jobs.startOfKeys(batchId))
    }
  }

  async function renewOwn (batchIds: readonly string[]): Promise<void> {
    const running = new Set(await records.renew(batchIds))
    for (const batchId of batchIds) {
      if (running.has(batchId)) await records.reconcile(batchId, jobs.startOfKeys(batchId))
      else own.delete(batchId)
    }
  }

  async function abandon (batchId: string): Promise<void> {
    log.warn({ batchId }, 'batch cancelled, as the process that waited for it is gone')
    await records.cancel(batchId)
    await jobs.removeWaiting(batchId)
    await records.remove(batchId)
  }

  return {
    adopt: batchId => { own.add(batchId) },
    stop: every(lease / 3, tend)
  }
}
