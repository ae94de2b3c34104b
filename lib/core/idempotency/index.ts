// Exports only.
export { memoryIdempotency, type MemoryIdempotencyOptions } from './memory.js'
export type { IdempotencyOptions } from './options.js'
export type { Answer as IdempotencyAnswer, Claim as IdempotencyClaim, Held as IdempotencyHeld, IdempotencyStore } from './store.js'
