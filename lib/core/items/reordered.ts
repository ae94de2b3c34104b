// Detects items that a hook or handler has reordered, removed or replaced in the body.
import { InvalidOption } from '../../errors.js'
import { keyOf } from './keys.js'
import { itemsIn, type Batch } from './batch.js'

/**
 * Takes over the items that a hook has replaced, for example with copies that have more members. Reordered items stay in
 * the order of the request, because the results are.
 * @param name the name of the key
 * @throws FST_MULTI_STATUS_INVALID_OPTION if the body does not hold the same items any more
 */
export function applyReplacedItems (batch: Batch, body: unknown, name: string): void {
  const now = itemsIn(body, batch.member)
  if (!Array.isArray(now) || areSame(now, batch.items)) return
  const isWhole = now.length === batch.items.length
  if (isWhole && placesOf(now, batch) !== undefined) return
  if (!isWhole || !haveKeys(now, batch, name)) {
    throw new InvalidOption('what a hook leaves of the items', `all ${batch.items.length} of them, each with its key`, `${now.length} others`)
  }
  batch.items = now
}

/** Whether these items have the keys of the batch, in the same order. */
function haveKeys (some: readonly unknown[], { places, keys }: Batch, name: string): boolean {
  const rules = { key: name, isKey: () => true }
  return some.every((item, index) => {
    const key = keys[places[index]!]
    return key === null || keyOf(item, true, rules) === key
  })
}

/**
 * Returns the index in the request of each item in the body, if a hook or handler has reordered or removed some.
 * @returns undefined if the items are unchanged, or are not those of the batch
 */
export function reorderedPlaces (batch: Batch, body: unknown): readonly number[] | undefined {
  const now = itemsIn(body, batch.member)
  return Array.isArray(now) && !areSame(now, batch.items) ? placesOf(now, batch) : undefined
}

function areSame (now: readonly unknown[], items: readonly unknown[]): boolean {
  return now.length === items.length && items.every((item, index) => item === now[index])
}

/**
 * Finds the index in the request of each of these items.
 * @returns undefined unless all of them are items of the batch, each once
 */
function placesOf (some: readonly unknown[], { items, places }: Batch): readonly number[] | undefined {
  const known = new Map(items.map((item, index) => [item, places[index]!]))
  const found = new Set(some.map(item => known.get(item) ?? -1))
  return found.size === some.length && !found.has(-1) ? [...found] : undefined
}
