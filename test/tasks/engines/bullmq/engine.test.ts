// The BullMQ engine across processes, what it leaves in Redis, and what clients see without Redis.
import t, { type Test } from 'tap'
import { Queue } from 'bullmq'
import Fastify from 'fastify'
import multiStatus from '../../../../lib/index.js'
import { bullmq, createWorker } from '../../../../lib/tasks/engines/bullmq/index.js'
import { build } from '../../../fixtures/build.js'
import { hasRedisServer, startRedisServer, type RedisServer } from '../../../fixtures/redis-server.js'
import { skipUnless } from '../../../fixtures/skip.js'
import { createHandlers } from '../../../fixtures/task-handlers.js'
import {
  batchOf, completed, openEngine, repeat, resultsOf, SHORT, silent, spawnServer, spawnWorker
} from '../../../fixtures/task-processes.js'
import { freePort, waitFor } from '../../../fixtures/wait.js'

const skip = skipUnless(await hasRedisServer(), 'redis-server')

async function startServer (t: Test, options = {}): Promise<RedisServer> {
  const server = await startRedisServer(options)
  t.teardown(() => server.close())
  return server
}

function openWorker (t: Test, server: RedisServer, options = {}) {
  const { handlers, redis } = createHandlers(server.port)
  const worker = createWorker({ ...SHORT, handlers, connection: server.connection, log: silent, ...options })
  t.teardown(async () => {
    await worker.close(0)
    redis.disconnect()
  })
  return worker
}

const isFailed = (reason: string, code: string) => (taskId: string) => ({ taskId, status: 'failed', reason, code })

t.test('a batch that is cancelled stops in another process', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  await spawnWorker(t, server, { maxRunning: 4 })
  const batch = batchOf([...repeat(4, 'hang'), ...repeat(100, 'note')])

  await engine.submit(batch)
  await waitFor('four to run', async () => await redis.llen('runs') === 4)
  await engine.cancel(batch.batchId, { message: 'Gone', code: 'GONE', statusCode: 424, retryable: true })
  const results = await resultsOf(t, engine, batch)

  t.match(results.slice(0, 4), ['t0', 't1', 't2', 't3'].map(isFailed('Cancelled', 'CANCELLED')))
  t.ok(results.slice(4).every(({ status, ...result }) => status === 'failed' && 'code' in result && result.code === 'GONE'))
  await waitFor('four to be told', async () => await redis.llen('aborts') === 4)
  t.equal(await redis.llen('runs'), 4, 'none of the others has begun')
})

t.test('a batch that is cancelled stops although the message is lost', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  await spawnWorker(t, server)
  const batch = batchOf(['hang'])

  await engine.submit(batch)
  await waitFor('it to run', async () => await redis.llen('runs') === 1)
  const timer = setInterval(() => { redis.client('KILL', 'TYPE', 'pubsub').catch(() => {}) }, 2)
  t.teardown(() => clearInterval(timer))
  await engine.cancel(batch.batchId)

  await waitFor('it to be told', async () => await redis.llen('aborts') === 1)
})

t.test('a task whose time is up stops where it runs', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  await spawnWorker(t, server, { timeout: 50, retries: 1 })
  const batch = batchOf(['hang', 'echo'])

  await engine.submit(batch)
  const [first, second] = await resultsOf(t, engine, batch)

  t.match(first, isFailed('Timeout', 'TIMEOUT')('t0'))
  t.match(second, { status: 'completed' })
  await waitFor('both attempts to be told', async () => await redis.llen('aborts') === 2)
})

t.test('a batch is cancelled when its web process dies and no client can come back for it', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  openWorker(t, server)
  const web = await spawnServer(t, server, { worker: false })
  const answer = fetch(`http://127.0.0.1:${web.said}/tasks`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"tasks":[{"taskId":1,"type":"hang"}]}'
  }).then(({ status }) => status, () => 'no answer')

  await waitFor('it to run', async () => await redis.llen('runs') === 1)
  await web.kill()
  t.equal(await answer, 'no answer')

  await waitFor('it to be told', async () => await redis.llen('aborts') === 1)
  await waitFor('nothing of it to be left', async () => (await redis.keys('test:batch:*')).length === 0)
})

t.test('every key in Redis expires', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server, { worker: true }, { ttl: 300 })
  const [kept, removed, cancelled] = [batchOf(repeat(50, 'echo')), batchOf(repeat(50, 'echo')), batchOf(repeat(50, 'hang'))]

  for (const batch of [kept, removed, cancelled]) await engine.submit(batch)
  await engine.cancel(cancelled.batchId)
  await resultsOf(t, engine, removed)
  await engine.remove(removed.batchId)
  t.equal(await engine.find(removed.batchId), undefined)
  await waitFor('expiry', async () => await engine.find(kept.batchId) === 'expired')
  t.equal(await engine.results(kept.batchId), undefined)
  t.equal(await engine.settled(kept.batchId, 0, 1), undefined)
  await waitFor('the id to be forgotten', async () => await engine.find(kept.batchId) === undefined)

  const own = ['events', 'id', 'meta', 'pc', 'marker', 'stalled', 'stalled-check'].map(name => `test:tasks:${name}`)
  await waitFor('only what BullMQ keeps of a queue', async () => (await redis.keys('test:*')).every(key => own.includes(key)))
})

