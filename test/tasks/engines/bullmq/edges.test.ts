// The BullMQ engine when Redis fails between two steps, and with tasks that end their process.
import t, { type Test } from 'tap'
import { bullmq, createWorker, type WorkerOptions } from '../../../../lib/tasks/engines/bullmq/index.js'
import { Redis } from 'ioredis'
import type { BatchEnd } from '../../../../lib/index.js'
import type { FastifyBaseLogger } from 'fastify'
import { startProxy } from '../../../fixtures/proxy.js'
import { hasRedisServer, startRedisServer, type RedisServer } from '../../../fixtures/redis-server.js'
import { skipUnless } from '../../../fixtures/skip.js'
import { batchOf, completed, openEngine, repeat, resultsOf, SHORT, silent, spawnWorker } from '../../../fixtures/task-processes.js'
import { waitFor } from '../../../fixtures/wait.js'
import { createGate } from '../../../fixtures/gate.js'

const skip = skipUnless(await hasRedisServer(), 'redis-server')

/** Told from every other number on the wire. */
const LEASE = 1_234

async function startServer (t: Test): Promise<RedisServer> {
  const server = await startRedisServer()
  t.teardown(() => server.close())
  return server
}

const echo = { handler: (payload: unknown) => payload }

function openWorker (t: Test, { connection }: RedisServer, options: Partial<WorkerOptions> = {}) {
  const worker = createWorker({ ...SHORT, handlers: { echo }, connection, log: silent, ...options })
  t.teardown(() => worker.close(0))
  return worker
}

/** A logger that keeps the messages of errors. */
function listen (): { log: FastifyBaseLogger, said: string[] } {
  const said: string[] = []
  const log = Object.assign(Object.create(silent) as FastifyBaseLogger, { error: (_: unknown, message: string) => { said.push(message) }, child: () => log })
  return { log, said }
}

/** Says of a task that so many processes have died with it. */
const blame = (redis: Redis, batchId: string, index: number, deaths: number) => redis.hset(`test:tasks:${batchId}-${index}`, 'stc', deaths)

const isAccepting = (batchId: string) => (sent: string) => sent.includes(batchId) && sent.includes(`\r\n${LEASE}\r\n`)

