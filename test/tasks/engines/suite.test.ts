// Runs the conformance checks for engines on each engine.
import t from 'tap'
import type { EngineHost, TaskEngine } from '../../../lib/index.js'
import { engineChecks } from '../../../lib/tasks/engines/suite/index.js'
import { bullmq } from '../../../lib/tasks/engines/bullmq/index.js'
import { inProcess } from '../../../lib/tasks/engines/in-process/engine.js'
import { hasRedisServer, startRedisServer } from '../../fixtures/redis-server.js'
import { skipUnless } from '../../fixtures/skip.js'

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

for (const [name, open] of Object.entries({ inProcess, bullmq: () => bullmq({ connection: 'redis://127.0.0.1:1' }) })) {
  t.test(`${name} that has not been started cannot be reached, and can be closed`, async t => {
    const engine = open()
    await t.rejects(engine.find('a'), { code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE', message: /has not been started/ })
    await engine.close(0)
  })
}

t.test('an engine without notifications passes when it has a poll interval', async t => {
  const { open, ofSameBatches } = deaf({ pollInterval: 5 })
  const checks = engineChecks.filter(({ name }) => name.includes(' notification'))
  t.equal(checks.length, 2)
  for (const { run } of checks) await run({ open, openPeer: ofSameBatches })
})

t.test('the checks find an engine that never notifies', async t => {
  const { open } = deaf({ results: async () => undefined })
  const check = engineChecks.find(({ name }) => name.startsWith('each task has its result'))!
  await t.rejects(check.run({ open }), { code: 'ERR_ASSERTION', message: 'waited 20000 ms in vain until the batch has its results' })
})

/** Engines that give no hints, and how another process would open the last of them. */
function deaf (more: Partial<TaskEngine>) {
  let last: TaskEngine
  const open = async (host: EngineHost) => {
    last = { ...inProcess(), watch: () => () => {}, ...more }
    await last.start!(host)
    return last
  }
  return { open, ofSameBatches: async () => ({ ...last, close: async () => {} }) }
}

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
