// Does something again and again, but never twice at a time.

/** @returns what ends it */
export function every (ms: number, run: () => Promise<unknown>): () => void {
  let isRunning = false
  const timer = setInterval(async () => {
    if (isRunning) return
    isRunning = true
    // Without Redis there is nothing to do; the next time comes soon.
    await run().catch(() => {})
    isRunning = false
  }, ms)
  return () => clearInterval(timer)
}
