// The example of CPU-bound tasks in worker threads.
import t from 'tap'
import { createCpuTasks } from '../../examples/cpu-tasks.js'
import { build } from '../fixtures/build.js'

t.test('stops a task that never ends, and reuses its thread', async t => {
  const { options, close } = createCpuTasks(1)
  t.teardown(close)
  const app = await build(t, { plugin: { tasks: options } })
  const primes = (taskId: number) => ({ taskId, type: 'countPrimes', payload: { below: 100_000 } })

  const response = await app.inject({
    method: 'POST', url: '/tasks', payload: { tasks: [primes(1), { taskId: 2, type: 'spin' }, primes(3), primes(4)] }
  })

  const completed = (taskId: number) => ({ taskId, status: 'completed', output: 9592 })
  t.strictSame(response.json().tasks, [
    completed(1),
    { taskId: 2, status: 'failed', reason: 'Timeout', code: 'TIMEOUT', statusCode: 504, retryable: true },
    completed(3),
    completed(4)
  ])
})
