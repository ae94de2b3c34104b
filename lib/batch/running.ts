// The requests of one batch that are on their way.

/** What can be ended before its answer is there. */
export interface Traveller {
  /** Its time is up. */
  expire (): void
  /** Nobody waits for it any more. */
  stop (): void
}

/** Ends what is on its way too long, or all of it. */
export interface Running {
  add (one: Traveller): void
  delete (one: Traveller): void
  /** As if the client of each had gone, so that what a route has begun can stop. */
  stopAll (): void
}

/**
 * One timer serves all of them, because most need none, and those that began first are over first.
 * @param timeout milliseconds for each
 */
export function watchRunning (timeout: number): Running {
  const ends = new Map<Traveller, number>()
  let timer: NodeJS.Timeout | undefined

  function endLate (): void {
    timer = undefined
    for (const [one, end] of ends) {
      const left = end - performance.now()
      if (left > 0) return lookIn(left)
      one.expire()
    }
  }

  function lookIn (ms: number): void {
    timer = setTimeout(endLate, Math.ceil(ms))
  }

  return {
    add (one) {
      ends.set(one, performance.now() + timeout)
      if (timer === undefined) lookIn(timeout)
    },
    delete (one) {
      ends.delete(one)
      if (ends.size > 0) return
      clearTimeout(timer)
      timer = undefined
    },
    stopAll () { for (const one of ends.keys()) one.stop() }
  }
}
