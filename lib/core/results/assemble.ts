// Makes one result for each item of what a handler returns: in request order, in the words of the contract.
import { setImmediate } from 'node:timers/promises'
import type { AnyContract, Key } from '../../../schemas/index.js'
import { invalidResult, toFailure } from '../../errors.js'
import type { Batch } from '../items/batch.js'
import { typeOf } from '../items/validator.js'
import { hasToJson } from './branch.js'
import { recordFailure, type FailureLogger } from './failure-log.js'

type Outcome = PromiseSettledResult<unknown>

/** The items that results are for, as far as they are known. */
export interface Items {
  /** The key of each, in order. */
  readonly keys: readonly (Key | null)[]
  /** The place of each in the request, where it is not the same as here. */
  readonly places?: readonly number[]
}

/**
 * Words outcomes as results; what is a result already stays as it is.
 * @param given results, or the outcomes of `settle` or `Promise.allSettled`
 * @param items what each of them is for
 */
export function formatResults (given: readonly unknown[], contract: AnyContract, items: Items, logger: FailureLogger): unknown[] {
  const word = formatterOf(contract, items, logger)
  // Not map, which would leave holes as they are and make another of whatever kind of array it is given.
  const worded = new Array<unknown>(given.length)
  for (let index = 0; index < given.length; index++) worded[index] = word(given[index], index)
  return worded
}

/** As many are worded in some milliseconds. */
const SOME = 10_000

/** Does what {@link formatResults} does, and lets others have their turn of the event loop in between. */
export async function formatInSlices (given: readonly unknown[], contract: AnyContract, items: Items, logger: FailureLogger): Promise<unknown[]> {
  const word = formatterOf(contract, items, logger)
  const worded = new Array<unknown>(given.length)
  for (let index = 0; index < given.length; index++) {
    worded[index] = word(given[index], index)
    if (index % SOME === SOME - 1) await setImmediate()
  }
  return worded
}

function formatterOf (contract: AnyContract, { keys, places }: Items, logger: FailureLogger): (one: unknown, index: number) => unknown {
  return (one, index) => formatOne(one, contract, keys[index] ?? null, places?.[index] ?? index, logger)
}

/** Whether so many are to be worded in turns. */
export function areMany (given: readonly unknown[]): boolean {
  return given.length > SOME
}

/** Words one outcome, where it is one. */
function formatOne (one: unknown, contract: AnyContract, key: Key | null, place: number, logger: FailureLogger): unknown {
  return mayBeOutcome(one) ? formatOutcome(one, contract, key, place, logger) : one
}

/** Words one outcome; what cannot be read is left as it is, for the serializer to refuse. */
export function formatOutcome (outcome: Outcome, contract: AnyContract, key: Key | null, place: number, logger: FailureLogger): unknown {
  try {
    // An error that is returned, as by `catch(error => error)`, is none the less one.
    if (outcome.status === 'fulfilled' && !(outcome.value instanceof Error)) return formatSuccess(outcome.value, contract, key)
    const reason: unknown = outcome.status === 'fulfilled' ? outcome.value : outcome.reason
    const failure = toFailure(reason)
    recordFailure(logger, failure, reason, place, key)
    return contract.fail(key, failure)
  } catch {
    return outcome
  }
}

/**
 * Whether results are in the order of their items. A result that is not worded any more has to have the client's key; the
 * outcomes of workers are taken to follow the items, unless all keys in their values are of items, each once, and in
 * another order: if only one is not, they are of their own, as a database gives them.
 */
export function followItems (given: readonly unknown[], keys: readonly (Key | null)[], name: string): boolean {
  let known: Set<unknown> | undefined
  let isMoved = false
  for (let index = 0; index < given.length; index++) {
    const own = readKey(given[index], name)
    const key = keys[index] ?? null
    if (own === null || own === key) continue
    known ??= new Set(keys)
    if (mayBeOutcome(given[index])) isMoved = true
    else if (key !== null || known.has(own)) return false
  }
  return !isMoved || !haveOnly(given, known!, name)
}

/** Whether all keys that they have are among these, each once. */
function haveOnly (given: readonly unknown[], keys: ReadonlySet<unknown>, name: string): boolean {
  const own = given.map(one => readKey(one, name)).filter(key => key !== null)
  return new Set(own).size === own.length && own.every(key => keys.has(key))
}

