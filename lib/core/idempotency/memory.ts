// Stores idempotent answers in the memory of this process.
import { Type, type Static } from '@sinclair/typebox'
import { integer, optional, readOptions } from '../options.js'
import type { Held, IdempotencyStore } from './store.js'

/** The options of `memoryIdempotency`. */
export const MemoryIdempotencyOptions = Type.Object({
  /** The most keys to store. @default 10000 */
  maxEntries: optional(integer(1), { default: 10_000 }),
  /** The most bytes of answers to store. @default 67108864 */
  maxBytes: optional(integer(1), { default: 64 * 1024 * 1024 })
})
export type MemoryIdempotencyOptions = Static<typeof MemoryIdempotencyOptions>

interface Entry extends Held {
  /** The token of the claim; undefined once there is an answer. */
  readonly token?: string
  readonly bytes: number
  /** In the time of `performance.now()`, which no change of the system clock moves. */
  readonly expires: number
}

/**
 * Creates a store in memory, for an app with one process. When it is full, it drops the oldest answers before their
 * `ttl`, so choose limits for the requests of one `ttl`. It never drops the claim of a running request.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for an invalid option
 * @example idempotency: { store: memoryIdempotency({ maxEntries: 100_000 }) }
 */
export function memoryIdempotency (options: MemoryIdempotencyOptions = {}): IdempotencyStore {
  const { maxEntries, maxBytes } = readOptions('memoryIdempotency', MemoryIdempotencyOptions, options)
  const entries = createEntries(maxEntries, maxBytes)

  return {
    async claim (key, { token, fingerprint }, ttl) {
      const held = entries.find(key)
      if (held !== undefined) return { fingerprint: held.fingerprint, ...(held.answer !== undefined && { answer: held.answer }) }
      entries.put(key, { token, fingerprint, bytes: 0 }, ttl)
    },
    async renew (key, token, ttl) {
      const held = entries.find(key)
      if (held?.token !== token) return false
      entries.renew(key, held, ttl)
      return true
    },
    async complete (key, { token, fingerprint }, answer, ttl) {
      const held = entries.find(key)
      if (held !== undefined && held.token !== token) return false
      const size = answer.body?.length ?? 0
      if (size > maxBytes) throw new Error(`The store takes ${maxBytes} bytes; this answer has ${size}`)
      entries.put(key, { fingerprint, answer, bytes: size }, ttl)
      return true
    },
    async release (key, token) {
      if (entries.find(key)?.token === token) entries.remove(key)
    }
  }
}

/** The entries of the store, within its limits. */
function createEntries (maxEntries: number, maxBytes: number) {
  /** Ordered by age, oldest first. */
  const entries = new Map<string, Entry>()
  let bytes = 0

  const remove = (key: string) => {
    bytes -= entries.get(key)?.bytes ?? 0
    entries.delete(key)
  }
  const makeRoom = (size: number) => {
    for (const [key, { answer, expires }] of entries) {
      if (entries.size < maxEntries && bytes + size <= maxBytes) return
      if (answer !== undefined || expires <= performance.now()) remove(key)
    }
    if (entries.size >= maxEntries) throw new Error(`The store takes ${maxEntries} keys, and under all of them a request is running`)
  }
  return {
    remove,
    find (key: string): Entry | undefined {
      const entry = entries.get(key)
      if (entry === undefined || entry.expires > performance.now()) return entry
      remove(key)
    },
    put (key: string, entry: Omit<Entry, 'expires'>, ttl: number): void {
      remove(key)
      makeRoom(entry.bytes)
      entries.set(key, { ...entry, expires: performance.now() + ttl })
      bytes += entry.bytes
    },
    renew (key: string, entry: Entry, ttl: number): void {
      entries.set(key, { ...entry, expires: performance.now() + ttl })
    }
  }
}
