// Items that a hook or a handler has put into another order, or others in their place.
import { InvalidOption } from '../../errors.js'
import { keyOf } from './keys.js'
import { itemsIn, type Batch } from './batch.js'

/**
 * Takes over what a hook has put in the place of items, as with more members. Where it has put them into another order,
 * they stay in that of the request, which their results follow.
 * @param name the member of an item that is its key
 * @throws FST_MULTI_STATUS_INVALID_OPTION when the body does not hold the items of the request any more
 */
export function followReplaced (batch: Batch, body: unknown, name: string): void {
  const now = itemsIn(body, batch.member)
  if (!Array.isArray(now) || areSame(now, batch.items)) return
  const isWhole = now.length === batch.items.length
  if (isWhole && placesOf(now, batch) !== undefined) return
  if (!isWhole || !haveKeys(now, batch, name)) {
    throw new InvalidOption('what a hook leaves of the items', `all ${batch.items.length} of them, each with its key`, `${now.length} others`)
  }
  batch.items = now
}

/** Whether these have the keys of the items. */
function haveKeys (some: readonly unknown[], { places, keys }: Batch, name: string): boolean {
  const rules = { key: name, isKey: () => true }
  return some.every((item, index) => {
    const key = keys[places[index]!]
    return key === null || keyOf(item, true, rules) === key
  })
}

/**
 * The places in the request of the items that the body holds, where somebody has put them into another order or taken
 * some away.
 * @returns undefined where they are as they were, or others
 */
export function movedPlaces (batch: Batch, body: unknown): readonly number[] | undefined {
  const now = itemsIn(body, batch.member)
  return Array.isArray(now) && !areSame(now, batch.items) ? placesOf(now, batch) : undefined
}

function areSame (now: readonly unknown[], items: readonly unknown[]): boolean {
  if (now.length !== items.length) return false
  for (let index = 0; index < items.length; index++) if (now[index] !== items[index]) return false
  return true
}

/** @returns undefined unless all are items of the batch, each once */
function placesOf (some: readonly unknown[], { items, places }: Batch): readonly number[] | undefined {
  const known = new Map(items.map((item, index) => [item, places[index]!]))
  const found = new Set(some.map(item => known.get(item) ?? -1))
  return found.size === some.length && !found.has(-1) ? [...found] : undefined
}
