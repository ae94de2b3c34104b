// Exports only.
export type { BackoffOptions as Persistence } from './backoff.js'
export { batchFetch, type BatchFetchOptions, type Fetch } from './batch-fetch.js'
export { PartialFailureError, ResponseError, StreamCutError } from './errors.js'
export { readStream, type Summary } from './read-stream.js'
export {
  assertAllSucceeded, partition,
  type AnyBody, type AnyResult, type FailureOf, type FailureOptions, type Partition, type ResultOf, type StatusOf, type SuccessOf
} from './results.js'
export { retryFailed, type Attempt, type RetryOptions, type Send } from './retry-failed.js'
export { watchBatch, type BatchEvent, type BatchSummary, type WatchOptions } from './watch-batch.js'
