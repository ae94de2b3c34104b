// Stores a batch in BullMQ as one Flow with a job for each task.
import { Queue, type JobJson, type JobsOptions, type ParentKeyOpts, type RedisQueueBackend } from 'bullmq'
import type { Redis } from 'ioredis'
import type { NewBatch } from '../../engine.js'

export const QUEUE = 'tasks'
/** The name of the parent job of a batch. The job of a task is named after its type. */
export const BATCH_JOB = 'batch'

/** What the id of a job contains. */
export interface JobPlace {
  readonly batchId: string
  /** The index of the task in its batch. */
  readonly index: number
}

/** The id of the job of a task. */
const idOf = ({ batchId, index }: JobPlace) => `${batchId}-${index}`

/** Reads the id of the job of a task. */
export function placeOf (jobId: string): JobPlace {
  const dash = jobId.lastIndexOf('-')
  return { batchId: jobId.slice(0, dash), index: Number(jobId.slice(dash + 1)) }
}

/** The jobs of all batches. */
export interface Jobs {
  /** The keys of the lists of waiting jobs. */
  readonly queues: readonly [wait: string, prioritized: string]
  /** Adds all jobs of a batch, or none. */
  add (batch: NewBatch): Promise<void>
  /** Removes the jobs that no worker has taken. */
  removeWaiting (batchId: string): Promise<void>
  /** The start of the keys of its jobs. The index of the task follows. */
  startOfKeys (batchId: string): string
  close (): Promise<void>
}

/** Tasks of one batch with the same priority, so that a short batch overtakes a long one. */
const ROUND = 16
/** The largest priority of BullMQ. */
const MAX_PRIORITY = 2 ** 21 - 1

/** @param redis the connection; its settings say whether a command fails or waits while Redis is away */
export function openJobs (redis: Redis, prefix: string): Jobs {
  // The worker checks the version of Redis; here the answer may never come.
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

/** A job and its place in the Flow. */
interface FlowEntry {
  readonly job: JobJson
  readonly place: ParentKeyOpts
}

/** Adds all jobs in one transaction. */
async function addFlow (backend: RedisQueueBackend, entries: readonly FlowEntry[]): Promise<void> {
  const step = (await backend.client).multi()
  await Promise.all(entries.map(({ job, place }) => backend.addJobToTransaction(step, job, job.id, place)))
  const added = await step.exec()
  const [error] = added!.find(([error]) => error !== null) ?? []
  if (error) throw error
}

/**
 * Makes the jobs of a batch, in the form of a Flow.
 * @param round the priority of the next waiting jobs; the batch shares its turns with them
 */
function flowOf ({ batchId, tasks }: NewBatch, round: number, prefix: string): FlowEntry[] {
  const queueKey = `${prefix}:${QUEUE}`
  const parentKey = `${queueKey}:${batchId}`
  const family = { parent: { id: batchId, queueKey, idof: true }, parentKey }
  const child = { parentKey, parentDependenciesKey: `${parentKey}:dependencies` }
  const entries: FlowEntry[] = [{ job: newJob(batchId, BATCH_JOB, '{}', {}), place: { addToWaitingChildren: true } }]
  tasks.forEach(({ index, task }, place) => {
    const priority = Math.min(round + Math.floor(place / ROUND), MAX_PRIORITY)
    entries.push({ job: newJob(idOf({ batchId, index }), task.type, JSON.stringify(task), { priority }, family), place: child })
  })
  return entries
}

type Family = Pick<JobJson, 'parent' | 'parentKey'>

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
