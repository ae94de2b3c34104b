// Those who wait for the same thing.

/** Promises that are resolved together. */
export interface Waiters<T> {
  /** Resolves, with what they are told, when they are woken next. */
  wait (): Promise<T>
  wake (told: T): void
  /** Whether anybody waits. */
  isAwaited (): boolean
}

export function createWaiters<T = void> (): Waiters<T> {
  let waiting: ((told: T) => void)[] = []
  return {
    wait: () => new Promise(resolve => { waiting.push(resolve) }),
    wake (told) {
      if (waiting.length === 0) return
      const woken = waiting
      waiting = []
      for (const resolve of woken) resolve(told)
    },
    isAwaited: () => waiting.length > 0
  }
}
