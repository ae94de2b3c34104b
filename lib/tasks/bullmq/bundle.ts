// Many small calls as few large ones: what comes in one turn of the event loop goes together.
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

  function drain (batchId: string, calls: Call<T, R>[]): void {
    waiting.delete(batchId)
    // Not one after another: Redis would have nothing to do while this process deals with the answer, and the reverse.
    while (calls.length > 0) sendSome(batchId, calls.splice(0, MOST))
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
