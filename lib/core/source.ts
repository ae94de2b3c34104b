// Hands out items one at a time, numbered, from anything that can be iterated.

/** An item and its place, or the error that the source threw where the item should have been. */
export type Taken<T> = { index: number, item: T } | { index: number, error: unknown }

/** Where items come from. */
export interface Source<T> {
  /** How many items there are; Infinity where that is not known. */
  readonly size: number
  /** The next item, or undefined when there is none. */
  take (): Taken<T> | undefined | Promise<Taken<T> | undefined>
  /** Gives up on items that are still to come. Those already there can be taken. */
  close (): void
}

export function openSource<T> (items: Iterable<T> | AsyncIterable<T>): Source<T> {
  if (Array.isArray(items)) return fromArray(items)
  return Symbol.asyncIterator in items ? fromAsync(items) : fromIterable(items)
}

function fromArray<T> (items: readonly T[]): Source<T> {
  let count = 0
  return {
    size: items.length,
    take: () => count < items.length ? { index: count, item: items[count++] as T } : undefined,
    close () {}
  }
}

function fromIterable<T> (items: Iterable<T>): Source<T> {
  const iterator = items[Symbol.iterator]()
  let count = 0
  let done = false
  return {
    size: Infinity,
    take () {
      if (done) return undefined
      try {
        const next = iterator.next()
        if (!next.done) return { index: count++, item: next.value }
        done = true
      } catch (error) {
        done = true
        return { index: count++, error }
      }
    },
    close () {}
  }
}

function fromAsync<T> (items: AsyncIterable<T>): Source<T> {
  const iterator = items[Symbol.asyncIterator]()
  const waiting = new Set<() => void>()
  let count = 0
  let done = false

  async function read (): Promise<Taken<T> | undefined> {
    if (done) return undefined
    try {
      const next = await iterator.next()
      // Closed meanwhile: nobody waits for this item any more.
      if (done) return undefined
      if (!next.done) return { index: count++, item: next.value }
      done = true
    } catch (error) {
      if (done) return undefined
      done = true
      return { index: count++, error }
    }
  }

  // One read at a time, because an iterator of one's own may not keep the order of reads that overlap.
  let last: Promise<Taken<T> | undefined> = Promise.resolve(undefined)
  return {
    size: Infinity,
    take () {
      const next = last = last.then(read)
      return new Promise(resolve => {
        const giveUp = () => resolve(undefined)
        waiting.add(giveUp)
        next.then(taken => {
          waiting.delete(giveUp)
          resolve(taken)
        })
      })
    },
    close () {
      if (done) return
      done = true
      for (const giveUp of waiting) giveUp()
      closeIterator(iterator)
    }
  }
}

/** Not awaited: an iterator that hangs in next() queues the return behind it. What it throws concerns no item. */
async function closeIterator (iterator: AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.()
  } catch {}
}
