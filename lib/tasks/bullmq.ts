// Exports only: the entry point for several machines, which needs bullmq and ioredis.
export { bullmq } from './bullmq/engine.js'
export { createWorker } from './bullmq/standalone.js'
export type { BullmqOptions, WorkerOptions } from './bullmq/options.js'
export type { TaskWorker } from './bullmq/worker.js'
