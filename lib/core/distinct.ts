// Whether the keys of a batch are distinct, told for less than what a Set costs.
import type { Key } from '../../schemas/index.js'

/** Of so many keys, there are tables; of more, there is always a Set. */
const MOST = 8192

/** Places of keys by their hash, each one more than it is; 0 where there is none. Used and left within one call. */
const table = new Int32Array(MOST * 4)

/** How many characters of a key make its hash, from where some keys begin to differ: few at first, more where others differ later. */
const [FEW, MORE] = [8, 64]

/** How many keys may be compared for each there is, as they may differ elsewhere, by chance or because somebody wants it so. */
const PATIENCE = 1

/** @returns whether no two are the same, as a Set would say */
export function areDistinct (keys: readonly (Key | null)[]): boolean {
  // Most keys come in their order, and to see that costs a fifth of a Set.
  return areAscending(keys) || (tablesTell(keys) ?? new Set(keys).size === keys.length)
}

/** Of one kind only, as among 10, "11", "9" and 10 each is less than the next. */
function areAscending (keys: readonly (Key | null)[]): boolean {
  for (let place = 1; place < keys.length; place++) {
    const [before, key] = [keys[place - 1]!, keys[place]!]
    if (typeof before !== typeof key || !(before < key)) return false
  }
  return true
}

/** @returns undefined where they can't, because there are too many or other keys than texts, or too many look alike */
function tablesTell (keys: readonly (Key | null)[]): boolean | undefined {
  if (keys.length > MOST || !areTexts(keys)) return undefined
  const from = findDifference(keys)
  return tableTells(keys, from, FEW) ?? tableTells(keys, from, MORE)
}

function tableTells (keys: readonly string[], from: number, hashed: number): boolean | undefined {
  const { length } = keys
  const size = 4 << (32 - Math.clz32(length))
  table.fill(0, 0, size)
  let left = length * PATIENCE
  for (let place = 0; place < length; place++) {
    const key = keys[place]!
    let at = hash(key, from, hashed) & (size - 1)
    for (let other = table[at]!; other !== 0; other = table[at]!) {
      if (keys[other - 1] === key) return false
      if (--left === 0) return undefined
      at = (at + 1) & (size - 1)
    }
    table[at] = place + 1
  }
  return true
}

function areTexts (keys: readonly (Key | null)[]): keys is readonly string[] {
  for (const key of keys) if (typeof key !== 'string') return false
  return true
}

/** @returns the first place at which some of the keys differ */
function findDifference (keys: readonly string[]): number {
  const [key, ...others] = [0, 1, keys.length >> 1, keys.length - 1].map(place => keys[place]!)
  let at = 0
  while (at < key!.length && others.every(other => other[at] === key![at])) at++
  return at
}

/** Two characters at a time, as neither has to wait for the other. */
function hash (key: string, from: number, hashed: number): number {
  const end = Math.min(key.length, from + hashed)
  let [one, other] = [key.length, 0]
  let index = from + 1
  for (; index < end; index += 2) {
    one = (Math.imul(one, 31) + key.charCodeAt(index - 1)) | 0
    other = (Math.imul(other, 37) + key.charCodeAt(index)) | 0
  }
  if (index === end) one = (Math.imul(one, 31) + key.charCodeAt(index - 1)) | 0
  return Math.imul(one ^ other, 0x9E3779B1) >>> 12
}
