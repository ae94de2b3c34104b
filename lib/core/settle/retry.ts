// Decides whether a failed item is tried again, and after how long.
import { isItemError } from '../../errors.js'
import type { SettleOptions } from './options.js'

/** Milliseconds. */
const MAX_DELAY = 30_000

/**
 * Full jitter: the delay is a random part of the doubled backoff, so that items which failed together do not come back
 * together. An ItemError may say itself whether a retry is of use, and when.
 * @param reason what the item failed with
 * @param attempt how many attempts there have been
 * @returns milliseconds before the next attempt; undefined when there is none
 */
export function retryDelay (reason: unknown, attempt: number, { retries = 0, backoff = 100 }: Pick<SettleOptions, 'retries' | 'backoff'>): number | undefined {
  if (attempt > retries || (isItemError(reason) && !reason.retryable)) return undefined
  if (isItemError(reason) && reason.retryAfter !== undefined) return Math.min(reason.retryAfter * 1000, MAX_DELAY)
  return Math.random() * Math.min(backoff * 2 ** (attempt - 1), MAX_DELAY)
}
