// Keeps answers in the memory of this process: for one process, and as long as it lives.
import { Type, type Static } from '@sinclair/typebox'
import { integer, optional, readOptions } from '../options.js'
import type { Held, IdempotencyStore } from './store.js'

/** How much is kept. */
export const MemoryIdempotencyOptions = Type.Object({
  /** How many keys are kept. @default 10000 */
  maxEntries: optional(integer(1), { default: 10_000 }),
  /** Bytes of all answers that are kept. @default 67108864 */
  maxBytes: optional(integer(1), { default: 64 * 1024 * 1024 })
})
export type MemoryIdempotencyOptions = Static<typeof MemoryIdempotencyOptions>

interface Entry extends Held {
  /** undefined once there is an answer. */
  readonly token?: string
  readonly bytes: number
  /** By a clock that nobody sets: a key must not be free while its request runs. */
  readonly expires: number
}

/**
 * Makes a store in memory. When it is full the oldest answers go first, before their time, so size it for what comes
 * within the `ttl`; requests that are running are never forgotten.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when an option is not what it should be
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

/** What is kept, within its bounds. */
function createEntries (maxEntries: number, maxBytes: number) {
  /** The oldest first. */
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
