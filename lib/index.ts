// Exports only.
export { fastifyMultiStatus, fastifyMultiStatus as default } from './plugin.js'
export type { FastifyMultiStatusOptions } from './options.js'
export { bulkRoute, type BulkRouteOptions, type HandlerResult, type ItemContext } from './core/bulk-route.js'
export type { Batch } from './core/items.js'
export type { MultiStatusOptions, Results, StatusPolicy } from './core/reply.js'
export { settle, type Outcome, type SettleOptions, type Worker, type WorkerContext } from './core/settle.js'
export { publishUnions, type DocsOptions } from './docs.js'
export { ItemError, toFailure, type ItemErrorOptions } from './errors.js'
export type {
  BatchInfo, BatchSummary, EngineHost, EngineLimits, NewBatch, PlacedResult, PlacedTask, SettledTask, TaskEngine
} from './tasks/engine.js'
export { inProcess, type InProcessOptions } from './tasks/memory.js'
export type { RunTask, Task, TaskAttempt, TaskEnd } from './tasks/run-task.js'
export { defineTask, type TaskContext, type TaskDefinition, type TasksOptions } from './tasks/options.js'
export { disk, type DiskOptions } from './upload/disk.js'
export type { UploadOptions } from './upload/options.js'
export type { FileInfo, Sink, Storage } from './upload/storage.js'
export * from '../schemas/index.js'
