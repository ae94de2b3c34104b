// Exports only.
export { assertAllSucceeded } from './assert-all-succeeded.js'
export type { AnyBody, AnyResult, FailureOf, FailureOptions, ResultOf, StatusOf, SuccessOf } from './body.js'
export { PartialFailureError, ResponseError, StreamCutError } from './errors.js'
export { partition, type Partition } from './partition.js'
export { readStream, type Summary } from './read-stream.js'
export { retryFailed, type Attempt, type RetryOptions, type Send } from './retry-failed.js'
export type { Persistence } from './wait.js'
export { watchBatch, type BatchEvent, type BatchSummary, type WatchOptions } from './watch-batch.js'
