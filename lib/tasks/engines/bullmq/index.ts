// Exports only: the entry point for several machines, which needs bullmq and ioredis.
// Here as well, so that it is this one that is said to be missing where both are: Node names the one that it comes to first.
import 'ioredis'
export { bullmq } from './engine.js'
export { createWorker } from './standalone.js'
export type { BullmqOptions, WorkerOptions } from './options.js'
export type { TaskWorker } from './worker.js'
