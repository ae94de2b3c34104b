// When an item that failed is tried again.
import { isItemError } from '../../errors.js'

const MAX_DELAY = 30_000

/** Whether it is any use: an ItemError says so itself, of anything else it is not known. */
export function isRetryable (reason: unknown): boolean {
  return !isItemError(reason) || reason.retryable
}

/**
 * Milliseconds before the next attempt. Full jitter: anything up to the doubled delay, so that items which failed
 * together do not come back together.
 * @param attempt how many there have been
 * @param backoff milliseconds before the second attempt, at most
 */
export function delayAfter (attempt: number, reason: unknown, backoff = 100): number {
  if (isItemError(reason) && reason.retryAfter !== undefined) return Math.min(reason.retryAfter * 1000, MAX_DELAY)
  return Math.random() * Math.min(backoff * 2 ** (attempt - 1), MAX_DELAY)
}
