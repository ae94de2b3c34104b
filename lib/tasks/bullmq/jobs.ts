// A batch as BullMQ has it: one Flow, with a job for each task.
import { createRedisBackend, FlowProducer, Queue, type BackendFactory, type FlowJob, type JobsOptions, type RedisQueueBackend } from 'bullmq'
import type { Redis } from 'ioredis'
import type { NewBatch } from '../engine.js'
import type { Task } from '../run-task.js'

export const QUEUE = 'tasks'
/** The name of the job that stands for a whole batch; those of tasks are named after the type. */
export const BATCH_JOB = 'batch'

/** What a worker gets of a task. */
export interface TaskJob {
  readonly batchId: string
  readonly index: number
  readonly task: Task
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

/** Nothing is left of a job when it has ended: the record of the batch has it all. */
const LEAVE_NOTHING = { removeOnComplete: true, removeOnFail: true } satisfies JobsOptions
/** Tasks of one batch that stand together in the queue, so that a long batch lets a short one pass. */
const ROUND = 16
/** The last place that BullMQ knows. */
const LAST = 2 ** 21

/** @param redis where a command that cannot be sent fails, or waits: as the caller wants it */
export function openJobs (redis: Redis, prefix: string): Jobs {
  // The version of Redis is checked where there is a worker; here the answer may never come.
  const options = { connection: redis, prefix, skipVersionCheck: true, skipWaitingForReady: true }
  const flows = new FlowProducer(options, createFlowBackend)
  const queue = new Queue(QUEUE, { ...options, skipMetasUpdate: true })
  flows.on('error', () => {})
  queue.on('error', () => {})

  return {
    queues: [queue.toKey('wait'), queue.toKey('prioritized')],
    async add (batch) {
      const [next] = await queue.getPrioritized(0, 0)
      await flows.add(flowOf(batch, next?.priority ?? 1))
    },
    async removeWaiting (batchId) {
      const job = await queue.getJob(batchId)
      await job?.removeUnprocessedChildren()
    },
    startOfKeys: batchId => queue.toKey(`${batchId}-`),
    async close () {
      await Promise.all([flows.close(), queue.close()])
    }
  }
}

/** BullMQ would make a backend for each job of a Flow, which costs more than all else; here all are in one queue. */
const createFlowBackend: BackendFactory<RedisQueueBackend> = (name, options, extra) => {
  const backend = createRedisBackend(name, options, extra)
  const sibling = backend.forQueue(QUEUE)
  backend.forQueue = () => sibling
  return backend
}

/** @param round of the jobs that are next: the batch takes its turns among them from there on */
function flowOf ({ batchId, tasks }: NewBatch, round: number): FlowJob {
  return {
    name: BATCH_JOB,
    queueName: QUEUE,
    opts: { ...LEAVE_NOTHING, jobId: batchId },
    children: tasks.map(({ index, task }, place) => ({
      name: task.type,
      queueName: QUEUE,
      data: { batchId, index, task } satisfies TaskJob,
      opts: {
        ...LEAVE_NOTHING,
        // With a prefix, as BullMQ refuses a number.
        jobId: `${batchId}-${index}`,
        priority: Math.min(round + Math.floor(place / ROUND), LAST),
        ignoreDependencyOnFailure: true
      }
    }))
  }
}
