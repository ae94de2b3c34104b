// Those who wait for the same thing.

/** Promises that are resolved together. */
export interface Waiters {
  /** Resolves when they are woken next. */
  wait (): Promise<void>
  wake (): void
}

export function createWaiters (): Waiters {
  let waiting: (() => void)[] = []
  return {
    wait: () => new Promise(resolve => { waiting.push(resolve) }),
    wake () {
      const woken = waiting
      waiting = []
      for (const resolve of woken) resolve()
    }
  }
}
