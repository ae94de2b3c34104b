// Retries requests with exponential backoff.

/** Milliseconds. A timer of 2 ** 31 ms or more would fire at once. */
const MAX_TIMEOUT = 2e9

/** Resolves after `ms` milliseconds; rejects with the signal's reason when it aborts. */
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

/** The `Retry-After` of a response in milliseconds (RFC 9110 section 10.2.3); 0 without one. */
export function readRetryAfter (response?: Response): number {
  const value = response?.headers.get('retry-after')
  return Math.max(0, Number(value) * 1000 || Date.parse(value!) - Date.now()) || 0
}

/** How to retry a request that got no results. */
export interface BackoffOptions {
  /** The most requests to send. @default 6 */
  maxAttempts?: number
  /** Milliseconds before the second request, doubled for each further one. The delay is a random part of it. @default 500 */
  backoff?: number
  /** The longest delay in milliseconds. If the server asks for a longer one, nothing more is sent. @default 60000 */
  maxDelay?: number
  /** Ends the delay and the request; the call then rejects with its reason. */
  signal?: AbortSignal
}

/** Where the errors of HTTP clients keep their status. */
interface RequestError { status?: number, statusCode?: number, response?: Response }

/**
 * Waits as long as the server asks to, but at least for a random delay, so that clients which failed together do not
 * retry together.
 * @param asked milliseconds that the server asks to wait
 * @param tries how many requests have been sent
 * @returns false, without waiting, if no more requests may be sent
 */
export async function backOff (
  asked: number, tries: number, { maxAttempts = 6, backoff = 500, maxDelay = 60_000, signal }: BackoffOptions
): Promise<boolean> {
  if (tries >= maxAttempts || asked > maxDelay) return false
  await sleep(Math.max(asked, Math.random() * Math.min(backoff * 2 ** (tries - 1), maxDelay)), signal)
  return true
}

/**
 * Calls `act` until it succeeds. Gives up on a status code that another attempt would get again.
 * @param tries how many requests have been sent before
 */
export async function retryWithBackoff<T> (
  act: () => Promise<T>, options: BackoffOptions, onError?: (error: unknown) => void, tries = 0
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
      if (isFinal || !await backOff(readRetryAfter(response), ++tries, options)) throw error
    }
  }
}
