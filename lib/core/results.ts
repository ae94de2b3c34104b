// What a handler gives back -> one result per item, in request order, in the contract's words.
import type { FastifyBaseLogger } from 'fastify'
import type { AnyContract, FailureDetail, Key } from '../../schemas/index.js'
import { invalidResult, toFailure } from '../errors.js'
import type { Batch } from './items.js'
import { typeOf } from './item-validator.js'
import { logItemFailure } from './item-log.js'

type Outcome = PromiseSettledResult<unknown>

/**
 * Words outcomes as results; what is a result already stays as it is.
 * @param given results, or the outcomes of `settle` or `Promise.allSettled`
 * @param keys the key of each, where it is known
 */
export function wordResults (
  given: readonly unknown[], contract: AnyContract, keys: readonly (Key | null)[], log: FastifyBaseLogger
): unknown[] {
  return given.map((one, index) => {
    if (!isOutcome(one)) return one
    if (one.status === 'fulfilled') return wordSuccess(one.value, contract, keys[index] ?? null)
    const failure = toFailure(one.reason)
    logItemFailure(log, failure, one.reason, index, keys[index] ?? null)
    return contract.fail(keys[index] ?? null, failure)
  })
}

/**
 * A worker may return the whole result, what a success carries, or anything else, which a success then does without.
 * The key of the item wins over one in the value, because it is the client's.
 */
function wordSuccess (value: unknown, contract: AnyContract, key: Key | null): unknown {
  if (typeOf(value) !== 'object') return contract.succeed(key)
  const { toJSON, status, [contract.key]: own } = value as { toJSON?: unknown, status?: unknown, [key: string]: unknown }
  // A copy would lose the toJSON that makes sense of such an object, so it is left to the serializer to refuse it.
  if (typeof toJSON === 'function') return value
  const result = key === null || own === key ? value as object : { ...value as object, [contract.key]: key }
  return status === contract.failureWord ? result : contract.succeed(key, result)
}

/** Promise.allSettled's own objects have these two members and no third, so that a result with a reason is none. */
function isOutcome (one: unknown): one is Outcome {
  if (one === null || typeof one !== 'object') return false
  const { status } = one as Outcome
  if (status !== 'fulfilled' && status !== 'rejected') return false
  return (status === 'fulfilled' ? 'value' : 'reason') in one && Object.keys(one).length === 2
}

/**
 * Puts the results of the valid items and the failures of the invalid ones together, in request order.
 * A handler that gave its results in another order or number is matched by key; an item that it gave no result for
 * has failed with INVALID_RESULT.
 */
export function assembleResults (
  results: readonly unknown[], batch: Batch, contract: AnyContract, log: FastifyBaseLogger
): unknown[] {
  const aligned = alignResults(results, batch, contract, log)
  const assembled: unknown[] = []
  let next = 0
  for (let place = 0; place < batch.total; place++) {
    const failure = batch.invalid.get(place)
    assembled.push(failure === undefined ? aligned[next++] : contract.fail(batch.keys[place], failure))
  }
  return assembled
}

function alignResults (
  results: readonly unknown[], batch: Batch, contract: AnyContract, log: FastifyBaseLogger
): readonly unknown[] {
  const keys = batch.places.map(place => batch.keys[place]!)
  if (results.length === keys.length && results.every((one, index) => belongs(one, keys[index]!, contract.key))) return results

  const byKey = new Map(results.map(one => [readKey(one, contract.key), one]))
  log.error({ expected: keys.length, received: results.length },
    'results do not follow the items of the request, so they are matched by key')
  return keys.map(key => key !== null && byKey.has(key) ? byKey.get(key) : missing(contract, key))
}

/** Whether a result can be that of the item with this key: the keys agree, or one side has none. */
function belongs (result: unknown, key: Key | null, name: string): boolean {
  const own = readKey(result, name)
  return key === null || own === undefined || own === null || own === key
}

function readKey (result: unknown, name: string): unknown {
  return typeOf(result) === 'object' ? (result as Record<string, unknown>)[name] : undefined
}

function missing (contract: AnyContract, key: Key | null): object {
  const failure: FailureDetail = toFailure(invalidResult())
  return contract.fail(key, failure)
}

/** For `Prefer: return=minimal`: leaves of a success its key and status. */
export function minimizeResult (result: unknown, contract: AnyContract): unknown {
  if (typeOf(result) !== 'object') return result
  const { status, [contract.key]: key } = result as Record<string, unknown>
  return contract.successWords.includes(status as string) ? { [contract.key]: key, status } : result
}
