// Notifies watchers that a batch may have changed.

/** What a notification is about: one more result, or the end of the batch. */
export type NotificationKind = 'result' | 'end'

/** The watchers of batches in this process. */
export interface Notifications {
  /** @returns a function that ends the watching */
  watch (batchId: string, what: NotificationKind, onNotification: () => void): () => void
  notify (batchId: string, what: NotificationKind): void
}

type Watchers = Map<string, Set<() => void>>

export function createNotifications (): Notifications {
  const watchers: Record<NotificationKind, Watchers> = { result: new Map(), end: new Map() }

  return {
    watch (batchId, what, onNotification) {
      const ofBatch = watchers[what].get(batchId) ?? new Set()
      // A new function each time, because one callback may watch twice.
      const watcher = () => onNotification()
      watchers[what].set(batchId, ofBatch.add(watcher))
      return () => {
        ofBatch.delete(watcher)
        if (ofBatch.size === 0 && watchers[what].get(batchId) === ofBatch) watchers[what].delete(batchId)
      }
    },
    notify (batchId, what) {
      for (const watcher of watchers[what].get(batchId) ?? []) watcher()
    }
  }
}
