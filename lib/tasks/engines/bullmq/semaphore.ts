// A semaphore with two modes: many holders at a time, or a single one.

/** Call the function that `acquire` gives once, to release. */
export interface Semaphore {
  /** @param alone whether to be the only holder; while such a caller waits, later callers wait behind it */
  acquire (alone: boolean): Promise<() => void> | (() => void)
}

export function createSemaphore (): Semaphore {
  const queue: { readonly alone: boolean, readonly resolve: (release: () => void) => void }[] = []
  let holders = 0
  let isExclusive = false

  const fits = (alone: boolean) => alone ? holders === 0 : !isExclusive

  function grant (alone: boolean): () => void {
    holders++
    isExclusive = alone
    return () => {
      holders--
      isExclusive = false
      while (queue.length > 0 && fits(queue[0]!.alone)) {
        const { alone, resolve } = queue.shift()!
        resolve(grant(alone))
      }
    }
  }

  return {
    acquire (alone) {
      if (queue.length === 0 && fits(alone)) return grant(alone)
      return new Promise(resolve => queue.push({ alone, resolve }))
    }
  }
}
