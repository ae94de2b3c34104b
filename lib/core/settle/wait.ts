// Waits for a promise, but not forever.

/** Waits until the promise resolves, but no longer than `ms` milliseconds. @throws what the promise rejects with (as a rejection) */
export async function waitAtMost (promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([promise, new Promise(resolve => { timer = setTimeout(resolve, ms) })])
  clearTimeout(timer)
}
