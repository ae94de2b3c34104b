// The options of settle, and their checks.
import { inspect } from 'node:util'
import { InvalidOption } from '../../errors.js'

/** How items are run. */
export interface SettleOptions<T = unknown> {
  /** How many items run at a time. @default 16 */
  concurrency?: number
  /** Milliseconds that one attempt of an item may take, from when it starts; or what says so of an item. @default no limit */
  timeout?: number | ((item: T) => number | undefined)
  /** How often an item that failed is tried again, unless its ItemError says that it is not retryable. @default 0 */
  retries?: number
  /** Milliseconds before the first retry, doubled for each further one; the wait is a random part of it, at most 30 s. @default 100 */
  backoff?: number
  /** Ends the batch: what runs is cancelled, what has not started is not run. */
  signal?: AbortSignal
  /** After this many failures no further item starts. @default never */
  stopAfter?: number
}

/** Node fires a longer timer at once. */
const MAX_TIMEOUT = 2 ** 31 - 1

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function checkSettleOptions<T> (options: SettleOptions<T>): SettleOptions<T> {
  checkInteger('concurrency', options.concurrency, 1)
  checkInteger('retries', options.retries, 0)
  checkInteger('backoff', options.backoff, 0)
  checkInteger('stopAfter', options.stopAfter, 1)
  if (typeof options.timeout !== 'function') checkInteger('timeout', options.timeout, 1)
  return options
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is undefined or an integer from `min` to {@link MAX_TIMEOUT} */
export function checkInteger (name: string, value: unknown, min: number): void {
  if (value === undefined || (Number.isInteger(value) && (value as number) >= min && (value as number) <= MAX_TIMEOUT)) return
  throw new InvalidOption(name, `an integer from ${min} to ${MAX_TIMEOUT}`, show(value))
}

/** A value for an error message: short, and on one line. */
export function show (value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : inspect(value, { depth: 0 }).replace(/\s+/g, ' ')
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}
