// Sends the retryable items of a batch again, until all succeed or nothing more can.
import { backOff, retryWithBackoff, type BackoffOptions } from './backoff.js'
import { readJson } from './errors.js'
import { keyNameOf, partition, resultsOf, type AnyBody, type AnyResult, type FailureOptions, type ResultOf } from './results.js'

/** The second argument of `send`. */
export interface Attempt {
  /** 1 for the first request, 2 for the second, and so on. */
  readonly attempt: number
  /**
   * The value for the header `Idempotency-Key`. A request whose outcome is unknown, for example because the connection
   * was lost, is sent again under the same key. Other items get a new key.
   */
  readonly idempotencyKey: string
  /** The signal of the options, for `fetch`. */
  readonly signal?: AbortSignal
}

/** The options of `retryFailed`. */
export interface RetryOptions<R = unknown> extends FailureOptions, BackoffOptions {
  /** The name of the key in items and results. @default the first member of the results */
  key?: string
  /** Called after every attempt, for progress and logs, with the results so far and the error of an attempt that failed. */
  onAttempt? (attempt: number, results: R[] | undefined, error?: unknown): void
}

/** Sends items. Resolves with the body of the response, or with the response of `fetch` itself. */
export type Send<I, B> = (items: I[], attempt: Attempt) => Promise<B | Response>

/**
 * Sends items, then sends those again whose failure is retryable. It finds them by key, waits for their longest
 * `retryAfter`, and gives each subset an idempotency key of its own. A request without an answer, or answered 408, 409,
 * 425, 429 or 5xx, is sent again unchanged under the same key.
 *
 * Resolves with the last known result of every item, in the order of the items.
 * @param send see {@link Send}; an error it throws counts as a lost connection, unless the error has a `status`
 * @throws the error of the last attempt, when there are no results at all
 * @throws TypeError when the response holds no results
 * @example
 *   const results = await retryFailed((contacts, { idempotencyKey, signal }) => fetch('/contacts', {
 *     method: 'POST', signal, body: JSON.stringify(contacts),
 *     headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey }
 *   }), contacts, { key: 'email' })
 */
export async function retryFailed<I, B extends object = AnyBody> (
  send: Send<I, B>, items: readonly I[], options: RetryOptions<ResultOf<B>> = {}
): Promise<ResultOf<B>[]> {
  const { key, signal, onAttempt } = options
  let results: ResultOf<B>[] | undefined
  let pending = [...items]
  for (let attempt = 0; ;) {
    // 128 random bits. Unlike `crypto.randomUUID`, this also works on pages without TLS.
    const idempotencyKey = crypto.getRandomValues(new Uint32Array(4)).join('-')
    const act = async () => {
      const sent = await send(pending, { attempt: ++attempt, idempotencyKey, signal })
      return 'json' in sent ? readJson<B>(sent as Response) : sent as B
    }
    const body = await retryWithBackoff(act, options, error => onAttempt?.(attempt, results, error), attempt).catch(error => {
      if (!results || signal?.aborted) throw error
    })
    if (!body) return results!
    const latest = resultsOf<B>(body)
    if (latest.length !== pending.length) throw new TypeError(`Expected ${pending.length} results; received ${latest.length}`)
    const name = key ?? keyNameOf(latest[0])!
    // An item that is not an object is its own key, as the names in `["a.txt", "b.txt"]`.
    const keyOf = (one: unknown) => Object(one) === one ? (one as Record<string, unknown>)[name] : one
    const byKey = new Map(latest.map(result => [keyOf(result), result]))
    results = results?.map(result => byKey.get(keyOf(result)) ?? result) ?? latest
    onAttempt?.(attempt, results)
    const again = partition(results as AnyResult[], options).retryable
    // `again` stands for a missing key: it equals no item.
    const keys = new Set<unknown>(again.map(result => keyOf(result) ?? again))
    pending = items.filter(item => keys.has(keyOf(item)))
    const delay = again.reduce((longest, result) => Math.max(longest, Number(result.retryAfter) * 1000 || 0), 0)
    if (pending.length === 0 || !await backOff(delay, attempt, options)) return results
  }
}