t.test('a batch that Redis has not confirmed is refused and does not run later', { skip }, async t => {
  const server = await startServer(t)
  const { port, holdAt, cut } = await startProxy(t, server.port)
  const redis = server.client()
  const engine = await openEngine(t, server, { lockDuration: LEASE, connection: { host: '127.0.0.1', port } })
  const batch = batchOf(repeat(3, 'echo'))

  const held = holdAt(isAccepting(batch.batchId))
  const refused = t.rejects(engine.submit(batch), { code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE', statusCode: 503 })
  await held
  t.equal(await redis.zcard('test:tasks:prioritized'), 3, 'its jobs are there')
  cut()
  await refused

  await waitFor('its tasks to be withdrawn', async () => await redis.zcard('test:tasks:prioritized') === 0)
  openWorker(t, server, { handlers: { echo: { handler: () => t.fail('it runs') } } })
  await waitFor('nothing of it to be left', async () => (await redis.keys(`*${batch.batchId}*`)).length === 0)
})

t.test('a batch whose record is gone before it is whole is refused', { skip }, async t => {
  const server = await startServer(t)
  const { port, holdAt, release } = await startProxy(t, server.port)
  const redis = server.client()
  const engine = await openEngine(t, server, { lockDuration: LEASE, connection: { host: '127.0.0.1', port } })
  const batch = batchOf(['echo'])

  const held = holdAt(isAccepting(batch.batchId))
  const refused = t.rejects(engine.submit(batch), { code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE', message: /the batch came too late/ })
  await held
  await redis.flushall()
  release()
  await refused
})

t.test('a batch of which Redis cannot store a job is refused, and forgotten', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  const batch = batchOf(repeat(3, 'echo'))

  await redis.set('test:tasks:events', 'not a stream')
  await t.rejects(engine.submit(batch), { name: 'ReplyError', message: /WRONGTYPE/ })
  await redis.del('test:tasks:events')

  await waitFor('it to be withdrawn', async () => await engine.find(batch.batchId) === undefined)
  openWorker(t, server, { handlers: { echo: { handler: () => t.fail('it runs') } } })
  const next = batchOf(['sleep'])
  await engine.submit(next)
  await waitFor('the next one to be taken', async () => await redis.exists(`test:tasks:${next.batchId}-0`) === 0)
})

t.test('a refused batch is given up when the engine closes before Redis is back', { skip }, async t => {
  const server = await startServer(t)
  const { port, holdAt } = await startProxy(t, server.port)
  const engine = await openEngine(t, server, { lockDuration: LEASE, connection: { host: '127.0.0.1', port } })
  const batch = batchOf(['echo'])

  const held = holdAt(isAccepting(batch.batchId))
  const refused = t.rejects(engine.submit(batch), { code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE' })
  await held
  await engine.close(0)
  await refused
})

t.test('a Redis that has no memory for a while, or takes nothing, costs no result', { skip }, async t => {
  const server = await startServer(t)
  const { port, holdAt, release } = await startProxy(t, server.port)
  const redis = server.client()
  const { log, said } = listen()
  const gate = createGate()
  const engine = await openEngine(t, server)
  const connection = { host: '127.0.0.1', port }
  openWorker(t, server, { connection, log, maxRunning: 1, lockDuration: LEASE, handlers: { echo, wait: { handler: payload => gate.opened.then(() => payload) } } })

  const first = batchOf(['wait'])
  await engine.submit(first)
  await waitFor('it to run', async () => await redis.llen('test:tasks:active') === 1)
  await redis.config('SET', 'maxmemory', '1')
  gate.open()
  await waitFor('it to have tried', () => said.includes('result not recorded yet'))
  await redis.config('SET', 'maxmemory', '0')
  t.strictSame(await resultsOf(t, engine, first), completed(1))

  const second = batchOf(['echo'])
  const held = holdAt(sent => sent.includes(':begun') && isAccepting(second.batchId)(sent))
  await engine.submit(second)
  await held
  await redis.replicaof('127.0.0.1', '1')
  release()
  await waitFor('it to have failed', () => said.includes('task not recorded; it will run again'))
  await redis.replicaof('NO', 'ONE')
  t.strictSame(await resultsOf(t, engine, second), completed(1))
})

t.test('a task that has got its result while it was on its way to a worker does not run', { skip }, async t => {
  const server = await startServer(t)
  const { port, holdAt, release } = await startProxy(t, server.port)
  const engine = await openEngine(t, server)
  openWorker(t, server, { connection: { host: '127.0.0.1', port }, lockDuration: LEASE, handlers: { echo: { handler: () => t.fail('it runs') } } })
  const batch = batchOf(['echo'])

  const held = holdAt(sent => sent.includes(':begun') && isAccepting(batch.batchId)(sent))
  await engine.submit(batch)
  await held
  await engine.cancel(batch.batchId)
  release()

  const redis = server.client()
  await waitFor('its job to be gone', async () => await redis.exists(`test:tasks:${batch.batchId}-0`) === 0)
  t.match(await engine.results(batch.batchId), [{ status: 'failed', code: 'CANCELLED' }])
})

t.test('a task whose processes died runs alone', { skip }, async t => {
  const server = await startServer(t)
  const engine = await openEngine(t, server)
  const batch = batchOf(repeat(12, 'count'))
  let running = 0
  const seen: number[] = []
  await engine.submit(batch)
  await blame(server.client(), batch.batchId, 3, 2)
  openWorker(t, server, {
    maxRunning: 4,
    handlers: {
      count: {
        async handler (payload) {
          running++
          await new Promise(resolve => setTimeout(resolve, 20))
          if (payload === 3) seen.push(running)
          running--
          return payload
        }
      }
    }
  })

  t.strictSame(await resultsOf(t, engine, batch), completed(12))
  t.strictSame(seen, [1])
})

t.test('a task that runs alone when its worker closes is not blamed', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  const batch = batchOf(['task'])
  let isRunning = false
  await engine.submit(batch)
  await blame(redis, batch.batchId, 0, 2)
  const worker = openWorker(t, server, { handlers: { task: { handler: () => { isRunning = true; return new Promise(() => {}) } } } })
  await waitFor('it to run', () => isRunning)
  await worker.close(0)
  openWorker(t, server, { handlers: { task: echo } })

  t.strictSame(await resultsOf(t, engine, batch), completed(1))
})

t.test('a task that was alone when its process died fails as TASK_LOST', { skip }, async t => {
  const server = await startServer(t)
  const { log, said } = listen()
  const engine = await openEngine(t, server)
  const batch = batchOf(['poison', 'echo'])
  await engine.submit(batch)
  await blame(server.client(), batch.batchId, 0, 2)
  const { child } = await spawnWorker(t, server)
  await new Promise(resolve => child.once('exit', resolve))
  openWorker(t, server, { log, handlers: { echo, poison: echo } })

  t.match(await resultsOf(t, engine, batch), [{ status: 'failed', code: 'TASK_LOST' }, { status: 'completed', output: 1 }])
  t.equal(said.length, 1)
})

t.test('a worker that does not know a type of task fails such tasks alone, as not run', { skip }, async t => {
  const server = await startServer(t)
  const engine = await openEngine(t, server)
  const batch = batchOf(['echo', 'newer'])
  openWorker(t, server)
  await engine.submit(batch)

  t.match(await resultsOf(t, engine, batch), [
    { status: 'completed' },
    { status: 'failed', reason: 'No handler for this type of task where it was to run', code: 'NOT_RUN', statusCode: 424, retryable: true }
  ])
})

t.test('without a logger a worker writes errors to the console', { skip }, async t => {
  const server = await startServer(t)
  const engine = await openEngine(t, server)
  const { args } = t.capture(console, 'error', () => {})
  const worker = createWorker({ ...SHORT, connection: server.connection, handlers: { leak: { handler: () => { throw new Error('hunter2') } } } })
  t.teardown(() => worker.close(0))
  const batch = batchOf(['leak'])
  await engine.submit(batch)

  t.match(await resultsOf(t, engine, batch), [{ reason: 'Internal error' }])
  t.match(args()[0], [{ err: { message: 'hunter2' }, key: 't0', index: 0 }])
})

t.test('a batch that only its own process waits for lives as long as the process', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  const batch = batchOf(['echo'], { keep: false })
  const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))![1])
  const [open] = (await engine.submit(batch), await redis.keys('test:*open'))
  const due = async () => Number(await redis.zscore(open!, batch.batchId))
  const first = await due()
  await waitFor('it to be looked after', async () => await due() > first + SHORT.lockDuration)
  openWorker(t, server)
  t.strictSame(await resultsOf(t, engine, batch), completed(1))

  const before = await calls()
  await waitFor('it to be looked after no more', async () => await calls() >= before + 8)
  await engine.remove(batch.batchId)
  t.equal(await engine.find(batch.batchId), undefined)
})

