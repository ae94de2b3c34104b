// Exports only.
export { batchFetch, type BatchFetchOptions, type Fetch } from './batch-fetch.js'
