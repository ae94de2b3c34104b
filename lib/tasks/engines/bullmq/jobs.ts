// A batch as BullMQ has it: one Flow, with a job for each task.
import { Queue, type JobJson, type JobsOptions, type ParentKeyOpts, type RedisQueueBackend } from 'bullmq'
import type { Redis } from 'ioredis'
import type { NewBatch } from '../../engine.js'

export const QUEUE = 'tasks'
/** The name of the job that stands for a whole batch; those of tasks are named after the type. */
export const BATCH_JOB = 'batch'

/** What the id of a job says. */
export interface JobPlace {
  readonly batchId: string
  /** The place of the task in its batch. */
  readonly index: number
}

/** The id of the job of a task. */
const idOf = ({ batchId, index }: JobPlace) => `${batchId}-${index}`

/** The reverse of what the id of the job of a task is made by. */
export function placeOf (jobId: string): JobPlace {
  const dash = jobId.lastIndexOf('-')
  return { batchId: jobId.slice(0, dash), index: Number(jobId.slice(dash + 1)) }
}

/** The jobs of all batches. */
export interface Jobs {
  /** The keys of the jobs that wait. */
  readonly queues: readonly [wait: string, prioritized: string]
  /** Adds the jobs of a batch: all, or none. */
  add (batch: NewBatch): Promise<void>
  /** Removes those that no worker has yet. */
  removeWaiting (batchId: string): Promise<void>
  /** What the keys of its jobs begin with; the place of the task comes after it. */
  startOfKeys (batchId: string): string
  close (): Promise<void>
}

/** Tasks of one batch that stand together in the queue, so that a long batch lets a short one pass. */
const ROUND = 16
/** The last place that BullMQ knows. */
const LAST = 2 ** 21 - 1

/** @param redis where a command that cannot be sent fails, or waits: as the caller wants it */
export function openJobs (redis: Redis, prefix: string): Jobs {
  // The version of Redis is checked where there is a worker; here the answer may never come.
  const queue = new Queue(QUEUE, { connection: redis, prefix, skipVersionCheck: true, skipWaitingForReady: true, skipMetasUpdate: true })
  queue.on('error', () => {})

  return {
    queues: [queue.toKey('wait'), queue.toKey('prioritized')],
    async add (batch) {
      const [next] = await queue.getPrioritized(0, 0)
      await addFlow(queue.getBackend() as RedisQueueBackend, flowOf(batch, next?.priority ?? 1, prefix))
    },
    async removeWaiting (batchId) {
      const job = await queue.getJob(batchId)
      await job?.removeUnprocessedChildren()
    },
    startOfKeys: batchId => queue.toKey(`${batchId}-`),
    close: () => queue.close()
  }
}

/** A job, and where it stands in its Flow. */
interface FlowEntry {
  readonly job: JobJson
  readonly place: ParentKeyOpts
}

/** All in one step, and their ids are new. BullMQ's own addFlow would look up the names of all keys for each of them. */
async function addFlow (backend: RedisQueueBackend, entries: readonly FlowEntry[]): Promise<void> {
  const step = (await backend.client).multi()
  await Promise.all(entries.map(({ job, place }) => backend.addJobToTransaction(step, job, job.id, place)))
  const added = await step.exec()
  const [error] = added!.find(([error]) => error !== null) ?? []
  if (error) throw error
}

/**
 * The Flow of a batch. A FlowProducer would make the same, and need longer for it than all else that is done with the jobs.
 * @param round of the jobs that are next: the batch takes its turns among them from there on
 */
function flowOf ({ batchId, tasks }: NewBatch, round: number, prefix: string): FlowEntry[] {
  const queueKey = `${prefix}:${QUEUE}`
  const parentKey = `${queueKey}:${batchId}`
  const family = { parent: { id: batchId, queueKey, idof: true }, parentKey }
  const child = { parentKey, parentDependenciesKey: `${parentKey}:dependencies` }
  const entries: FlowEntry[] = [{ job: newJob(batchId, BATCH_JOB, '{}', {}), place: { addToWaitingChildren: true } }]
  tasks.forEach(({ index, task }, place) => {
    const priority = Math.min(round + Math.floor(place / ROUND), LAST)
    entries.push({ job: newJob(idOf({ batchId, index }), task.type, JSON.stringify(task), { priority }, family), place: child })
  })
  return entries
}

type Family = Pick<JobJson, 'parent' | 'parentKey'>

/** Every member is written out, because to spread an object of them would cost as much as all else. */
function newJob (id: string, name: string, data: string, opts: JobsOptions, { parent, parentKey }: Family = {}): JobJson {
  return {
    id,
    name,
    data,
    opts,
    parent,
    parentKey,
    timestamp: Date.now(),
    progress: 0,
    attemptsMade: 0,
    attemptsStarted: 0,
    stalledCounter: 0,
    failedReason: '',
    returnvalue: ''
  }
}
