// The body of a bulk request -> its items, each validated alone.
import type { FailureDetail, Key } from '../../../schemas/index.js'
import { BatchEmpty, BatchTooLarge, BodyNotBatch, InvalidItems, invalidItemDetail } from '../../errors.js'
import { expectDistinct, keyOf, type KeyRules } from './keys.js'
import { pointerTo, typeOf, type Validate } from './validator.js'

/** Where a body has its items, and what they must be. */
export interface ItemRules extends KeyRules {
  /** The member of the body that is the array of items; undefined when the body itself is. */
  readonly member: string | undefined
  readonly maxItems: number
  /** Looks at the array alone, not at what is in it. */
  readonly validateArray: Validate
  readonly validateItem: Validate
}

/** The items of one request: those that may run, and what became already of those that may not. */
export interface Batch {
  readonly total: number
  /** The member of the body that has the items; undefined when the body itself is the array. */
  readonly member: string | undefined
  /** The valid items, in order. */
  items: unknown[]
  /** The place in the request of each valid item. */
  readonly places: number[]
  /** The key of every item of the request; null where it has none that can be used. */
  readonly keys: (Key | null)[]
  /** Why each invalid item failed, by its place in the request. */
  readonly invalid: ReadonlyMap<number, FailureDetail>
  /** What became of every item, in request order and in the words of the contract; undefined until that is known. */
  results?: readonly unknown[]
}

/** What a body has where its items are. */
export function itemsIn (body: unknown, member: string | undefined): unknown {
  return member === undefined ? body : (body as Record<string, unknown> | null | undefined)?.[member]
}

/**
 * Reads the items of a body and validates each alone.
 * @throws FST_MULTI_STATUS_BODY_NOT_BATCH, _BATCH_EMPTY, _BATCH_TOO_LARGE or _DUPLICATE_KEYS when there is no batch to speak of
 */
export function readBatch (body: unknown, rules: ItemRules): Batch {
  const all = itemsOf(body, rules)
  const { validateItem } = rules
  const keys = new Array<Key | null>(all.length)
  // As long as they may become, because an array that grows costs more than one that shrinks.
  const items = new Array<unknown>(all.length)
  const places = new Array<number>(all.length)
  let valid = 0
  const invalid = new Map<number, FailureDetail>()
  for (let place = 0; place < all.length; place++) {
    const item = all[place]
    const problems = validateItem(item)
    keys[place] = keyOf(item, problems === undefined, rules)
    if (problems === undefined) {
      items[valid] = item
      places[valid++] = place
    } else {
      invalid.set(place, invalidItemDetail(problems))
    }
  }
  if (valid < all.length) items.length = places.length = valid
  expectDistinct(keys, rules.key)
  return { total: all.length, member: rules.member, items, places, keys, invalid }
}

/** The keys of the valid items, in order. */
export function keysOfValid ({ keys, places, invalid }: Batch): readonly (Key | null)[] {
  return invalid.size === 0 ? keys : places.map(place => keys[place]!)
}

/**
 * Refuses the whole batch if any item is invalid, for `Prefer: handling=strict`. This is a check before the start and
 * no transaction: an item can still fail when it runs.
 * @throws FST_MULTI_STATUS_INVALID_ITEMS with the `errors` of every invalid item, each pointer from the root of the body
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
