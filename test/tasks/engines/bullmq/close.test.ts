// A closed BullMQ engine or worker leaves no timer, socket or listener, whatever happened to Redis.
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { EngineHost } from '../../../../lib/index.js'
import { bullmq, createWorker } from '../../../../lib/tasks/engines/bullmq/index.js'
import { createTaskRunner } from '../../../../lib/tasks/run-task.js'
import { hasRedisServer, startRedisServer, type RedisServer } from '../../../fixtures/redis-server.js'
import { skipUnless } from '../../../fixtures/skip.js'
import { batchOf, repeat, SHORT, silent } from '../../../fixtures/task-processes.js'
import { freePort, waitFor } from '../../../fixtures/wait.js'

const skip = skipUnless(await hasRedisServer(), 'redis-server')

/** What keeps this process alive, of what a connection or a timer would. */
const held = () => process.getActiveResourcesInfo().filter(name => /^(Timeout|TCPSocket|ConnectWrap|TLS|GetAddrInfo)/.test(name))

/** Waits for what the start of Redis leaves for a moment. */
const isQuiet = () => waitFor('nothing to be held', () => held().length === 0)

/** Lets connections be made, and says nothing. */
async function startMute (t: Test, port: number): Promise<Set<Socket>> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => { sockets.add(socket.on('error', () => {})) }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return sockets
}

/** An engine and a worker at one Redis, whose tasks never end. */
function openBoth (connection: RedisServer['connection']) {
  let runs = 0
  const handlers = { hang: { handler: () => { runs++; return new Promise(() => {}) } } }
  const host: EngineHost = {
    runTask: createTaskRunner({ handlers, timeout: 30_000, retries: 0 }),
    limits: { concurrency: 16, maxRunning: 2, maxQueued: 100, ttl: 60_000 },
    log: silent
  }
  const engine = bullmq({ ...SHORT, connection })
  const worker = createWorker({ ...SHORT, handlers, maxRunning: 2, connection, log: silent })
  return {
    start: () => engine.start!(host),
    async run (count: number) {
      await engine.submit(batchOf(repeat(count, 'hang')))
      await waitFor('all to run', () => runs === count)
    },
    async close (t: Test) {
      const start = performance.now()
      await Promise.all([engine.close(0), worker.close(0)])
      t.comment(`closed in ${Math.round(performance.now() - start)} ms`)
    }
  }
}

async function openWithRedis (t: Test, count: number) {
  const server = await startRedisServer()
  t.teardown(() => server.close())
  await isQuiet()
  const both = openBoth(server.connection)
  await both.start()
  await both.run(count)
  return { server, ...both }
}

const FATES: Record<string, (server: RedisServer) => unknown> = {
  lives: () => {},
  'dies at that moment': server => server.kill(),
  hangs: server => server.pause(),
  'has died, and connections wait to be made again': async server => {
    await server.kill()
    await waitFor('no connection', () => !held().some(name => name.startsWith('TCP')))
  }
}

for (const [fate, befall] of Object.entries(FATES)) {
  for (const count of [0, 4]) {
    t.test(`nothing is left, with ${count} tasks running, when Redis ${fate}`, { skip }, async t => {
      const { server, close } = await openWithRedis(t, count)

      await befall(server)
      await close(t)

      t.strictSame(held(), [])
    })
  }
}

t.test('closes completely when the server at Redis\'s address does not answer', { skip }, async t => {
  const { server, close } = await openWithRedis(t, 1)

  await server.kill()
  const sockets = await startMute(t, server.port)
  await waitFor('all to connect again', () => sockets.size >= 6)
  await close(t)

  t.notOk(held().includes('Timeout'))
  for (const socket of sockets) socket.resume()
  await waitFor('all to be ended', () => held().length === 0)
})

t.test('closes completely when Redis was never there', async t => {
  await isQuiet()
  const both = openBoth({ host: '127.0.0.1', port: await freePort() })
  await both.start()

  await both.close(t)

  t.strictSame(held(), [])
})
