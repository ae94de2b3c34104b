// Checks how an engine runs tasks and which results they get.
import assert from 'node:assert/strict'
import { tasks } from '../../../../schemas/index.js'
import { ItemError, toFailure } from '../../../errors.js'
import type { TaskContext } from '../../definition.js'
import { allSettled, batchOf, check, expectFailure, infoOf, outputsOf, repeat, resultsOf, until, type EngineCheck } from './harness.js'

const cycle: Record<string, unknown> = {}
cycle.self = cycle

function tell ({ attempt, batchId, key, taskId }: TaskContext): object {
  if (attempt === 1) throw new ItemError('Not at the first attempt', { retryable: true, retryAfter: 0 })
  return { attempt, batchId, key, taskId }
}

const NAMES = [1, '1', 'a:b', 'ключ', '__proto__', 'x'.repeat(255), '-1', ' ']

export const runChecks: readonly EngineCheck[] = [
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

  check('a batch of nothing but invalid tasks has ended when it begins', {}, async engine => {
    const batch = batchOf(['No', 'Neither'])
    await engine.submit(batch)
    assert.deepEqual(await resultsOf(engine, batch), batch.invalid.map(({ result }) => result))
    assert.deepEqual((await allSettled(engine, batch.batchId)).map(({ index, succeeded }) => [index, succeeded]), [[0, 0], [1, 0]])
  }),

  check('a thousand tasks have a thousand results, and settle once each', {}, async engine => {
    const batch = batchOf(Array.from({ length: 1000 }, (_, payload) => ({ type: payload % 2 ? 'echo' : 'later', payload })))
    await engine.submit(batch)
    assert.deepEqual(outputsOf(await resultsOf(engine, batch)), batch.tasks.map(({ task }) => task.payload))
    const settled = await allSettled(engine, batch.batchId, 300)
    assert.equal(new Set(settled.map(({ index }) => index)).size, 1000)
    assert.deepEqual(settled.map(({ succeeded }) => succeeded), settled.map((_, place) => place + 1))
  }),

  check('whatever a client calls its tasks, they do not mix', {}, async engine => {
    const given = batchOf(NAMES.map(payload => ({ type: 'echo', payload })))
    const batch = { ...given, tasks: given.tasks.map(({ index, task }) => ({ index, task: { ...task, taskId: NAMES[index]! } })) }
    await engine.submit(batch)
    assert.deepEqual(await resultsOf(engine, batch), NAMES.map(taskId => ({ taskId, status: 'completed', output: taskId })))
  }),

  check('many batches at once do not mix', {}, async engine => {
    const batches = Array.from({ length: 20 }, (_, count) => batchOf(repeat(5, { type: 'later', payload: count })))
    await Promise.all(batches.map(batch => engine.submit(batch)))
    for (const [count, batch] of batches.entries()) assert.deepEqual(outputsOf(await resultsOf(engine, batch)), repeat(5, count as never))
  }),

  check('an output that JSON cannot hold costs its own task only', {
    handlers: { bigint: () => 1n, cycle: () => cycle }
  }, async engine => {
    const batch = batchOf([{ type: 'bigint' }, { type: 'cycle' }, { type: 'echo', payload: 1 }])
    await engine.submit(batch)
    const [first, second, third] = await resultsOf(engine, batch)
    expectFailure(first, 'Invalid result', 'INVALID_RESULT')
    expectFailure(second, 'Invalid result', 'INVALID_RESULT')
    assert.equal(third!.status, 'completed')
    assert.deepEqual((await infoOf(engine, batch.batchId)).summary, { total: 3, succeeded: 1, failed: 2, pending: 0 })
  }),

  check('any other error than an ItemError is masked', { handlers: { leak: () => { throw new Error('hunter2') } } }, async engine => {
    const batch = batchOf([{ type: 'leak' }])
    await engine.submit(batch)
    const [result] = await resultsOf(engine, batch)
    expectFailure(result, 'Internal error', 'INTERNAL_ERROR')
    assert.ok(!JSON.stringify(result).includes('hunter2'))
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

  check('a task that fails is tried again as often as told, unless that is no use', { retries: 2 }, async engine => {
    const batch = batchOf([{ type: 'flaky', payload: 3 }, { type: 'flaky', payload: 4 }, { type: 'refuse' }])
    await engine.submit(batch)
    const [third, never, refused] = await resultsOf(engine, batch)
    assert.deepEqual(third, { taskId: 't0', status: 'completed', output: 3 })
    expectFailure(never, 'Not at attempt 3', 'ITEM_FAILED')
    expectFailure(refused, 'Refused', 'REFUSED')
  }),

  check('a task that exceeds its time fails and is told, and its neighbours are not held up', { timeout: 50 }, async engine => {
    const batch = batchOf([{ type: 'watch' }, { type: 'echo' }])
    await engine.submit(batch)
    const [first, second] = await resultsOf(engine, batch)
    expectFailure(first, 'Timeout', 'TIMEOUT')
    assert.equal(second!.status, 'completed')
  }),

  check('a short batch need not wait for a long one', { concurrency: 2, maxRunning: 2 }, async engine => {
    const long = batchOf(repeat(400, { type: 'pause', payload: 5 }))
    const short = batchOf(repeat(4, { type: 'pause', payload: 5 }))
    await engine.submit(long)
    await until('the long one runs', async () => (await allSettled(engine, long.batchId)).length > 0)
    await engine.submit(short)
    await resultsOf(engine, short)
    assert.ok((await infoOf(engine, long.batchId)).summary.pending > 0, 'the short batch had to wait')
    await engine.cancel(long.batchId)
  }),

  check('no more tasks run at a time than allowed', {
    concurrency: 8, maxRunning: 3, handlers: { count: () => counted() }
  }, async engine => {
    const batches = [1, 2].map(() => batchOf(repeat(20, { type: 'count' })))
    await Promise.all(batches.map(batch => engine.submit(batch)))
    for (const batch of batches) for (const output of outputsOf(await resultsOf(engine, batch))) assert.ok(Number(output) <= 3)
  })
]

let running = 0

/** How many run at the same time as this one. */
async function counted (): Promise<number> {
  const seen = ++running
  await new Promise(resolve => setTimeout(resolve, 2))
  running--
  return seen
}
