// Keeps the record of each batch in Redis: its results, their order, and the tasks still pending.
import { setImmediate } from 'node:timers'
import { tasks, type FailureDetail, type TaskResult } from '../../../../schemas/index.js'
import { cancelled, taskLost, toFailure } from '../../../errors.js'
import type { BatchInfo, NewBatch, SettledTask } from '../../engine.js'
import { readResult, writeResult, type ResultText } from '../../result.js'
import type { RunScript } from './scripts.js'

/** Whether a task may begin. */
export enum Begin { Run, Settled, KilledBefore }

/** The settings and limits for a new batch. */
export interface Admission {
  /** Milliseconds to keep the batch after its end. */
  readonly ttl: number
  readonly maxQueued: number
  /** The keys of the jobs that wait. */
  readonly queues: readonly [wait: string, prioritized: string]
}

export type Records = ReturnType<typeof createRecords>

/** Milliseconds between the record of a batch and its jobs. If the process dies between the two, the record expires. */
const UNTIL_ACCEPTED = 600_000
/** Milliseconds to keep an ended batch that the waiting request has not removed. */
const TRANSIENT_TTL = 60_000

/**
 * @param lockDuration milliseconds after which a process that gives no sign of life counts as dead
 */
export function createRecords (run: RunScript, lockDuration: number) {
  const begin = createBatcher<{ index: number, alone: boolean }, Begin>((batchId, entries) =>
    run('begin', batchId, [lockDuration, ...entries.flatMap(({ index, alone }) => [index, alone ? 1 : 0])]) as Promise<Begin[]>)
  const settle = createBatcher<{ index: number, text: ResultText }, undefined>(async (batchId, entries) => {
    await run('settle', batchId, entries.flatMap(({ index, text }) => [index, text.failed ? 0 : 1, text.json]))
    return []
  })

  return {
    /** @returns undefined, or, when there is no room, how many tasks would wait; then nothing is kept */
    async create (batch: NewBatch, admission: Admission): Promise<number | undefined> {
      const waiting = await run('create', batch.batchId, describe(batch, admission), admission.queues) as number
      return waiting === 0 ? undefined : waiting
    },
    /** Marks the batch as complete. @returns false when the record has expired */
    accept: async (batchId: string) => await run('accept', batchId, [lockDuration]) === 1,
    begin,
    /** Records a result, unless the task has one. */
    settle: (batchId: string, index: number, text: ResultText) => settle(batchId, { index, text }),
    /** Says of each task whether it is still pending. */
    async areOpen (batchId: string, indexes: readonly number[]): Promise<boolean[]> {
      return (await run('areOpen', batchId, indexes) as number[]).map(isOpen => isOpen === 1)
    },
    /** Takes back that the task ran alone, because it was interrupted. */
    handBack: (batchId: string, index: number) => run('handBack', batchId, [index]),
    cancel: (batchId: string, waiting: FailureDetail = toFailure(cancelled())) =>
      run('cancel', batchId, [afterId(waiting), afterId(toFailure(cancelled()))]),
    /** Fails the tasks that have neither a result nor a job. @param jobs the start of the keys of their jobs */
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
    isTransient: async (batchId: string) => await run('isTransient', batchId) === 1,
    /** The batches whose lock has expired. The caller has their locks now. */
    takeDue: () => run('due', '', [lockDuration]) as Promise<string[]>,
    /** Renews the locks of these batches. @returns those that still run */
    renew: (batchIds: readonly string[]) => run('renew', '', [lockDuration, ...batchIds]) as Promise<string[]>
  }
}

/** The first content of the record. */
function describe (batch: NewBatch, { ttl, maxQueued }: Admission): (string | number)[] {
  const { total, keep, owner } = batch
  return [
    total, Date.now(), keep ? ttl : TRANSIENT_TTL, keep ? 1 : 0, idsOf(batch), owner === undefined ? '' : JSON.stringify(owner),
    UNTIL_ACCEPTED, batch.tasks.length, maxQueued,
    ...batch.invalid.flatMap(placed => [placed.index, writeResult(placed, { log: batch.log, request: null, onItemError: undefined }).json])
  ]
}

/** The ids of all tasks. Each is JSON, because Lua loses digits of large numbers. */
function idsOf ({ total, tasks, invalid }: NewBatch): string {
  const ids = new Array<string>(total)
  for (const { index, task } of tasks) ids[index] = JSON.stringify(task.taskId)
  for (const { index, result } of invalid) ids[index] = JSON.stringify(result.taskId)
  return JSON.stringify(ids)
}

/** A failed result in JSON, from after its first member, the taskId. */
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

/** Sends entries of one batch in one call. @returns one answer for each, in order */
type Send<T, R> = (batchId: string, entries: readonly T[]) => Promise<readonly R[]>

interface Call<T, R> {
  readonly entry: T
  resolve (answer: R): void
  reject (error: unknown): void
}

/** The most entries of one call. With more, Redis idles while this process prepares them. */
const MAX_ENTRIES = 16

/** Makes a function that sends one entry and gives its answer. Entries of one turn of the event loop travel in one call. */
function createBatcher<T, R> (send: Send<T, R>): (batchId: string, entry: T) => Promise<R> {
  const waiting = new Map<string, Call<T, R>[]>()

  function drain (batchId: string, calls: readonly Call<T, R>[]): void {
    // A full call has been sent already.
    if (waiting.get(batchId) !== calls) return
    waiting.delete(batchId)
    sendSome(batchId, calls)
  }

  async function sendSome (batchId: string, calls: readonly Call<T, R>[]): Promise<void> {
    try {
      const answers = await send(batchId, calls.map(({ entry }) => entry))
      calls.forEach(({ resolve }, place) => resolve(answers[place]!))
    } catch (error) {
      for (const { reject } of calls) reject(error)
    }
  }

  return (batchId, entry) => new Promise((resolve, reject) => {
    const call = { entry, resolve, reject }
    const calls = waiting.get(batchId)
    if (calls === undefined) {
      const first = [call]
      waiting.set(batchId, first)
      setImmediate(() => drain(batchId, first))
      return
    }
    calls.push(call)
    if (calls.length === MAX_ENTRIES) drain(batchId, calls)
  })
}
