// Takes jobs from the queue and runs many of them at a time.
import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { createRedisBackend, type JobJson, type MinimalJob, type RedisQueueBackend } from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import type { Redis } from 'ioredis'
import { every } from './interval.js'
import { QUEUE } from './jobs.js'

/** A job that this process has locked. */
export interface HeldJob {
  readonly id: string
  /** The token of its lock. */
  readonly token: string
  readonly json: JobJson
}

/** What a job worker works with. */
export interface JobWorkerOptions {
  readonly redis: Redis
  readonly prefix: string
  /** How many jobs it runs at a time. */
  readonly concurrency: number
  /** Milliseconds after which a process that gives no sign of life counts as dead. */
  readonly lockDuration: number
  readonly log: FastifyBaseLogger
  /** Runs a job; never rejects. @returns milliseconds after which to run it again, or undefined when it is done */
  readonly run: (job: HeldJob) => Promise<number | undefined>
}

/** A job worker that runs. */
export interface JobWorker {
  /** Takes no more jobs. Resolves when none runs any more. */
  close (): Promise<void>
}

/** Seconds that one blocking call waits for a job. */
const BLOCK_SECONDS = 5
/** Milliseconds to wait after an error. */
const PAUSE = 1_000

/** The state of one job worker. */
interface State {
  readonly options: JobWorkerOptions
  readonly backend: RedisQueueBackend
  /** The ids of the jobs that run, by their tokens. */
  readonly held: Map<string, string>
  readonly closing: AbortController
  /** Called when a slot becomes free. */
  onFreeSlot (): void
}

export function startJobWorker (options: JobWorkerOptions): JobWorker {
  const { lockDuration } = options
  const state: State = { options, backend: openBackend(options), held: new Map(), closing: new AbortController(), onFreeSlot () {} }
  const recover = () => state.backend.moveStalledJobsToWait()
  // At once, because jobs of a dead process may wait already. Without Redis the next run does it.
  recover().catch(() => {})
  const timers = [every(lockDuration / 4, () => renew(state)), every(lockDuration / 2, recover)]
  const taking = takeAll(state)

  return {
    async close () {
      state.closing.abort()
      state.onFreeSlot()
      await state.backend.close(true)
      await taking
      for (const stop of timers) stop()
    }
  }
}

async function takeAll (state: State): Promise<void> {
  const { options: { concurrency }, held, closing: { signal } } = state
  const name = randomUUID()
  for (let count = 0; !signal.aborted || held.size > 0; count++) {
    if (signal.aborted || held.size >= concurrency) await new Promise<void>(resolve => { state.onFreeSlot = resolve })
    else await take(state, `${name}:${count}`).catch(error => pause(state, error))
  }
}

/** Takes one more job, or waits until there may be one. */
async function take (state: State, token: string): Promise<void> {
  const { backend, closing: { signal } } = state
  const { job, until } = read(await backend.moveToActive(token), token)
  if (job !== undefined) runJobs(state, job)
  else if (!signal.aborted) await backend.waitForJob(secondsTo(until, backend))
}

async function pause ({ options: { log }, closing: { signal } }: State, error: unknown): Promise<void> {
  log.debug({ err: error }, 'no job taken')
  await setTimeout(PAUSE, undefined, { signal }).catch(() => {})
}

/** Runs a job, and then the next one as long as there is one. */
async function runJobs (state: State, first: HeldJob): Promise<void> {
  const { options: { run, log }, backend, held } = state
  try {
    for (let job: HeldJob | undefined = first; job !== undefined;) {
      held.set(job.token, job.id)
      const again = await run(job)
      job = again === undefined ? await finish(state, job) : await putBack(backend, job, again)
    }
  } catch (error) {
    // The stalled check puts it back, or another process has it already.
    log.debug({ err: error }, 'job not ended here')
  } finally {
    held.delete(first.token)
    state.onFreeSlot()
  }
}

/** @returns the next job, which BullMQ gives in the same step */
async function finish ({ backend, closing: { signal } }: State, { id, token, json }: HeldJob): Promise<HeldJob | undefined> {
  const { result } = await backend.moveToCompleted({ id, opts: json.opts } as MinimalJob, null, true, token, !signal.aborted)
  return read(result, token).job
}

async function renew ({ options: { lockDuration }, backend, held }: State): Promise<void> {
  if (held.size > 0) await backend.extendLocks([...held.values()], [...held.keys()], lockDuration)
}

/** Opens BullMQ's backend, with a second connection for blocking calls. */
function openBackend ({ redis, prefix, lockDuration }: JobWorkerOptions): RedisQueueBackend {
  const options = {
    connection: redis,
    prefix,
    lockDuration,
    stalledInterval: lockDuration / 2,
    // BullMQ's own limit would also fail the jobs that ran beside the one that ends the process.
    maxStalledCount: Number.MAX_SAFE_INTEGER
  }
  // Each failed attempt to connect is an error event. The commands report what matters.
  return createRedisBackend(QUEUE, options, { withBlockingConnection: true }).on('error', () => {})
}

/** The answer of BullMQ's moveToActive. It can be empty. */
type Found = readonly [] | readonly [json: JobJson | null, id: string, limit: number, until: number]

function read (found: unknown, token: string): { readonly job: HeldJob | undefined, readonly until: number } {
  const [json, id, , until = 0] = found as Found
  return { job: json ? { id: id!, token, json } : undefined, until }
}

/** @param until when the next delayed job is due; 0 when there is none */
function secondsTo (until: number, { minimumBlockTimeout }: RedisQueueBackend): number {
  const seconds = until === 0 ? BLOCK_SECONDS : (until - Date.now()) / 1000
  return Math.max(minimumBlockTimeout, Math.min(seconds, BLOCK_SECONDS))
}

async function putBack (backend: RedisQueueBackend, { id, token }: HeldJob, ms: number): Promise<undefined> {
  if (ms === 0) await backend.moveJobFromActiveToWait(id, token)
  else await backend.moveToDelayed(id, Date.now(), ms, token, { skipAttempt: true })
}
