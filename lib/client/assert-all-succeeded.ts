// For callers to whom a part of a batch is no success.
import type { FailureOf, FailureOptions, ResultOf, StatusOf, SuccessOf } from './body.js'
import { PartialFailureError } from './errors.js'
import { partition } from './partition.js'

/**
 * Returns the results of a body in which every item succeeded.
 * @throws PartialFailureError, which lists what failed, when any item did not
 * @throws TypeError when the body has no array of results, or several arrays
 * @example const [{ contactId }] = assertAllSucceeded(body)
 */
export function assertAllSucceeded<B extends object, const W extends StatusOf<ResultOf<B>> = never> (
  body: B, options: FailureOptions<W> = {}
): SuccessOf<ResultOf<B>, W>[] {
  const { succeeded, failed } = partition(body, options)
  if (failed[0]) throw new PartialFailureError<FailureOf<ResultOf<B>, W>, SuccessOf<ResultOf<B>, W>>(failed, succeeded)
  return succeeded
}
