// Runs the checks of an engine against one engine.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { tasks, type TaskResult } from '../../../../schemas/index.js'
import { ItemError } from '../../../errors.js'
import type { TaskDefinition } from '../../definition.js'
import type { BatchInfo, EngineHost, EngineLimits, NewBatch, SettledTask, TaskEngine } from '../../engine.js'
import { createConsoleLogger } from '../console-logger.js'
import { createTaskRunner, type Task } from '../../run-task.js'

/** An engine, and how to get one for each check. */
export interface EngineUnderTest {
  /** Makes and starts an engine of its own, with no batch in it, whose tasks are run by `host.runTask` somewhere. */
  open (host: EngineHost): Promise<TaskEngine>
  /**
   * For engines that several processes share: makes and starts another one that knows the batches of the one that
   * `open` has made last, as another process would.
   */
  openPeer? (host: EngineHost): Promise<TaskEngine>
}

/** One thing that an engine must do. */
export interface EngineCheck {
  readonly name: string
  /** Rejects with an AssertionError when the engine does not do it. */
  run (subject: EngineUnderTest): Promise<void>
}

type Handlers = Record<string, TaskDefinition['handler']>

/** What a check runs its tasks with. */
interface Setup extends Partial<EngineLimits> {
  readonly handlers?: Handlers
  readonly timeout?: number
  readonly retries?: number
}

const LIMITS: EngineLimits = { concurrency: 16, maxRunning: 64, maxQueued: 100_000, ttl: 60_000 }

const silent = createConsoleLogger()

function hostOf ({ handlers = {}, timeout = 30_000, retries = 0, ...limits }: Setup): EngineHost {
  const definitions = Object.fromEntries(Object.entries({ ...basic, ...handlers }).map(([type, handler]) => [type, { handler }]))
  return { runTask: createTaskRunner({ handlers: definitions, timeout, retries }), limits: { ...LIMITS, ...limits }, log: silent }
}

/** What has been seen of the tasks of each batch: how many have begun, been told to stop, and ended by themselves. */
const seen = new Map<string, { starts: number, aborts: number, ends: number }>()

function seenOf (batchId: string) {
  const found = seen.get(batchId) ?? { starts: 0, aborts: 0, ends: 0 }
  seen.set(batchId, found)
  return found
}

export const startsOf = (batchId: string) => seenOf(batchId).starts
export const abortsOf = (batchId: string) => seenOf(batchId).aborts
export const endsOf = (batchId: string) => seenOf(batchId).ends

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

const basic: Handlers = {
  echo: payload => payload,
  later: async payload => payload,
  refuse: () => { throw new ItemError('Refused', { code: 'REFUSED', statusCode: 409 }) },
  hang: () => new Promise(() => {}),
  flaky (least, { attempt }) {
    if (attempt < Number(least)) throw new ItemError(`Not at attempt ${attempt}`, { retryable: true, retryAfter: 0 })
    return attempt
  },
  'much-later' (_, { batchId }) {
    seenOf(batchId).starts++
    throw new ItemError('Later', { retryable: true, retryAfter: 20 })
  },
  async pause (ms, { batchId }) {
    seenOf(batchId).starts++
    await pause(Number(ms))
    seenOf(batchId).ends++
  },
  watch (_, { batchId, signal }) {
    seenOf(batchId).starts++
    return new Promise(() => signal.addEventListener('abort', () => { seenOf(batchId).aborts++ }))
  }
}

/** Makes a batch of tasks; an entry that is a string is an invalid one, which that is the reason of. */
export function batchOf (entries: readonly (Omit<Task, 'taskId'> | string)[], more: Partial<NewBatch> = {}): NewBatch {
  const places = entries.map((entry, index) => ({ entry, index }))
  return {
    batchId: randomUUID(),
    total: entries.length,
    tasks: places.flatMap(({ entry, index }) => typeof entry === 'string' ? [] : [{ index, task: { taskId: `t${index}`, ...entry } }]),
    invalid: places.flatMap(({ entry, index }) => typeof entry !== 'string'
      ? []
      : [{ index, result: tasks.fail(`t${index}`, { message: entry, code: 'INVALID_ITEM', statusCode: 422, retryable: false }) }]),
    keep: true,
    log: silent,
    ...more
  }
}

export const repeat = (count: number, task: Omit<Task, 'taskId'>) => Array.from({ length: count }, () => task)

/** Waits for what is to become so, by looking. */
export async function until<T> (what: string, look: () => Promise<T | undefined | false>, ms = 20_000): Promise<T> {
  for (const end = Date.now() + ms; Date.now() < end; await pause(5)) {
    const found = await look()
    if (found !== undefined && found !== false) return found
  }
  assert.fail(`waited ${ms} ms in vain until ${what}`)
}

export async function infoOf (engine: TaskEngine, batchId: string): Promise<BatchInfo> {
  const info = await engine.find(batchId)
  assert.ok(info !== undefined && info !== 'expired', 'the batch is not known')
  return info
}

export function resultsOf (engine: TaskEngine, { batchId }: NewBatch): Promise<TaskResult[]> {
  return until('the batch has its results', () => engine.results(batchId))
}

export async function allSettled (engine: TaskEngine, batchId: string, page = 1000): Promise<SettledTask[]> {
  const all: SettledTask[] = []
  while (true) {
    const more = await engine.settled(batchId, all.length, page)
    assert.ok(more !== undefined, 'the batch is not known')
    assert.ok(more.length <= page, 'a page has more than asked for')
    if (more.length === 0) return all
    all.push(...more)
  }
}

/** Makes a check of one engine, which is closed after. */
export function check (name: string, setup: Setup, test: (engine: TaskEngine) => Promise<void>): EngineCheck {
  return {
    name,
    async run (subject) {
      const engine = await subject.open(hostOf(setup))
      try {
        await test(engine)
      } finally {
        await engine.close(0)
      }
    }
  }
}

/** Makes a check of two engines that share their batches; it passes where the subject has no second one. */
export function checkPeers (name: string, setup: Setup, test: (engine: TaskEngine, peer: TaskEngine) => Promise<void>): EngineCheck {
  return {
    name,
    async run (subject) {
      if (subject.openPeer === undefined) return
      const engine = await subject.open(hostOf(setup))
      const peer = await subject.openPeer(hostOf(setup))
      try {
        await test(engine, peer)
      } finally {
        await Promise.all([engine.close(0), peer.close(0)])
      }
    }
  }
}

export function expectFailure (result: TaskResult | undefined, reason: string, code: string): void {
  assert.deepEqual({ ...result }, { ...result, status: 'failed', reason, code })
}

export function outputsOf (results: readonly TaskResult[]): unknown[] {
  return results.map(result => (result as { output?: unknown }).output)
}
