// Sends what can still succeed again, until all did or it is no use.
import { keyNameOf, resultsOf, type AnyBody, type AnyResult, type FailureOptions, type ResultOf } from './body.js'
import { readJson } from './errors.js'
import { partition } from './partition.js'
import { pause, persist, type Persistence } from './wait.js'

/** What `send` is told beside its items. */
export interface Attempt {
  /** 1 at first, one more for each further request. */
  readonly attempt: number
  /**
   * For the header `Idempotency-Key`. It stays the same while it is not known what became of a request, as when the
   * connection was lost, and is a new one for other items.
   */
  readonly idempotencyKey: string
  /** The signal of the options, for `fetch`. */
  readonly signal?: AbortSignal
}

/** How `retryFailed` goes on. */
export interface RetryOptions<R = unknown> extends FailureOptions, Persistence {
  /** The member of an item, and of its result, that is its key. @default the first member of the results */
  key?: string
  /** Called with what is known after every attempt, for progress and logs: the results so far, and an error that brought none. */
  onAttempt? (attempt: number, results: R[] | undefined, error?: unknown): void
}

/** Sends items and resolves with the body of the answer, or with the answer itself as `fetch` gives it. */
export type Send<I, B> = (items: I[], attempt: Attempt) => Promise<B | Response>

/**
 * Sends items, then again those that failed and are retryable, as long as the server gives hope: by key and never by
 * position, not before the longest `retryAfter` of them, and each subset under an idempotency key of its own. A request
 * of which no answer came, or which was answered 408, 409, 425, 429 or 5xx, is sent again as it was and under the same key.
 *
 * Resolves with one result per item in the order of the items, each the last that is known of it.
 * @param send see {@link Send}; what it throws counts as a lost connection, unless it has a `status` that says otherwise
 * @throws what the last attempt ran into, when there are no results at all
 * @throws TypeError when the answer holds no results
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
    // 128 random bits; unlike `crypto.randomUUID` also on pages without TLS.
    const idempotencyKey = crypto.getRandomValues(new Uint32Array(4)).join('-')
    const act = async () => {
      const sent = await send(pending, { attempt: ++attempt, idempotencyKey, signal })
      return 'json' in sent ? readJson<B>(sent as Response) : sent as B
    }
    const body = await persist(act, options, error => onAttempt?.(attempt, results, error), attempt).catch(error => {
      if (!results || signal?.aborted) throw error
    })
    if (!body) return results!
    const latest = resultsOf<B>(body)
    if (latest.length !== pending.length) throw new TypeError(`Expected ${pending.length} results; received ${latest.length}`)
    const name = key ?? keyNameOf(latest[0])!
    // One that is no object is its own key, as the names in `["a.txt", "b.txt"]`.
    const keyOf = (one: unknown) => Object(one) === one ? (one as Record<string, unknown>)[name] : one
    const byKey = new Map(latest.map(result => [keyOf(result), result]))
    results = results?.map(result => byKey.get(keyOf(result)) ?? result) ?? latest
    onAttempt?.(attempt, results)
    const again = partition(results as AnyResult[], options).retryable
    // An item without a key belongs to none of them.
    const keys = new Set<unknown>(again.map(result => keyOf(result) ?? again))
    pending = items.filter(item => keys.has(keyOf(item)))
    const wait = again.reduce((longest, result) => Math.max(longest, Number(result.retryAfter) * 1000 || 0), 0)
    if (pending.length === 0 || !await pause(wait, attempt, options)) return results
  }
}
