// Reads the items of a body and validates each one.
import type { FailureDetail, Key } from '../../../schemas/index.js'
import { BatchEmpty, BatchTooLarge, BodyNotBatch, InvalidItems, invalidItemDetail } from '../../errors.js'
import { expectDistinct, keyOf, type KeyRules } from './keys.js'
import { pointerTo, typeOf, type Validate } from './validator.js'

/** Where the items are in a body, and how to validate them. */
export interface ItemRules extends KeyRules {
  /** The member of the body that holds the items; undefined if the body is the array. */
  readonly member: string | undefined
  readonly maxItems: number
  /** Validates the array, but not its items. */
  readonly validateArray: Validate
  readonly validateItem: Validate
}

/** The items of one request: the valid ones, and the failures of the invalid ones. */
export interface Batch {
  readonly total: number
  /** The member of the body that holds the items; undefined if the body is the array. */
  readonly member: string | undefined
  /** The valid items, in order. */
  items: unknown[]
  /** The index in the request of each valid item. */
  readonly places: number[]
  /** The key of every item of the request; null if the item has no valid key. */
  readonly keys: (Key | null)[]
  /** The failure of each invalid item, by its index in the request. */
  readonly invalid: ReadonlyMap<number, FailureDetail>
  /** The results of all items in request order, once they are known. */
  results?: readonly unknown[]
}

/** Returns the member of a body that should hold the items. */
export function itemsIn (body: unknown, member: string | undefined): unknown {
  return member === undefined ? body : (body as Record<string, unknown> | null | undefined)?.[member]
}

/**
 * Reads the items of a body and validates each one.
 * @throws FST_MULTI_STATUS_BODY_NOT_BATCH, _BATCH_EMPTY, _BATCH_TOO_LARGE or _DUPLICATE_KEYS, before any item runs
 */
export function readBatch (body: unknown, rules: ItemRules): Batch {
  const all = itemsOf(body, rules)
  const { validateItem } = rules
  const keys: (Key | null)[] = []
  const items: unknown[] = []
  const places: number[] = []
  const invalid = new Map<number, FailureDetail>()
  for (const [place, item] of all.entries()) {
    const problems = validateItem(item)
    keys.push(keyOf(item, problems === undefined, rules))
    if (problems === undefined) {
      items.push(item)
      places.push(place)
    } else {
      invalid.set(place, invalidItemDetail(problems))
    }
  }
  expectDistinct(keys, rules.key)
  return { total: all.length, member: rules.member, items, places, keys, invalid }
}

/** Returns the keys of the valid items, in order. */
export function keysOfValid ({ keys, places, invalid }: Batch): readonly (Key | null)[] {
  return invalid.size === 0 ? keys : places.map(place => keys[place]!)
}

/**
 * Refuses the whole batch if any item is invalid, for `Prefer: handling=strict`. It is no transaction: an item can still
 * fail when it runs.
 * @throws FST_MULTI_STATUS_INVALID_ITEMS with the `errors` of every invalid item; their pointers begin at the body
 */
export function expectAllValid (batch: Batch, { member }: ItemRules): void {
  if (batch.invalid.size === 0) return
  const root = pointerTo('', member)
  const errors = [...batch.invalid].flatMap(([place, { errors = [] }]) =>
    errors.map(({ pointer, detail }) => ({ pointer: `${root}/${place}${pointer.slice(1)}`, detail })))
  throw Object.assign(new InvalidItems(batch.invalid.size, batch.total), { errors })
}

function itemsOf (body: unknown, { member, maxItems, validateArray }: ItemRules): unknown[] {
  const items = itemsIn(body, member)
  if (!Array.isArray(items)) throw new BodyNotBatch(expectation(member), receipt(body, member))
  if (items.length === 0) throw new BatchEmpty(member ?? 'the body')
  if (items.length > maxItems) throw new BatchTooLarge(maxItems, items.length)
  const problem = validateArray(items)?.[0]
  if (problem !== undefined) throw new BodyNotBatch(`${expectation(member)}, which ${problem.detail}`, `${items.length} there`)
  return items
}

function expectation (member: string | undefined): string {
  return member === undefined ? 'the body to be an array of items' : `the body to be an object with an array of items in "${member}"`
}

function receipt (body: unknown, member: string | undefined): string {
  if (body === undefined) return 'no body'
  if (member === undefined || typeOf(body) !== 'object') return typeOf(body)
  return `${typeOf((body as Record<string, unknown>)[member])} there`
}
