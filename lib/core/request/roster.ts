// What is in progress.

/**
 * Things that come and go, in no order. A Set would be renewed every few things, and one that is old itself would keep
 * all that was in the new ones alive until the next full collection, which made a busy server a fifth slower.
 */
export interface Roster<T> {
  /** @returns what removes it again, once */
  add (one: T): () => void
  /** Those that are there now. */
  all (): T[]
}

export function createRoster<T> (): Roster<T> {
  const entries: { readonly one: T, place: number }[] = []
  return {
    add (one) {
      const entry = { one, place: entries.length }
      entries.push(entry)
      return () => {
        const last = entries.pop()!
        if (last === entry) return
        entries[entry.place] = last
        last.place = entry.place
      }
    },
    all: () => entries.map(({ one }) => one)
  }
}
