// Tells the results that worked from those that did not.
import { isFailure, resultsOf, type FailureOf, type FailureOptions, type ResultOf, type StatusOf, type SuccessOf } from './body.js'

/** Results by what became of their items, each list in the order of the body. */
export interface Partition<R, W = never> {
  succeeded: SuccessOf<R, W>[]
  failed: FailureOf<R, W>[]
  /** Those of `failed` that can succeed when they are sent again. */
  retryable: FailureOf<R, W>[]
}

/**
 * Parts the results of a body, typed by its union.
 * @param body any multi-status body, or a bare array of results
 * @throws TypeError when it has no array of results, or several arrays
 * @example
 *   const { succeeded, failed } = partition(await response.json() as ContactsBody, { failure: 'rejected' })
 *   for (const { email, message } of failed) console.warn(email, message)
 */
export function partition<B extends object, const W extends StatusOf<ResultOf<B>> = never> (
  body: B, { failure }: FailureOptions<W> = {}
): Partition<ResultOf<B>, W> {
  const results = resultsOf(body)
  const failed = results.filter(result => isFailure(result, failure))
  return {
    succeeded: results.filter(result => !isFailure(result, failure)),
    failed,
    retryable: failed.filter(result => (result as { retryable?: unknown }).retryable === true)
  } as unknown as Partition<ResultOf<B>, W>
}
