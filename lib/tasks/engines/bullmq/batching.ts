// Many small calls as few large ones: what comes in one turn of the event loop goes together, some at a time.
import { setImmediate } from 'node:timers'

/** Sends entries of one batch together. @returns one answer for each, in order */
export type Send<T, R> = (batchId: string, entries: readonly T[]) => Promise<readonly R[]>

interface Call<T, R> {
  readonly entry: T
  resolve (answer: R): void
  reject (error: unknown): void
}

/** Entries of one call, at most. With more, Redis would have nothing to do while this process makes them, and the reverse. */
const MOST = 16

/** Makes a function that sends one entry, and gives its answer. */
export function createBundler<T, R> (send: Send<T, R>): (batchId: string, entry: T) => Promise<R> {
  const waiting = new Map<string, Call<T, R>[]>()

  function drain (batchId: string, calls: readonly Call<T, R>[]): void {
    // They may have gone already, because they were as many as go together.
    if (waiting.get(batchId) !== calls) return
    waiting.delete(batchId)
    sendSome(batchId, calls)
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
    if (calls === undefined) {
      const first = [call]
      waiting.set(batchId, first)
      setImmediate(() => drain(batchId, first))
      return
    }
    calls.push(call)
    if (calls.length === MOST) drain(batchId, calls)
  })
}