/**
 * A worker may return the whole result, what a success carries, or anything else, which a success then does without.
 * The key of the item wins over one in the value, because it is the client's.
 */
function formatSuccess (value: unknown, contract: AnyContract, key: Key | null): unknown {
  if (hasToJson(value)) return formatSuccess(value.toJSON(), contract, key)
  if (typeOf(value) !== 'object') return contract.succeed(key)
  const members = membersOf(value as object, contract)
  const { status, [contract.key]: own } = members as { status?: unknown, [key: string]: unknown }
  // Copied only where it must be, as there may be many.
  const keyed = key === null || own === key || (own === undefined && status !== contract.failureWord)
  const result = keyed ? members : { ...members, [contract.key]: key }
  return status === contract.failureWord ? result : contract.succeed(key, result)
}

/** An object of a class has members that a copy of it would lose, as those that the class computes. */
function membersOf (value: object, { schemas: { successes, failure } }: AnyContract): object {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return value
  const declared = [...successes, failure].flatMap(({ properties }) => Object.keys(properties as object))
  const computed = declared.filter(name => name in value && !(name in Object.prototype))
  return { ...value, ...Object.fromEntries(computed.map(name => [name, (value as Record<string, unknown>)[name]])) }
}

/** Promise.allSettled's own objects have these two members and no third, so that a result with a reason is none. */
function isOutcome (one: unknown): one is Outcome {
  if (one === null || typeof one !== 'object') return false
  const { status } = one as Outcome
  if (status !== 'fulfilled' && status !== 'rejected') return false
  return (status === 'fulfilled' ? 'value' : 'reason') in one && Object.keys(one).length === 2
}

/** The same of what may throw when it is looked at, as a revoked proxy does. */
function mayBeOutcome (one: unknown): one is Outcome {
  try {
    return isOutcome(one)
  } catch {
    return false
  }
}

/**
 * Puts the results of the valid items and the failures of the invalid ones together, in request order.
 * Results in another order or number are matched by key; an item without a result has failed with INVALID_RESULT.
 * @param inOrder whether the first result is that of the first valid item, and so on
 * @param moved the places that the results then are for, where that is another order
 */
export function assembleResults (
  results: readonly unknown[], batch: Batch, contract: AnyContract, inOrder: boolean, logger: FailureLogger, moved?: readonly number[]
): readonly unknown[] {
  if (inOrder && moved === undefined && batch.invalid.size === 0 && results.length === batch.total) return results
  const inPlace = moved && new Map(results.map((one, index) => [moved[index], one]))
  const found = inOrder ? inPlace : matchByKey(results, batch, contract.key, logger)
  let next = 0
  return batch.keys.map((key, place) => {
    const failure = batch.invalid.get(place)
    if (failure !== undefined) return contract.fail(key, failure)
    if (found?.has(place) ?? next < results.length) return found === undefined ? results[next++] : found.get(place)
    return missing(contract, place, key, logger)
  })
}

/** Results by the place of their item; of two with one key the first counts. */
function matchByKey (
  results: readonly unknown[], { places, keys }: Batch, name: string, { log }: FailureLogger
): Map<number | undefined, unknown> {
  log.error({ expected: places.length, received: results.length },
    'results do not follow the items of the request, so they are matched by key')
  const placeOf = new Map<unknown, number>(places.filter(place => keys[place] !== null).map(place => [keys[place], place]))
  const known = results.filter(one => placeOf.has(readKey(one, name)))
  return new Map(known.reverse().map(one => [placeOf.get(readKey(one, name)), one]))
}

function missing (contract: AnyContract, place: number, key: Key | null, logger: FailureLogger): object {
  const reason = invalidResult('the handler gave none for this item')
  recordFailure(logger, toFailure(reason), reason, place, key)
  return contract.fail(key, toFailure(reason))
}

/** The key that a result, or the value of an outcome, has itself; null where it has none or does not let it be read. */
function readKey (one: unknown, name: string): unknown {
  try {
    const result = isOutcome(one) ? (one as { value?: unknown }).value : one
    return typeOf(result) === 'object' ? (result as Record<string, unknown>)[name] ?? null : null
  } catch {
    return null
  }
}
