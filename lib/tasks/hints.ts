// Who wants to hear that a batch may have changed.

/** What a hint is about: one more result, or the last one. */
export type HintKind = 'result' | 'end'

/** The watchers of batches, by id. */
export interface Hints {
  /** @returns what ends it */
  watch (batchId: string, what: HintKind, onHint: () => void): () => void
  give (batchId: string, what: HintKind): void
}

export function createHints (): Hints {
  const watchers = new Map<string, Set<() => void>>()
  const nameOf = (batchId: string, what: HintKind) => `${what} ${batchId}`

  return {
    watch (batchId, what, onHint) {
      const name = nameOf(batchId, what)
      // Of its own, because one function may watch twice.
      const hear = () => onHint()
      const hearers = watchers.get(name) ?? new Set()
      watchers.set(name, hearers.add(hear))
      return () => {
        hearers.delete(hear)
        if (hearers.size === 0 && watchers.get(name) === hearers) watchers.delete(name)
      }
    },
    give (batchId, what) {
      if (watchers.size === 0) return
      for (const hear of watchers.get(nameOf(batchId, what)) ?? []) hear()
    }
  }
}
