// Every engine does what an engine must, by the same checks.
import t from 'tap'
import type { EngineHost } from '../lib/index.js'
import { engineChecks } from '../lib/tasks/engine-suite.js'
import { bullmq } from '../lib/tasks/bullmq.js'
import { inProcess } from '../lib/tasks/memory.js'
import { hasRedisServer, startRedisServer } from './fixtures/redis-server.js'
import { skipUnless } from './fixtures/skip.js'

t.test('inProcess', async t => {
  for (const { name, run } of engineChecks) {
    await t.test(name, () => run({
      async open (host) {
        const engine = inProcess()
        await engine.start!(host)
        return engine
      }
    }))
  }
})

const skip = skipUnless(await hasRedisServer(), 'redis-server')

t.test('bullmq', { skip }, async t => {
  const redis = await startRedisServer()
  t.teardown(() => redis.close())
  let opened = 0
  for (const { name, run } of engineChecks) {
    const start = async (host: EngineHost) => {
      const engine = bullmq({ connection: redis.connection, prefix: `check-${opened}`, lockDuration: 2_000 })
      await engine.start!(host)
      return engine
    }
    await t.test(name, () => run({
      open (host) {
        opened++
        return start(host)
      },
      openPeer: start
    }))
  }
})
