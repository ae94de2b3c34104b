// A worker process that runs the tasks of web processes whose engine is `bullmq({ connection, worker: false })`.
//   REDIS_URL (redis://127.0.0.1:6379), MAX_RUNNING (256)
import { createWorker } from '../lib/tasks/engines/bullmq/index.js'
import { handlers } from './tasks.js'

const worker = createWorker({
  handlers,
  connection: process.env.REDIS_URL || 'redis://127.0.0.1:6379',
  maxRunning: Number(process.env.MAX_RUNNING || 256)
})
console.log('Waiting for tasks')
// Tasks that have not ended by then run again in another worker.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => worker.close(10_000))
