// Runs an asynchronous function at an interval, never twice at a time.

/** @returns a function that stops it */
export function every (ms: number, run: () => Promise<unknown>): () => void {
  let isRunning = false
  const timer = setInterval(async () => {
    if (isRunning) return
    isRunning = true
    // Without Redis there is nothing to do. The next run comes soon.
    await run().catch(() => {})
    isRunning = false
  }, ms)
  return () => clearInterval(timer)
}