t.test('all watchers of a batch are notified, also after Redis was unreachable', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  const batch = batchOf(['echo'])
  await engine.submit(batch)
  const hints = [0, 0]
  const stops = hints.map((_, place) => engine.watch(batch.batchId, 'end', () => { hints[place]!++ }))
  await waitFor('both to have heard that they can hear', () => hints.every(count => count > 0))
  stops[1]!()

  const [heard] = hints
  await redis.client('KILL', 'TYPE', 'pubsub')
  await waitFor('a hint after the connection is back', () => hints[0]! > heard!)
  t.equal(hints[1], 1)
  stops[0]!()
})

t.test('batches keep working when their loggers are no longer kept', { skip }, async t => {
  const server = await startServer(t)
  const engine = await openEngine(t, server, { worker: true })
  await Promise.all(Array.from({ length: 1_001 }, () => engine.submit(batchOf([], { total: 0 }))))
  const batch = batchOf(['echo'])
  await engine.submit(batch)
  t.strictSame(await resultsOf(t, engine, batch), completed(1))
})

t.test('a connection of the app is not used itself', { skip }, async t => {
  const server = await startServer(t)
  const connection = new Redis({ ...server.connection, lazyConnect: true })
  const engine = await openEngine(t, server, { connection })
  const batch = batchOf(['echo'])
  await engine.submit(batch)

  t.equal(connection.status, 'wait')
  t.match(await engine.find(batch.batchId), { summary: { pending: 1 } })
})

t.test('a Redis that cannot work is reported as unavailable; a programming mistake is not', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  const batch = batchOf(['echo'])
  await engine.submit(batch)

  await redis.replicaof('127.0.0.1', '1')
  await t.rejects(engine.submit(batchOf(['echo'])), { code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE', message: /Redis is not ready/ })
  await redis.replicaof('NO', 'ONE')
  for (const key of await redis.keys(`test:*${batch.batchId}*`)) await redis.set(key, 'something else')
  await t.rejects(engine.find(batch.batchId), { name: 'ReplyError' })
})

t.test('an engine that has not been started says so, and can be closed', async t => {
  const engine = bullmq({ connection: 'redis://127.0.0.1:1' })
  await t.rejects(engine.find('x'), { code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE', message: /it has not been started/ })
  engine.watch('x', 'end', () => {})()
  await engine.close(0)
})

t.test('the end of a batch is reported in the process that took it, wherever its tasks ran', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const engine = await openEngine(t, server)
  const ends: BatchEnd[] = []
  const onEnd = (end: BatchEnd) => { ends.push(end) }
  const [batch, removed, waiting] = [batchOf(['echo', 'newer', 'echo'], { onEnd }), batchOf(['later'], { onEnd }), batchOf(['later'], { onEnd })]
  await engine.submit(batch)
  await engine.submit(waiting)
  await engine.submit(removed)
  await engine.remove(removed.batchId)
  await engine.cancel(removed.batchId)
  await redis.client('KILL', 'TYPE', 'pubsub')
  openWorker(t, server, { handlers: { echo, later: { handler: () => new Promise(() => {}) } } })

  await waitFor('the end', () => ends.length > 0)
  t.match(ends, [{ total: 3, failed: 1 }])
  t.strictSame(ends[0]!.results(), await engine.results(batch.batchId))
  await engine.close(0)
  t.equal(ends.length, 1)
})

t.test('an end that cannot be reported is logged', { skip }, async t => {
  const server = await startServer(t)
  const redis = server.client()
  const { log, said } = listen()
  const engine = await openEngine(t, server)
  const batch = batchOf(['echo'], { log, onEnd: () => {} })
  await engine.submit(batch)
  for (const key of await redis.keys(`test:*${batch.batchId}*`)) await redis.set(key, 'something else')
  await redis.publish(`test:hint:end:${batch.batchId}`, '')

  await waitFor('it to be said', () => said.includes('the end of the batch cannot be reported'))
})
