// Finds the results in a body, and separates those that succeeded from those that failed.
import { PartialFailureError } from './errors.js'

/** The words for a failure in the contracts that come with the package. */
type BuiltInFailure = 'failed' | 'error'

/** A result of an unknown contract. */
export interface AnyResult { status: string, [member: string]: unknown }

/** A body of an unknown contract. */
export type AnyBody = Record<string, AnyResult[]>

/** The union of the results in a body, whatever its envelope is called, or in a bare array of results. */
export type ResultOf<B> = B extends readonly (infer R)[] ? R
  : { [M in keyof B]: NonNullable<B[M]> extends readonly (infer R)[] ? R : never }[keyof B]

/** Every `status` that results can have. */
export type StatusOf<R> = R extends { status: infer S extends string } ? S : never

/**
 * Which words S of a result R mean failure: W if it is given; else the words of the built-in contracts; else all words
 * of an R that has `retryable`, because only failures have it.
 */
type FailureWords<R, S, W> = [W] extends [never]
  ? [Extract<S, BuiltInFailure>] extends [never] ? 'retryable' extends keyof R ? S : never : Extract<S, BuiltInFailure>
  : Extract<S, W>

/** Whether a `status` can be any string or number, so that its type says nothing. */
type IsOpen<S> = string extends S ? true : number extends S ? true : false

/** The failures in a union of results. W is their `status`, if it is given. */
export type FailureOf<R, W = never> = R extends { status: infer S }
  ? IsOpen<S> extends true ? R : [FailureWords<R, S, W>] extends [never] ? never : R
  : R

/** The successes in a union of results: all that are not failures. */
export type SuccessOf<R, W = never> = R extends { status: infer S }
  ? IsOpen<S> extends true ? R : [Exclude<S, FailureWords<R, S, W>>] extends [never] ? never : R
  : R

/** How to recognise a failure. */
export interface FailureOptions<W extends string = string> {
  /**
   * The `status` of a failure.
   * @default `failed`, `error`, or a number from 400; also any other word if the result has a `statusCode` from 400 and
   *   a `code` or `retryable`, as every failure made by the plugin has
   */
  failure?: W
}

/** The members by which a failure is recognised. */
interface FailureMembers { status?: unknown, statusCode?: number, code?: unknown, retryable?: unknown }

/**
 * Returns the one array of results in a body.
 * @throws TypeError when the body has no array, or several
 */
export function resultsOf<B extends object> (body: B): ResultOf<B>[] {
  const arrays = [body, ...Object.values(body)].filter<ResultOf<B>[]>(Array.isArray)
  if (arrays.length === 1) return arrays[0]!
  throw new TypeError(`Expected a body with one array; received ${JSON.stringify(body).slice(0, 300)}`)
}

/** Whether the item of a result failed. */
export function isFailure (result: unknown, word?: string): boolean {
  const { status, statusCode, code, retryable } = result as FailureMembers
  if (word) return status === word
  if (typeof status === 'number') return status >= 400
  return status === 'failed' || status === 'error' || (statusCode! >= 400 && (code ?? retryable) != null)
}

/** The name of the key of a result. The server writes the key first; only streams put `index` before it. */
export function keyNameOf (result: unknown): string | undefined {
  return Object.keys(result as object).find(name => name !== 'index' && name !== 'status')
}

/** Results by outcome. Each list is in the order of the body. */
export interface Partition<R, W = never> {
  succeeded: SuccessOf<R, W>[]
  failed: FailureOf<R, W>[]
  /** The members of `failed` that can succeed when they are sent again. */
  retryable: FailureOf<R, W>[]
}

/**
 * Separates the results of a body into successes and failures, typed by its union.
 * @param body any multi-status body, or a bare array of results
 * @throws TypeError when the body has no array of results, or several arrays
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

/**
 * Returns the results of a body in which every item succeeded.
 * @throws PartialFailureError, which lists the failures, when any item failed
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
