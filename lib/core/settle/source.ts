// Reads items one at a time from an array, an iterable or an async iterable.
import { InvalidOption } from '../../errors.js'
import { show } from './options.js'

/** An item and its place, or what the source threw where the item should have been. */
export type Taken<T> =
  { readonly index: number, readonly item: T, readonly thrown?: undefined } |
  { readonly index: number, readonly thrown: { readonly error: unknown } }

/** Where items come from. */
export interface Source<T> {
  /** How many items there are; Infinity where that is not known. */
  readonly size: number
  /** The next item, or undefined when there is none. */
  take (): Taken<T> | undefined | Promise<Taken<T> | undefined>
  /** Gives up on items that are still to come. Those already there can be taken. */
  close (): void
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when there is nothing to iterate */
export function openSource<T> (items: Iterable<T> | AsyncIterable<T>): Source<T> {
  if (Array.isArray(items)) return fromArray(items)
  if (isIterable<AsyncIterable<T>>(items, Symbol.asyncIterator)) return fromAsync(items)
  if (isIterable<Iterable<T>>(items, Symbol.iterator)) return fromIterable(items)
  throw new InvalidOption('items', 'an array, an iterable or an async iterable', show(items))
}

function isIterable<I> (items: unknown, method: symbol): items is I {
  return typeof (items as Record<symbol, unknown> | null | undefined)?.[method] === 'function'
}

function fromArray<T> (items: readonly T[]): Source<T> {
  let next = 0
  return {
    size: items.length,
    take () {
      if (next >= items.length) return undefined
      const index = next++
      return { index, item: items[index]! }
    },
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
        return { index: count++, thrown: { error } }
      }
    },
    close () {}
  }
}

type Answer<T> = (taken: Taken<T> | undefined) => void

function fromAsync<T> (items: AsyncIterable<T>): Source<T> {
  const iterator = items[Symbol.asyncIterator]()
  const waiting = new Set<Answer<T>>()
  let count = 0
  let done = false

  /**
   * Answers at once when an item has come, so that none is lost between here and who waits for it. Who has been
   * answered by close() hears nothing of it.
   */
  async function read (answer: Answer<T>): Promise<void> {
    if (done) return answer(undefined)
    try {
      const next = await iterator.next()
      if (!next.done) return answer({ index: count++, item: next.value })
      done = true
      answer(undefined)
    } catch (error) {
      done = true
      answer({ index: count++, thrown: { error } })
    }
  }

  // One read at a time, because an iterator of one's own may not keep the order of reads that overlap.
  let last = Promise.resolve()
  return {
    size: Infinity,
    take () {
      // Not behind the last read: that of a source which has been closed may never end.
      if (done) return undefined
      return new Promise(resolve => {
        const answer: Answer<T> = taken => {
          waiting.delete(answer)
          resolve(taken)
        }
        waiting.add(answer)
        last = last.then(() => read(answer))
      })
    },
    close () {
      if (done) return
      done = true
      for (const answer of waiting) answer(undefined)
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
