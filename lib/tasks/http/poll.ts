// Looking at a batch until it has what is waited for: engines give hints, looking gives the truth.
import { isUnavailable } from '../../errors.js'
import type { TaskEngine } from '../engine.js'

const POLL_INTERVAL = 1_000

/** What to look at, and how long. */
export interface LookOptions {
  readonly engine: Pick<TaskEngine, 'watch' | 'pollInterval'>
  readonly batchId: string
  /** Which hints are worth a look. */
  readonly what: 'result' | 'end'
  /** Milliseconds after which to give up; Infinity for never. */
  readonly ms: number
  /** Ends the waiting. */
  readonly signal?: AbortSignal
}

/**
 * Looks at once, after each hint, and from time to time in any case, also at an engine that cannot be reached for a while.
 * @returns what `look` has given, or undefined when the time is up or the signal has aborted before it gave anything
 */
export async function lookUntil<T> (look: () => Promise<T | undefined>, options: LookOptions): Promise<T | undefined> {
  const { engine, batchId, what, ms, signal } = options
  // Not by the time of day, which can be set.
  const end = performance.now() + ms
  const bell = createBell()
  const unwatch = engine.watch(batchId, what, bell.ring)
  signal?.addEventListener('abort', bell.ring)
  try {
    while (!signal?.aborted) {
      const found = await lookOnce(look)
      if (found !== undefined) return found
      const left = end - performance.now()
      if (left <= 0) break
      await bell.rings(Math.min(left, engine.pollInterval ?? POLL_INTERVAL))
    }
    return undefined
  } finally {
    signal?.removeEventListener('abort', bell.ring)
    unwatch()
  }
}

async function lookOnce<T> (look: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await look()
  } catch (error) {
    if (isUnavailable(error)) return undefined
    throw error
  }
}

interface Bell {
  ring (): void
  /** Resolves when it has rung since last asked, and after this many milliseconds in any case. */
  rings (ms: number): Promise<void>
}

function createBell (): Bell {
  let hasRung = false
  let answer: (() => void) | undefined
  return {
    ring () {
      hasRung = true
      answer?.()
    },
    async rings (ms) {
      if (!hasRung) {
        let timer: NodeJS.Timeout | undefined
        await new Promise<void>(resolve => {
          answer = resolve
          timer = setTimeout(resolve, ms)
        })
        clearTimeout(timer)
        answer = undefined
      }
      hasRung = false
    }
  }
}
