// The BullMQ engine when processes die: each task has exactly one result, and none is invented.
import t from 'tap'
import { hasRedisServer, startRedisServer } from '../../../fixtures/redis-server.js'
import { skipUnless } from '../../../fixtures/skip.js'
import {
  batchOf, completed, openEngine, repeat, resultsOf, settledAtLeast, spawnServer, spawnWorker
} from '../../../fixtures/task-processes.js'
import { waitFor } from '../../../fixtures/wait.js'

const skip = skipUnless(await hasRedisServer(), 'redis-server')

t.test('killing a worker midway loses no result', { skip }, async t => {
  const server = await startRedisServer()
  t.teardown(() => server.close())
  const engine = await openEngine(t, server)
  const first = await spawnWorker(t, server, { maxRunning: 8 })
  const batch = batchOf(repeat(1000, 'sleep'))

  await engine.submit(batch)
  await settledAtLeast(engine, batch, 200)
  await first.kill()
  const info = await engine.find(batch.batchId)
  await spawnWorker(t, server, { maxRunning: 64 })

  t.ok(typeof info === 'object' && info.summary.pending > 0, 'it was killed midway')
  t.strictSame(await resultsOf(t, engine, batch), completed(1000))
})

t.test('killing and restarting Redis midway loses no result', { skip }, async t => {
  const server = await startRedisServer({ aof: true })
  t.teardown(() => server.close())
  const engine = await openEngine(t, server)
  await spawnWorker(t, server, { maxRunning: 8 })
  const batch = batchOf(repeat(1000, 'sleep'))

  await engine.submit(batch)
  await settledAtLeast(engine, batch, 200)
  await server.kill()
  await t.rejects(engine.find(batch.batchId), { code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE' })
  await server.restart()
  await waitFor('the engine to be there again', () => engine.find(batch.batchId))
  const info = await engine.find(batch.batchId)

  t.ok(typeof info === 'object' && info.summary.pending > 0, 'it was killed midway')
  t.strictSame(await resultsOf(t, engine, batch), completed(1000))
  const next = batchOf(repeat(10, 'echo'))
  await engine.submit(next)
  t.strictSame(await resultsOf(t, engine, next), completed(10), 'and later batches run as before')
})

t.test('a task that kills its worker fails alone', { skip }, async t => {
  const server = await startRedisServer()
  t.teardown(() => server.close())
  const engine = await openEngine(t, server)
  let deaths = -1
  let isOver = false
  const supervise = async () => {
    deaths++
    if (isOver) return
    const { child } = await spawnWorker(t, server, { maxRunning: 16 })
    child.once('exit', supervise)
  }
  const types = repeat(100, 'sleep')
  types[3] = types[40] = 'poison'
  const batch = batchOf(types)

  await engine.submit(batch)
  await supervise()
  const results = await resultsOf(t, engine, batch)
  isOver = true

  const lost = (taskId: string) => ({ taskId, status: 'failed', reason: 'Task lost', code: 'TASK_LOST', statusCode: 500, retryable: false })
  t.strictSame(results, completed(100).map((result, index) => types[index] === 'poison' ? lost(`t${index}`) : result))
  t.ok(deaths >= 4, 'it was tried again')
})

t.test('20,000 tasks have 20,000 results although every event is lost', { skip }, async t => {
  const server = await startRedisServer()
  t.teardown(() => server.close())
  const engine = await openEngine(t, server)
  const redis = server.client()
  const timer = setInterval(async () => {
    await redis.xtrim('test:tasks:events', 'MAXLEN', 0).catch(() => {})
    await redis.client('KILL', 'TYPE', 'pubsub').catch(() => {})
  }, 20)
  t.teardown(() => clearInterval(timer))
  await spawnWorker(t, server, { maxRunning: 64 })
  const batch = batchOf(repeat(20_000, 'echo'))

  await engine.submit(batch)
  t.strictSame(await resultsOf(t, engine, batch, 300_000), completed(20_000))
})

t.test('a web process that is killed midway: the batch is still at its Location', { skip }, async t => {
  const server = await startRedisServer()
  t.teardown(() => server.close())
  await spawnWorker(t, server, { maxRunning: 1 })
  const first = await spawnServer(t, server, { worker: false })

  const { status, location } = await submit(first.said, 500)
  t.equal(status, 202)
  await first.kill()
  const second = await spawnServer(t, server, { worker: false })
  const during = await read(second.said, location)
  t.equal(during.status, 202)
  t.match(during.body.summary, { total: 500 })
  await spawnWorker(t, server, { maxRunning: 64 })
  await waitFor('the end of the batch', async () => (await read(second.said, location)).status === 207)

  t.strictSame((await read(second.said, location)).body, { tasks: completed(500) })
})

t.test('two web processes run one batch, and both answer for it', { skip }, async t => {
  const server = await startRedisServer()
  t.teardown(() => server.close())
  const [one, other] = await Promise.all([spawnServer(t, server), spawnServer(t, server)])

  const { location } = await submit(one.said, 500)
  t.equal((await read(other.said, location)).status, 202)
  await waitFor('the end of the batch', async () => (await read(other.said, location)).status === 207)

  const answers = await Promise.all([read(one.said, location), read(other.said, location)])
  t.strictSame(answers[0], { status: 207, body: { tasks: completed(500) } })
  t.strictSame(answers[1], answers[0])
})

async function submit (port: unknown, count: number) {
  const response = await fetch(`http://127.0.0.1:${port}/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'respond-async' },
    body: JSON.stringify({ tasks: batchOf(repeat(count, 'sleep')).tasks.map(({ task }) => task) })
  })
  await response.arrayBuffer()
  return { status: response.status, location: response.headers.get('location')! }
}

async function read (port: unknown, location: string) {
  const response = await fetch(new URL(location, `http://127.0.0.1:${port}`))
  return { status: response.status, body: await response.json() as { summary?: object } }
}
