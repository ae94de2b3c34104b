// Takes jobs and has many in hand at a time, as a Worker of BullMQ does, with less to do for each of them.
import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { createRedisBackend, type JobJson, type MinimalJob, type RedisQueueBackend } from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import type { Redis } from 'ioredis'
import { every } from './interval.js'
import { QUEUE } from './jobs.js'

/** A job that this process has in hand. */
export interface HeldJob {
  readonly id: string
  /** What shows that it is held here, and by nobody else. */
  readonly token: string
  readonly json: JobJson
}

/** What a crew works with. */
export interface CrewOptions {
  readonly redis: Redis
  readonly prefix: string
  /** How many jobs to have in hand at most. */
  readonly most: number
  /** Milliseconds after which a process that gives no sign of life is thought dead. */
  readonly lockDuration: number
  readonly log: FastifyBaseLogger
  /** Does a job; never rejects. @returns milliseconds after which it is to be taken again, or undefined when it is done */
  readonly work: (job: HeldJob) => Promise<number | undefined>
}

/** What takes jobs until it is closed. */
export interface Crew {
  /** Takes no more of them. @returns when none is in hand */
  close (): Promise<void>
}

/** Seconds to wait for a job before looking for one without having been told. */
const LOOK_AFTER = 5
/** Milliseconds to wait after something went wrong. */
const PAUSE = 1_000

/** A crew at work. */
interface State {
  readonly options: CrewOptions
  readonly backend: RedisQueueBackend
  /** The jobs in hand: the id of each, by its token. */
  readonly held: Map<string, string>
  readonly closing: AbortController
  /** Called when there is one less in hand. */
  onRoom (): void
}

export function startCrew (options: CrewOptions): Crew {
  const { lockDuration } = options
  const state: State = { options, backend: openBackend(options), held: new Map(), closing: new AbortController(), onRoom () {} }
  const recover = () => state.backend.moveStalledJobsToWait()
  // At once, because what a dead process had may wait since long; without Redis the next time will do.
  recover().catch(() => {})
  const timers = [every(lockDuration / 4, () => renew(state)), every(lockDuration / 2, recover)]
  const taking = takeAll(state)

  return {
    async close () {
      state.closing.abort()
      state.onRoom()
      await state.backend.close(true)
      await taking
      for (const stop of timers) stop()
    }
  }
}

async function takeAll (state: State): Promise<void> {
  const { options: { most }, held, closing: { signal } } = state
  const name = randomUUID()
  for (let count = 0; !signal.aborted || held.size > 0; count++) {
    if (signal.aborted || held.size >= most) await new Promise<void>(resolve => { state.onRoom = resolve })
    else await take(state, `${name}:${count}`).catch(error => pause(state, error))
  }
}

/** Begins with one more job, or waits until there may be one. */
async function take (state: State, token: string): Promise<void> {
  const { backend, closing: { signal } } = state
  const { job, until } = read(await backend.moveToActive(token), token)
  if (job !== undefined) go(state, job)
  else if (!signal.aborted) await backend.waitForJob(secondsTo(until, backend))
}

async function pause ({ options: { log }, closing: { signal } }: State, error: unknown): Promise<void> {
  log.debug({ err: error }, 'no job taken')
  await setTimeout(PAUSE, undefined, { signal }).catch(() => {})
}

/** Goes from job to job, as long as there is one. */
async function go (state: State, first: HeldJob): Promise<void> {
  const { options: { work, log }, backend, held } = state
  try {
    for (let job: HeldJob | undefined = first; job !== undefined;) {
      held.set(job.token, job.id)
      const again = await work(job)
      job = again === undefined ? await finish(state, job) : await putBack(backend, job, again)
    }
  } catch (error) {
    // Whoever holds it now, or finds that nobody does, goes on with it.
    log.debug({ err: error }, 'job not ended here')
  } finally {
    held.delete(first.token)
    state.onRoom()
  }
}

/** @returns the next, which is asked for in the same step */
async function finish ({ backend, closing: { signal } }: State, { id, token, json }: HeldJob): Promise<HeldJob | undefined> {
  const { result } = await backend.moveToCompleted({ id, opts: json.opts } as MinimalJob, null, true, token, !signal.aborted)
  return read(result, token).job
}

async function renew ({ options: { lockDuration }, backend, held }: State): Promise<void> {
  if (held.size > 0) await backend.extendLocks([...held.values()], [...held.keys()], lockDuration)
}

/** The queue as one who takes jobs from it sees it: with a connection of its own to wait with. */
function openBackend ({ redis, prefix, lockDuration }: CrewOptions): RedisQueueBackend {
  const options = {
    connection: redis,
    prefix,
    lockDuration,
    stalledInterval: lockDuration / 2,
    // Its own way to give a job up would take the neighbours of the one that kills with it.
    maxStalledCount: Number.MAX_SAFE_INTEGER
  }
  // Every failed attempt to connect is an error; what matters is said by the commands.
  return createRedisBackend(QUEUE, options, { withBlockingConnection: true }).on('error', () => {})
}

/** What BullMQ has found, which can be nothing at all. */
type Found = readonly [] | readonly [json: JobJson | null, id: string, limit: number, until: number]

function read (found: unknown, token: string): { readonly job: HeldJob | undefined, readonly until: number } {
  const [json, id, , until = 0] = found as Found
  return { job: json ? { id: id!, token, json } : undefined, until }
}

/** @param until when the next job is due that waits for its time; 0 when there is none */
function secondsTo (until: number, { minimumBlockTimeout }: RedisQueueBackend): number {
  const seconds = until === 0 ? LOOK_AFTER : (until - Date.now()) / 1000
  return Math.max(minimumBlockTimeout, Math.min(seconds, LOOK_AFTER))
}

async function putBack (backend: RedisQueueBackend, { id, token }: HeldJob, ms: number): Promise<undefined> {
  if (ms === 0) await backend.moveJobFromActiveToWait(id, token)
  else await backend.moveToDelayed(id, Date.now(), ms, token, { skipAttempt: true })
}
