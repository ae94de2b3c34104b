// Tasks that keep a processor busy: in threads of their own, where even `while (true)` can be stopped.
import { availableParallelism } from 'node:os'
import { Type } from '@sinclair/typebox'
import { Piscina } from 'piscina'
import { defineTask, type TasksOptions } from '../lib/index.js'

const filename = new URL('./cpu-worker.js', import.meta.url).href

/**
 * A pool of threads, and the options of tasks that run in it. No more tasks run at a time than there are threads: one
 * that waited for a thread would have its time run already.
 */
export function createCpuTasks (threads = availableParallelism()): { options: TasksOptions, close: () => Promise<void> } {
  const pool = new Piscina({ filename, minThreads: threads, maxThreads: threads })
  const handlers = {
    countPrimes: defineTask({
      payload: Type.Object({ below: Type.Integer({ minimum: 2, maximum: 10_000_000 }) }),
      output: Type.Integer(),
      timeout: 10_000,
      // The signal ends the thread when the time is up or the task is cancelled; the pool starts another one.
      handler: ({ below }, { signal }) => pool.run(below, { name: 'countPrimes', signal })
    }),
    spin: defineTask({
      timeout: 500,
      handler: (_, { signal }) => pool.run(undefined, { name: 'spin', signal })
    })
  }
  return { options: { handlers, maxRunning: threads }, close: () => pool.destroy() }
}
