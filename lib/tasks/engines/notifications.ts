// Who wants to hear that a batch may have changed.

/** What a hint is about: one more result, or the last one. */
export type HintKind = 'result' | 'end'

/** The watchers of batches. */
export interface Hints {
  /** @returns what ends it */
  watch (batchId: string, what: HintKind, onHint: () => void): () => void
  give (batchId: string, what: HintKind): void
}

type Watchers = Map<string, Set<() => void>>

export function createHints (): Hints {
  const watchers: Record<HintKind, Watchers> = { result: new Map(), end: new Map() }

  return {
    watch (batchId, what, onHint) {
      const ofBatch = watchers[what].get(batchId) ?? new Set()
      // Of its own, because one function may watch twice.
      const hear = () => onHint()
      watchers[what].set(batchId, ofBatch.add(hear))
      return () => {
        ofBatch.delete(hear)
        if (ofBatch.size === 0 && watchers[what].get(batchId) === ofBatch) watchers[what].delete(batchId)
      }
    },
    give (batchId, what) {
      if (watchers[what].size === 0) return
      for (const hear of watchers[what].get(batchId) ?? []) hear()
    }
  }
}
