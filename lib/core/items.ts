// The body of a bulk request -> its items, each validated alone.
import type { FailureDetail, Key } from '../../schemas/index.js'
import { BatchEmpty, BatchTooLarge, BodyNotBatch, DuplicateKeys, InvalidItems, invalidItemDetail } from '../errors.js'
import { pointerTo, typeOf, type Validate } from './item-validator.js'

/** Where a body has its items, and what they must be. */
export interface ItemRules {
  /** The member of the body that is the array of items; undefined when the body itself is. */
  readonly member: string | undefined
  readonly maxItems: number
  /** The member of an item that is its key. */
  readonly key: string
  readonly validateKey: Validate
  /** Looks at the array alone, not at what is in it. */
  readonly validateArray: Validate
  readonly validateItem: Validate
}

/** The items of one request: those that may run, and what became already of those that may not. */
export interface Batch {
  readonly total: number
  /** The valid items, in order. */
  readonly items: unknown[]
  /** The place in the request of each valid item. */
  readonly places: number[]
  /** The key of every item of the request; null where it has none that can be used. */
  readonly keys: (Key | null)[]
  /** Why each invalid item failed, by its place in the request. */
  readonly invalid: ReadonlyMap<number, FailureDetail>
  /** What became of every item, in request order and in the words of the contract; undefined until that is known. */
  results?: readonly unknown[]
}

/** How many of several a message names. */
const SHOWN = 5

/**
 * Reads the items of a body and validates each alone.
 * @throws FST_MULTI_STATUS_BODY_NOT_BATCH, _BATCH_EMPTY, _BATCH_TOO_LARGE or _DUPLICATE_KEYS when there is no batch to speak of
 */
export function readBatch (body: unknown, rules: ItemRules): Batch {
  const all = itemsOf(body, rules)
  const { validateItem } = rules
  const keys = new Array<Key | null>(all.length)
  const [items, places]: [unknown[], number[]] = [[], []]
  const invalid = new Map<number, FailureDetail>()
  for (let place = 0; place < all.length; place++) {
    const item = all[place]
    const problems = validateItem(item)
    keys[place] = keyOf(item, problems === undefined, rules)
    if (problems === undefined) {
      items.push(item)
      places.push(place)
    } else {
      invalid.set(place, invalidItemDetail(problems))
    }
  }
  expectDistinct(keys, rules.key)
  return { total: all.length, items, places, keys, invalid }
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
  const items = member === undefined ? body : (body as Record<string, unknown> | null | undefined)?.[member]
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

/** A valid item that is no object is its own key, as the names in `["a.txt", "b.txt"]`. */
export function keyOf (item: unknown, isValid: boolean, { key, validateKey }: Pick<ItemRules, 'key' | 'validateKey'>): Key | null {
  const isOwn = isValid && typeOf(item) !== 'object'
  const found = isOwn ? item : (item as Record<string, unknown> | null)?.[key]
  if (typeof found !== 'string' && typeof found !== 'number') return null
  return validateKey(found) === undefined ? found : null
}

function expectDistinct (keys: (Key | null)[], name: string): void {
  // Most keys come in their order, and to see that costs a fifth of a set.
  if (areAscending(keys)) return
  const distinct = new Set(keys)
  if (distinct.size === keys.length) return
  const known = keys.filter(key => key !== null)
  const seen = new Set(known)
  if (seen.size === known.length) return
  const twice = new Set(known.filter(key => !seen.delete(key)))
  const shown = [...twice].slice(0, SHOWN).map(key => JSON.stringify(key).slice(0, 80)).join(', ')
  throw new DuplicateKeys(name, twice.size > SHOWN ? `${shown} and ${twice.size - SHOWN} more` : shown)
}

/** Of one kind only, as among 10, "11", "9" and 10 each is less than the next. */
function areAscending (keys: (Key | null)[]): boolean {
  for (let place = 1; place < keys.length; place++) {
    const [before, key] = [keys[place - 1]!, keys[place]!]
    if (typeof before !== typeof key || !(before < key)) return false
  }
  return true
}