t.test('a task whose job is lost fails, and only that one', { skip }, async t => {
  const server = await startServer(t)
  const engine = await openEngine(t, server)
  const queue = new Queue('tasks', { connection: { host: '127.0.0.1', port: server.port }, prefix: SHORT.prefix })
  t.teardown(() => queue.close())
  const batch = batchOf(repeat(3, 'echo'))

  await engine.submit(batch)
  await queue.remove(`${batch.batchId}-1`)
  openWorker(t, server)
  const [first, second, third] = await resultsOf(t, engine, batch)

  t.match([first, third], [{ status: 'completed', output: 0 }, { status: 'completed', output: 2 }])
  t.match(second, isFailed('Task lost', 'TASK_LOST')('t1'))
})

t.test('a closing worker gives back the tasks that it could not end', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  const first = openWorker(t, server, { handlers: { task: { handler: () => redis.rpush('runs', 'x').then(() => new Promise(() => {})) } } })
  const batch = batchOf(repeat(3, 'task'))

  await engine.submit(batch)
  await waitFor('all to run', async () => await redis.llen('runs') === 3)
  await first.close(0)
  t.match(await engine.find(batch.batchId), { summary: { pending: 3 } })
  openWorker(t, server, { handlers: { task: { handler: (payload: unknown) => payload } } })

  t.strictSame(await resultsOf(t, engine, batch), completed(3))
})

t.test('a result that is too large fails its task', { skip }, async t => {
  const server = await startServer(t)
  const engine = await openEngine(t, server)
  const told: unknown[] = []
  const handler = (payload: unknown) => payload === 0 ? 'x'.repeat(2000) : Promise.reject(new Error('broken'))
  openWorker(t, server, { maxResultBytes: 1024, handlers: { echo: { handler } }, onItemError: (...what: unknown[]) => { told.push(what) } })
  const batch = batchOf(['echo', 'echo'])

  await engine.submit(batch)

  t.match(await resultsOf(t, engine, batch), [{ status: 'failed', code: 'RESULT_TOO_LARGE' }, { status: 'failed', code: 'INTERNAL_ERROR' }])
  const byIndex = (told as [Error, { index: number }][]).sort(([, a], [, b]) => a.index - b.index)
  t.match(byIndex, [[{ code: 'RESULT_TOO_LARGE' }, { index: 0, key: 't0', request: null }], [{ message: 'broken' }, { index: 1, key: 't1', request: null }]])
})

t.test('more tasks than may wait are refused, and none of them runs', { skip }, async t => {
  const server = await startServer(t)
  const engine = await openEngine(t, server, {}, { maxQueued: 10 })

  await engine.submit(batchOf(repeat(8, 'echo')))
  const refused = batchOf(repeat(3, 'echo'))

  await t.rejects(engine.submit(refused), { code: 'FST_MULTI_STATUS_QUEUE_FULL', statusCode: 503 })
  t.equal(await engine.find(refused.batchId), undefined)
})

t.test('a Redis without memory refuses a batch, and nothing of it runs', { skip }, async t => {
  const server = await startServer(t, { args: ['--maxmemory', '1'] })
  const engine = await openEngine(t, server)

  await t.rejects(engine.submit(batchOf(['echo'])), { code: 'FST_MULTI_STATUS_STORE_FULL', statusCode: 503 })
})

t.test('without Redis an app starts, answers 503 at once, and closes', { skip }, async t => {
  const port = await freePort()
  const engine = bullmq({ connection: `redis://127.0.0.1:${port}` })
  const app = await build(t, { plugin: { tasks: { engine, handlers: { echo: { handler: payload => payload } } }, closeGrace: 0 } })
  await app.ready()
  const times: number[] = []

  for (let left = 5; left > 0; left--) {
    const start = performance.now()
    const response = await app.inject({ method: 'POST', url: '/tasks', payload: { tasks: [{ taskId: 1, type: 'echo' }] } })
    times.push(performance.now() - start)
    t.equal(response.statusCode, 503)
    t.equal(response.headers['retry-after'], '1')
    t.match(response.json(), { code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE' })
  }
  t.ok(Math.min(...times) < 100, `within 100 ms: ${times}`)
  await app.close()
})

t.test('an app whose Redis dies while a client waits closes nevertheless', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const { handlers, redis: own } = createHandlers(server.port)
  t.teardown(() => own.disconnect())
  const app = Fastify()
  await app.register(multiStatus, { docs: false, upload: false, closeGrace: 0, tasks: { handlers, engine: bullmq({ ...SHORT, connection: server.connection }) } })
  await app.ready()
  const answer = app.inject({ method: 'POST', url: '/tasks', payload: { tasks: [{ taskId: 1, type: 'hang' }] } })
  await waitFor('it to run', async () => await redis.llen('runs') === 1)

  await server.kill()
  await app.close()

  t.equal((await answer).statusCode, 503)
})

t.test('wrong options are refused with what was expected and received', async t => {
  const connection = 'redis://127.0.0.1'
  const handlers = {}
  const code = 'FST_MULTI_STATUS_INVALID_OPTION'
  for (const options of [{}, { connection: '' }, { connection: 1 }, { connection, prefix: '' }, { connection, worker: 1 }, { connection, lockDuration: 1 }, { connection, more: 1 }]) {
    t.throws(() => bullmq(options as never), { code })
  }
  for (const options of [{ handlers }, { handlers, connection, maxRunning: 0 }, { handlers, connection, worker: true }]) {
    t.throws(() => createWorker(options as never), { code })
  }
})
