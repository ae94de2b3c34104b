// Waiting before the next try.

/** A timer of 2 ** 31 ms or more fires at once. */
const MAX_TIMEOUT = 2e9

/** Resolves after a time; rejects with the signal's reason when it aborts. */
export async function sleep (ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  await new Promise<void>(resolve => {
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, Math.min(ms, MAX_TIMEOUT))
    signal?.addEventListener('abort', end)
  })
  signal?.throwIfAborted()
}

/** Milliseconds that a response, if there is one, asks to wait (RFC 9110 section 10.2.3); 0 when it does not. */
export function readRetryAfter (response?: Response): number {
  const value = response?.headers.get('retry-after')
  return Math.max(0, Number(value) * 1000 || Date.parse(value!) - Date.now()) || 0
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

/**
 * Waits as long as the server asks to, and long enough that clients which failed together do not come back together.
 * @param asked milliseconds that the server asks to wait
 * @param tries how many requests have been sent
 * @returns whether another one may be sent; when not, there was no wait
 */
export async function pause (
  asked: number, tries: number, { maxAttempts = 6, backoff = 500, maxDelay = 60_000, signal }: Persistence
): Promise<boolean> {
  if (tries >= maxAttempts || asked > maxDelay) return false
  await sleep(Math.max(asked, Math.random() * Math.min(backoff * 2 ** (tries - 1), maxDelay)), signal)
  return true
}

/**
 * Tries until it works, or fails with a status code that another try would bring again.
 * @param tries how many requests have been sent before
 */
export async function persist<T> (
  act: () => Promise<T>, options: Persistence, onError?: (error: unknown) => void, tries = 0
): Promise<T> {
  const { signal } = options
  while (true) {
    try {
      signal?.throwIfAborted()
      return await act()
    } catch (error) {
      signal?.throwIfAborted()
      onError?.(error)
      const { response, status = response?.status, statusCode = status } = Object(error) as RequestError
      const isFinal = statusCode! < 500 && ![408, 409, 425, 429].includes(statusCode!)
      if (isFinal || !await pause(readRetryAfter(response), ++tries, options)) throw error
    }
  }
}
