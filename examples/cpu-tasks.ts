// Runs CPU-bound tasks in worker threads, where a timeout can stop even `while (true)`.
import { availableParallelism } from 'node:os'
import { Type } from '@sinclair/typebox'
import { Piscina } from 'piscina'
import { defineTask, type TasksOptions } from '../lib/index.js'

const filename = new URL('./cpu-worker.js', import.meta.url).href

/**
 * Creates a pool of threads, and the options of tasks that run in it. At most as many tasks run as there are threads,
 * because the timeout of a task that waits for a thread would already count.
 */
export function createCpuTasks (threads = availableParallelism()): { options: TasksOptions, close: () => Promise<void> } {
  const pool = new Piscina({ filename, minThreads: threads, maxThreads: threads })
  const handlers = {
    countPrimes: defineTask({
      payload: Type.Object({ below: Type.Integer({ minimum: 2, maximum: 10_000_000 }) }),
      output: Type.Integer(),
      timeout: 10_000,
      // On a timeout or cancellation the signal ends the thread, and the pool starts another one.
      handler: ({ below }, { signal }) => pool.run(below, { name: 'countPrimes', signal })
    }),
    spin: defineTask({
      timeout: 500,
      handler: (_, { signal }) => pool.run(undefined, { name: 'spin', signal })
    })
  }
  return { options: { handlers, maxRunning: threads }, close: () => pool.destroy() }
}
