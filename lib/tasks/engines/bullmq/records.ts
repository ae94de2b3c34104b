// The record of every batch in Redis: what each task came to, in which order, and what is still to come.
import { tasks, type FailureDetail, type TaskResult } from '../../../../schemas/index.js'
import { cancelled, taskLost, toFailure } from '../../../errors.js'
import type { BatchInfo, NewBatch, SettledTask } from '../../engine.js'
import { readResult, writeResult, type ResultText } from '../../result.js'
import { createBundler } from './batching.js'
import type { RunScript } from './scripts.js'

/** What may be done with a task that is about to begin. */
export enum Begin { Run, Settled, KilledBefore }

/** What is to be known of a new batch beside itself. */
export interface Admission {
  /** Milliseconds to keep it after its end. */
  readonly ttl: number
  readonly maxQueued: number
  /** The keys of the jobs that wait. */
  readonly queues: readonly [wait: string, prioritized: string]
}

export type Records = ReturnType<typeof createRecords>

/** Milliseconds that a batch has from its record to its jobs; one whose submitter died between the two is forgotten. */
const UNTIL_ACCEPTED = 600_000
/** Milliseconds that a batch is kept which has ended, but not been removed by the request that waited for it. */
const PASSING_TTL = 60_000

/**
 * @param lease milliseconds after which a process that gives no sign of life is thought dead
 */
export function createRecords (run: RunScript, lease: number) {
  const begin = createBundler<{ index: number, alone: boolean }, Begin>((batchId, entries) =>
    run('begin', batchId, [lease, ...entries.flatMap(({ index, alone }) => [index, alone ? 1 : 0])]) as Promise<Begin[]>)
  const settle = createBundler<{ index: number, text: ResultText }, undefined>(async (batchId, entries) => {
    await run('settle', batchId, entries.flatMap(({ index, text }) => [index, text.failed ? 0 : 1, text.json]))
    return []
  })

  return {
    /** @returns how many tasks would wait, if that is too many; nothing is kept then */
    async create (batch: NewBatch, admission: Admission): Promise<number | undefined> {
      const waiting = await run('create', batch.batchId, describe(batch, admission), admission.queues) as number
      return waiting === 0 ? undefined : waiting
    },
    /** The batch is whole. @returns false when that comes too late */
    accept: async (batchId: string) => await run('accept', batchId, [lease]) === 1,
    begin,
    /** Notes a result, unless the task has one. */
    settle: (batchId: string, index: number, text: ResultText) => settle(batchId, { index, text }),
    /** Of each task, whether it may still run. */
    async areOpen (batchId: string, indexes: readonly number[]): Promise<boolean[]> {
      return (await run('look', batchId, indexes) as number[]).map(isOpen => isOpen === 1)
    },
    /** The task did not end, and that was not its fault. */
    handBack: (batchId: string, index: number) => run('handBack', batchId, [index]),
    cancel: (batchId: string, waiting: FailureDetail = toFailure(cancelled())) =>
      run('cancel', batchId, [afterId(waiting), afterId(toFailure(cancelled()))]),
    /** Gives up the tasks that have neither a result nor a job. @param jobs what the keys of their jobs begin with */
    reconcile: (batchId: string, jobs: string) => run('reconcile', batchId, [jobs, afterId(toFailure(taskLost()))]),
    async find (batchId: string): Promise<BatchInfo | 'expired' | undefined> {
      const found = await run('find', batchId) as number | [string, string, number, string, string?]
      if (typeof found === 'number') return found === 1 ? 'expired' : undefined
      return readInfo(batchId, found)
    },
    async results (batchId: string): Promise<TaskResult[] | undefined> {
      const log = await run('results', batchId) as string[] | null
      return log === null ? undefined : inOrder(log.map(readEntry))
    },
    async settled (batchId: string, after: number, limit: number): Promise<SettledTask[] | undefined> {
      return (await run('settled', batchId, [after, limit]) as string[] | null)?.map(readEntry)
    },
    remove: (batchId: string) => run('remove', batchId),
    isPassing: async (batchId: string) => await run('isPassing', batchId) === 1,
    /** The batches that nobody has looked after for the time of a lease; they are the caller's now. */
    takeDue: () => run('due', '', [lease]) as Promise<string[]>,
    /** Says that somebody looks after these. @returns those that still run */
    renew: (batchIds: readonly string[]) => run('renew', '', [lease, ...batchIds]) as Promise<string[]>
  }
}

/** What the record of a batch begins with. */
function describe (batch: NewBatch, { ttl, maxQueued }: Admission): (string | number)[] {
  const { total, keep, owner } = batch
  return [
    total, Date.now(), keep ? ttl : PASSING_TTL, keep ? 1 : 0, idsOf(batch), owner === undefined ? '' : JSON.stringify(owner),
    UNTIL_ACCEPTED, batch.tasks.length, maxQueued,
    ...batch.invalid.flatMap(placed => [placed.index, writeResult(placed, { log: batch.log, request: null, onItemError: undefined }).json])
  ]
}

/** What every task is called, each in JSON, because Lua would lose digits of a large number. */
function idsOf ({ total, tasks, invalid }: NewBatch): string {
  const ids = new Array<string>(total)
  for (const { index, task } of tasks) ids[index] = JSON.stringify(task.taskId)
  for (const { index, result } of invalid) ids[index] = JSON.stringify(result.taskId)
  return JSON.stringify(ids)
}

/** A failed result without its first member, which is the name of the task. */
function afterId (why: FailureDetail): string {
  return JSON.stringify(tasks.fail(0, why)).slice('{"taskId":0'.length)
}

function inOrder (settled: readonly SettledTask[]): TaskResult[] {
  const results: TaskResult[] = new Array(settled.length)
  for (const { index, result } of settled) results[index] = result
  return results
}

function readInfo (batchId: string, [total, succeeded, settled, createdAt, owner]: [string, string, number, string, string?]): BatchInfo {
  return {
    batchId,
    createdAt: Number(createdAt),
    ...(owner !== undefined && { owner: JSON.parse(owner) as unknown }),
    summary: { total: Number(total), succeeded: Number(succeeded), failed: settled - Number(succeeded), pending: Number(total) - settled }
  }
}

function readEntry (entry: string): SettledTask {
  const first = entry.indexOf(' ')
  const second = entry.indexOf(' ', first + 1)
  return {
    index: Number(entry.slice(0, first)),
    succeeded: Number(entry.slice(first + 1, second)),
    result: readResult(entry.slice(second + 1))
  }
}
