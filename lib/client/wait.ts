// Waiting before the next try.

/** Milliseconds that no wait exceeds when nobody says otherwise. */
export const LONGEST = 60_000

/** A longer timer fires at once. */
const MAX_TIMEOUT = 2 ** 31 - 1

/** Resolves after a time; rejects with the signal's reason when it aborts. */
export function sleep (ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      if (signal?.aborted) reject(signal.reason)
      else resolve()
    }
    const timer = setTimeout(end, Math.min(ms, MAX_TIMEOUT))
    signal?.addEventListener('abort', end)
    if (signal?.aborted) end()
  })
}

/** Milliseconds that a response, if there is one, asks to wait (RFC 9110 section 10.2.3); 0 when it does not. */
export function readRetryAfter (response?: Response): number {
  const value = response?.headers.get('retry-after')
  const seconds = Number(value)
  return Math.max(0, Number.isNaN(seconds) ? Date.parse(value!) - Date.now() : seconds * 1000) || 0
}

/** How to go on after a request that brought nothing. */
export interface Persistence {
  /** How many requests are sent at most. @default 6 */
  maxAttempts?: number
  /** Milliseconds before the second request, doubled for each further one; the wait is a random part of it. @default 500 */
  backoff?: number
  /** Milliseconds that no wait exceeds; when the server asks for a longer one, no more is sent. @default 60000 */
  maxDelay?: number
  /** Ends the waiting and the request; what was called then rejects with its reason. */
  signal?: AbortSignal
}

/** As much of an error as is looked at, whichever client made it. */
interface RequestError { status?: number, statusCode?: number, response?: Response }

/** Waits as long as the server asks to, and long enough that clients which failed together do not come back together. */
export function pause (asked: number, tries: number, { backoff = 500, maxDelay = LONGEST, signal }: Persistence): Promise<void> {
  return sleep(Math.max(asked, Math.random() * Math.min(backoff * 2 ** (tries - 1), maxDelay)), signal)
}

/** Tries until it works, or fails with a status code that another try would bring again. */
export async function persist<T> (
  act: () => Promise<T>, options: Persistence, onError?: (error: unknown) => void
): Promise<T> {
  const { maxAttempts = 6, maxDelay = LONGEST, signal } = options
  let tries = 0
  while (true) {
    try {
      signal?.throwIfAborted()
      return await act()
    } catch (error) {
      signal?.throwIfAborted()
      tries++
      onError?.(error)
      const { response, status = response?.status, statusCode = status } = Object(error) as RequestError
      const wait = readRetryAfter(response)
      const isFinal = statusCode! < 500 && ![408, 409, 425, 429].includes(statusCode!)
      if (isFinal || tries >= maxAttempts || wait > maxDelay) throw error
      await pause(wait, tries, options)
    }
  }
}
