// What a body is made of: its one array of results, and which of them have failed.

/** The words for a failure in the contracts that come with the package. */
type BuiltInFailure = 'failed' | 'error'

/** A result of which no more is known than that it is one. */
export interface AnyResult { status: string, [member: string]: unknown }

/** A body of which no more is known than that it has results. */
export type AnyBody = Record<string, AnyResult[]>

/** The union of the results in a body, under whatever envelope; also of a bare array of results. */
export type ResultOf<B> = B extends readonly (infer R)[] ? R
  : { [M in keyof B]: NonNullable<B[M]> extends readonly (infer R)[] ? R : never }[keyof B]

/** Every `status` that results can have. */
export type StatusOf<R> = R extends { status: infer S extends string } ? S : never

/**
 * Which of the words S of a result R mean failure: W where it is given; else those of the built-in contracts; else all
 * of them where R has `retryable`, as every failure of a contract and no success.
 */
type FailureWords<R, S, W> = [W] extends [never]
  ? [Extract<S, BuiltInFailure>] extends [never] ? 'retryable' extends keyof R ? S : never : Extract<S, BuiltInFailure>
  : Extract<S, W>

/** Whether a `status` can be anything, so that the type tells nothing. */
type IsOpen<S> = string extends S ? true : number extends S ? true : false

/** The failures in a union of results, with W as their `status` where it is given. */
export type FailureOf<R, W = never> = R extends { status: infer S }
  ? IsOpen<S> extends true ? R : [FailureWords<R, S, W>] extends [never] ? never : R
  : R

/** The successes in a union of results, which are all but the failures. */
export type SuccessOf<R, W = never> = R extends { status: infer S }
  ? IsOpen<S> extends true ? R : [Exclude<S, FailureWords<R, S, W>>] extends [never] ? never : R
  : R

/** How failures are told from successes. */
export interface FailureOptions<W extends string = string> {
  /**
   * The `status` of a failure.
   * @default `failed` and `error`, a number from 400, and any other beside a `statusCode` from 400 with `code` or
   *   `retryable`, as every failure has that the server's plugin made
   */
  failure?: W
}

/** What a failure has beside its key, its status and its reason. */
interface FailureMembers { status?: unknown, statusCode?: number, code?: unknown, retryable?: unknown, retryAfter?: unknown }

/** @throws TypeError when the body has no array of results, or several arrays */
export function resultsOf<B extends object> (body: B): ResultOf<B>[] {
  const arrays = [body, ...Object.values(body)].filter<ResultOf<B>[]>(Array.isArray)
  if (arrays.length === 1) return arrays[0]!
  throw new TypeError(`Expected a body with one array; received ${JSON.stringify(body).slice(0, 300)}`)
}

/** Whether a result is that of an item that failed. */
export function isFailure (result: unknown, word?: string): boolean {
  const { status, statusCode, code, retryable } = result as FailureMembers
  if (word) return status === word
  if (typeof status === 'number') return status >= 400
  return status === 'failed' || status === 'error' || (statusCode! >= 400 && (code ?? retryable) != null)
}

/** The member of a result that is its key: the first one, as the server writes it, but for a stream's `index`. */
export function keyNameOf (result: unknown): string | undefined {
  return Object.keys(result as object).find(name => name !== 'index' && name !== 'status')
}
