// Exports only: the entry point for several machines, which needs bullmq and ioredis.
// Here as well, so that it is this one that is said to be missing where both are: Node names the one that it comes to first.
import 'ioredis'
export { bullmq } from './bullmq/engine.js'
export { createWorker } from './bullmq/standalone.js'
export type { BullmqOptions, WorkerOptions } from './bullmq/options.js'
export type { TaskWorker } from './bullmq/worker.js'
