// Many small calls as few large ones: what comes while one is on its way goes with the next.
import { setImmediate } from 'node:timers'

/** Sends entries of one batch together. @returns one answer for each, in order */
export type Send<T, R> = (batchId: string, entries: readonly T[]) => Promise<readonly R[]>

interface Call<T, R> {
  readonly entry: T
  resolve (answer: R): void
  reject (error: unknown): void
}

/** Entries of one call, at most: Redis does nothing else meanwhile. */
const MOST = 500

/** Makes a function that sends one entry, and gives its answer. */
export function createBundler<T, R> (send: Send<T, R>): (batchId: string, entry: T) => Promise<R> {
  const waiting = new Map<string, Call<T, R>[]>()

  async function drain (batchId: string, calls: Call<T, R>[]): Promise<void> {
    while (calls.length > 0) await sendSome(batchId, calls.splice(0, MOST))
    waiting.delete(batchId)
  }

  async function sendSome (batchId: string, calls: readonly Call<T, R>[]): Promise<void> {
    try {
      const answers = await send(batchId, calls.map(({ entry }) => entry))
      calls.forEach(({ resolve }, place) => resolve(answers[place]!))
    } catch (error) {
      for (const { reject } of calls) reject(error)
    }
  }

  return (batchId, entry) => new Promise((resolve, reject) => {
    const call = { entry, resolve, reject }
    const calls = waiting.get(batchId)
    if (calls !== undefined) return calls.push(call)
    const first = [call]
    waiting.set(batchId, first)
    setImmediate(() => drain(batchId, first))
  })
}
