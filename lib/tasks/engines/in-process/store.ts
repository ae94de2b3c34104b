// Stores the batches of this process, within limits of number, bytes and time.
import { StoreFull } from '../../../errors.js'

/** What can be kept. */
export interface Keepable {
  readonly batchId: string
  /** How much memory it takes; the store counts it. */
  bytes: number
  /** Whether somebody has had its results, so that it may go when room is needed. */
  isRead: boolean
}

/** Batches by id, and the ids of those that were there. */
export interface Store<T extends Keepable> {
  /** Adds a batch, at the cost of finished ones that have been read. @throws StoreFull when that makes no room */
  add (one: T): void
  get (batchId: string): T | 'expired' | undefined
  /** Lets a batch grow, at the same cost; false when there is no room for that. */
  grow (one: T, bytes: number): boolean
  /** The batch has ended: it shrinks by so many bytes, and has only its time to live from now on. */
  finish (one: T, bytes: number): void
  remove (batchId: string): void
  /** Expires nothing any more. */
  close (): void
}

/** The bounds of a store. */
export interface StoreOptions {
  readonly maxBatches: number
  readonly maxBytes: number
  /** Milliseconds from the end of a batch on. */
  readonly ttl: number
}

/** How many ids of expired batches are remembered. */
const REMEMBERED = 10_000

export function createStore<T extends Keepable> ({ maxBatches, maxBytes, ttl }: StoreOptions): Store<T> {
  const shelf = createShelf<T>(maxBatches, maxBytes)
  const expiries = createExpiries(ttl, expire)
  const expired = new Set<string>()

  function remove (batchId: string): void {
    shelf.remove(batchId)
    expiries.remove(batchId)
  }

  function expire (batchId: string): void {
    remove(batchId)
    expired.add(batchId)
    if (expired.size > REMEMBERED) expired.delete(first(expired)!)
  }

  /** Forgets batches that have been read, the oldest first, until there is room. */
  function makeRoom (batches: number, bytes: number): boolean {
    if (shelf.hasRoom(batches, bytes)) return true
    for (const batchId of expiries.ids()) {
      if (shelf.get(batchId)!.isRead) expire(batchId)
      if (shelf.hasRoom(batches, bytes)) return true
    }
    return false
  }

  return {
    add (one) {
      if (!makeRoom(1, one.bytes)) throw new StoreFull(`at most ${maxBatches} batches and ${maxBytes} bytes are kept`)
      shelf.put(one)
    },
    get: batchId => shelf.get(batchId) ?? (expired.has(batchId) ? 'expired' : undefined),
    grow (one, bytes) {
      const hasRoom = makeRoom(0, bytes)
      if (hasRoom) shelf.resize(one, bytes)
      return hasRoom
    },
    finish (one, bytes) {
      shelf.resize(one, -bytes)
      expiries.add(one.batchId)
    },
    remove,
    close: expiries.close
  }
}

/** When each finished batch expires, by a clock that nobody sets; as all have the same time to live, the first one is the next. */
function createExpiries (ttl: number, expire: (batchId: string) => void) {
  const expiries = new Map<string, number>()
  let timer: NodeJS.Timeout | undefined

  function schedule (): void {
    const next = first(expiries.values())
    if (next === undefined || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      for (const [batchId, end] of [...expiries]) if (end <= performance.now()) expire(batchId)
      schedule()
    }, Math.max(1, next - performance.now()))
    timer.unref()
  }
  return {
    /** The oldest first. */
    ids: () => [...expiries.keys()],
    add (batchId: string): void {
      expiries.set(batchId, performance.now() + ttl)
      schedule()
    },
    remove: (batchId: string) => { expiries.delete(batchId) },
    close (): void {
      clearTimeout(timer)
      expiries.clear()
    }
  }
}

/** What is kept, and how much room it takes. */
function createShelf<T extends Keepable> (maxBatches: number, maxBytes: number) {
  const entries = new Map<string, T>()
  let used = 0
  return {
    get: (batchId: string) => entries.get(batchId),
    hasRoom: (batches: number, bytes: number) => entries.size + batches <= maxBatches && used + bytes <= maxBytes,
    put (one: T): void {
      entries.set(one.batchId, one)
      used += one.bytes
    },
    resize (one: T, bytes: number): void {
      one.bytes += bytes
      used += bytes
    },
    remove (batchId: string): void {
      used -= entries.get(batchId)?.bytes ?? 0
      entries.delete(batchId)
    }
  }
}

function first<T> (values: Iterable<T>): T | undefined {
  return values[Symbol.iterator]().next().value
}
