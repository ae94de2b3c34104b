// Polls a batch until it has what a request waits for. Notifications only make the next poll come sooner.
import { isUnavailable } from '../../errors.js'
import type { TaskEngine } from '../engine.js'

const POLL_INTERVAL = 1_000

/** What to poll, and for how long. */
export interface PollOptions {
  readonly engine: Pick<TaskEngine, 'watch' | 'pollInterval'>
  readonly batchId: string
  /** Which notifications cause a poll. */
  readonly what: 'result' | 'end'
  /** Milliseconds after which to give up; Infinity for never. */
  readonly ms: number
  /** Ends the polling. */
  readonly signal?: AbortSignal
}

/**
 * Polls at once, after each notification, and once per poll interval. It goes on while the engine cannot be reached.
 * @returns the first value that `poll` gives, or undefined if the time is up or the signal aborts before
 */
export async function pollUntil<T> (poll: () => Promise<T | undefined>, options: PollOptions): Promise<T | undefined> {
  const { engine, batchId, what, ms, signal } = options
  // A monotonic clock, because the time of day can be set.
  const end = performance.now() + ms
  const notifier = createNotifier()
  const unwatch = engine.watch(batchId, what, notifier.notify)
  signal?.addEventListener('abort', notifier.notify)
  try {
    while (!signal?.aborted) {
      const found = await pollOnce(poll)
      if (found !== undefined) return found
      const left = end - performance.now()
      if (left <= 0) break
      await notifier.wait(Math.min(left, engine.pollInterval ?? POLL_INTERVAL))
    }
    return undefined
  } finally {
    signal?.removeEventListener('abort', notifier.notify)
    unwatch()
  }
}

async function pollOnce<T> (poll: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await poll()
  } catch (error) {
    if (isUnavailable(error)) return undefined
    throw error
  }
}

interface Notifier {
  notify (): void
  /** Resolves at the next notification, at once if one has come since the last wait, and after `ms` milliseconds at the latest. */
  wait (ms: number): Promise<void>
}

function createNotifier (): Notifier {
  let isNotified = false
  let wake: (() => void) | undefined
  return {
    notify () {
      isNotified = true
      wake?.()
    },
    async wait (ms) {
      if (!isNotified) {
        let timer: NodeJS.Timeout | undefined
        await new Promise<void>(resolve => {
          wake = resolve
          timer = setTimeout(resolve, ms)
        })
        clearTimeout(timer)
        wake = undefined
      }
      isNotified = false
    }
  }
}
