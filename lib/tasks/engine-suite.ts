// What every engine must do, as checks that any test runner can run. An entry point of its own.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { tasks, type TaskResult } from '../../schemas/index.js'
import { ItemError, toFailure } from '../errors.js'
import type { BatchInfo, EngineHost, EngineLimits, NewBatch, SettledTask, TaskEngine } from './engine.js'
import type { TaskContext, TaskDefinition } from './definition.js'
import { createTaskRunner, type Task } from './run-task.js'

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

const silent = new Proxy({}, {
  get: (_, name) => name === 'child' ? () => silent : name === 'level' ? 'silent' : () => {}
}) as FastifyBaseLogger

function hostOf ({ handlers = {}, timeout = 30_000, retries = 0, ...limits }: Setup): EngineHost {
  const definitions = Object.fromEntries(Object.entries({ ...basic, ...handlers }).map(([type, handler]) => [type, { handler }]))
  return { runTask: createTaskRunner({ handlers: definitions, timeout, retries }), limits: { ...LIMITS, ...limits }, log: silent }
}

const basic: Handlers = {
  echo: payload => payload,
  later: async payload => payload,
  refuse: () => { throw new ItemError('Refused', { code: 'REFUSED', statusCode: 409 }) },
  hang: () => new Promise(() => {})
}

/** Makes a batch of tasks; an entry that is a string is an invalid one, which that is the reason of. */
function batchOf (entries: readonly (Omit<Task, 'taskId'> | string)[], more: Partial<NewBatch> = {}): NewBatch {
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

const repeat = (count: number, task: Omit<Task, 'taskId'>) => Array.from({ length: count }, () => task)

/** Waits for what is to become so, by looking. */
async function until<T> (what: string, look: () => Promise<T | undefined | false>, ms = 20_000): Promise<T> {
  for (const end = Date.now() + ms; Date.now() < end; await new Promise(resolve => setTimeout(resolve, 5))) {
    const found = await look()
    if (found !== undefined && found !== false) return found
  }
  assert.fail(`waited ${ms} ms in vain until ${what}`)
}

async function infoOf (engine: TaskEngine, batchId: string): Promise<BatchInfo> {
  const info = await engine.find(batchId)
  assert.ok(info !== undefined && info !== 'expired', 'the batch is not known')
  return info
}

function resultsOf (engine: TaskEngine, { batchId }: NewBatch): Promise<TaskResult[]> {
  return until('the batch has its results', () => engine.results(batchId))
}

async function allSettled (engine: TaskEngine, batchId: string, page = 1000): Promise<SettledTask[]> {
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
function check (name: string, setup: Setup, test: (engine: TaskEngine) => Promise<void>): EngineCheck {
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

/**
 * The checks.
 * @example for (const { name, run } of engineChecks) test(name, () => run({ open: async host => { ... } }))
 */
export const engineChecks: readonly EngineCheck[] = [
  check('each task has its result, in request order, whatever became of the others', {}, async engine => {
    const batch = batchOf([
      { type: 'later', payload: { a: [1, null, 'x'] } }, 'Invalid data', { type: 'refuse' }, { type: 'echo' }, { type: 'echo', payload: 0 }
    ])
    await engine.submit(batch)
    const refused = toFailure(new ItemError('Refused', { code: 'REFUSED', statusCode: 409 }))
    assert.deepEqual(await resultsOf(engine, batch), [
      { taskId: 't0', status: 'completed', output: { a: [1, null, 'x'] } },
      batch.invalid[0]!.result,
      tasks.fail('t2', refused),
      { taskId: 't3', status: 'completed' },
      { taskId: 't4', status: 'completed', output: 0 }
    ])
    assert.deepEqual((await infoOf(engine, batch.batchId)).summary, { total: 5, succeeded: 3, failed: 2, pending: 0 })
  }),
  check('a thousand tasks have a thousand results, and settle once each', {}, async engine => {
    const batch = batchOf(Array.from({ length: 1000 }, (_, payload) => ({ type: payload % 2 ? 'echo' : 'later', payload })))
    await engine.submit(batch)
    const results = await resultsOf(engine, batch)
    assert.deepEqual(results.map(result => (result as { output?: unknown }).output), batch.tasks.map(({ task }) => task.payload))
    const settled = await allSettled(engine, batch.batchId, 300)
    assert.equal(new Set(settled.map(({ index }) => index)).size, 1000)
    assert.deepEqual(settled.map(({ succeeded }) => succeeded), settled.map((_, place) => place + 1))
  }),
  check('a handler learns the batch, its task, a key of its own and the attempt', {
    retries: 1, handlers: { tell: (_, context) => tell(context) }
  }, async engine => {
    const batch = batchOf(repeat(3, { type: 'tell' }))
    await engine.submit(batch)
    const { batchId } = batch
    assert.deepEqual(await resultsOf(engine, batch), [0, 1, 2].map(index =>
      ({ taskId: `t${index}`, status: 'completed', output: { batchId, taskId: `t${index}`, key: `${batchId}/${index}`, attempt: 2 } })))
  }),
  check('a task that exceeds its time fails, and its handler is told', { timeout: 50 }, async engine => {
    const batch = batchOf([{ type: 'hang' }, { type: 'echo' }])
    await engine.submit(batch)
    const [first, second] = await resultsOf(engine, batch)
    expectFailure(first, 'Timeout', 'TIMEOUT')
    assert.equal(second!.status, 'completed')
  }),
  check('a batch that is cancelled has a result for each task: Cancelled', { concurrency: 2 }, async engine => {
    const batch = batchOf([{ type: 'echo' }, ...repeat(10, { type: 'hang' })])
    await engine.submit(batch)
    await until('the first has settled', async () => (await allSettled(engine, batch.batchId)).length > 0)
    await engine.cancel(batch.batchId)
    const results = await resultsOf(engine, batch)
    assert.equal(results[0]!.status, 'completed')
    for (const result of results.slice(1)) expectFailure(result, 'Cancelled', 'CANCELLED')
  })
]

function expectFailure (result: TaskResult | undefined, reason: string, code: string): void {
  assert.deepEqual({ ...result }, { ...result, status: 'failed', reason, code })
}

function tell ({ attempt, batchId, key, taskId }: TaskContext): object {
  if (attempt === 1) throw new Error('Not at the first attempt')
  return { attempt, batchId, key, taskId }
}
