// The example of a worker in a process of its own: it runs the tasks of a web process, and goes when it is told to.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { hasRedisServer, startRedisServer } from '../fixtures/redis-server.js'
import { nodeArgs } from '../fixtures/root.js'
import { skipUnless } from '../fixtures/skip.js'
import { batchOf, openEngine, resultsOf } from '../fixtures/task-processes.js'

const skip = skipUnless(await hasRedisServer(), 'redis-server')

t.test('a worker process runs the tasks of a web process, and ends when it is told to', { skip }, async t => {
  const server = await startRedisServer()
  t.teardown(() => server.close())
  const engine = await openEngine(t, server, { prefix: 'multi-status' })
  const batch = batchOf(['echo', 'unknown', 'echo'])
  await engine.submit(batch)

  const child = spawn(process.execPath, nodeArgs('examples/worker.ts'), {
    stdio: 'ignore', env: { PATH: process.env.PATH, REDIS_URL: `redis://127.0.0.1:${server.port}` }
  })
  t.teardown(() => child.kill('SIGKILL'))

  t.match(await resultsOf(t, engine, batch), [
    { status: 'completed', output: 0 }, { status: 'failed', code: 'NOT_RUN' }, { status: 'completed', output: 2 }
  ])
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  t.strictSame(await exited, [0, null])
})
