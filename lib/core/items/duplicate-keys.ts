// Whether the keys of a batch are distinct, told for less than what a Set costs.
import type { Key } from '../../../schemas/index.js'

/** Of so many keys, there are tables; of more, there is always a Set. */
const MOST = 2 ** 13 - 1

/** Places of keys by their hash, each one more than it is; 0 where there is none. Filled and left within one call. */
const table = new Int32Array(4 * 2 ** 13)

/** How many characters are hashed where keys begin to differ, and as many where they differ last: in a number, an id or a name at either end. */
const FEW = 4

/** And how many from there on where those do not tell them apart. */
const MORE = 64

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
  const [start, end] = [countShared(keys, codeFromStart), countShared(keys, codeFromEnd)]
  return tableTells(keys, start, end) ?? tableTells(keys, start)
}

/**
 * @param end how many characters at the end some keys have in common, to hash those before; undefined to hash more at the start
 * @returns undefined where too many keys have the same hash
 */
function tableTells (keys: readonly string[], start: number, end?: number): boolean | undefined {
  const { length } = keys
  const size = 4 << (32 - Math.clz32(length))
  table.fill(0, 0, size)
  let left = length * PATIENCE
  for (let place = 0; place < length; place++) {
    const key = keys[place]!
    const hash = end === undefined ? hashFrom(key, start) : hashEnds(key, start, end)
    let at = hash & (size - 1)
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

/** @returns how many characters some of the keys have in common, counted as `codeAt` does it; those at both ends may be the same */
function countShared (keys: readonly string[], codeAt: (key: string, count: number) => number): number {
  const [first, second, middle, last] = [keys[0]!, keys[1]!, keys[keys.length >> 1]!, keys.at(-1)!]
  let count = 0
  for (; count < first.length; count++) {
    const code = codeAt(first, count)
    if (codeAt(second, count) !== code || codeAt(middle, count) !== code || codeAt(last, count) !== code) break
  }
  return count
}

function codeFromStart (key: string, count: number): number {
  return key.charCodeAt(count)
}

function codeFromEnd (key: string, count: number): number {
  return key.charCodeAt(key.length - 1 - count)
}

/** @param start how many characters at the start, and `end` at the end, some of the keys have in common */
function hashEnds (key: string, start: number, end: number): number {
  const last = key.length - end - FEW
  if (last < 0 || start + FEW > key.length) return hashFrom(key, 0)
  return finish(hashFew(key, start) ^ Math.imul(hashFew(key, last), 31) ^ key.length)
}

/** Two characters at a time, as neither has to wait for the other. */
function hashFew (key: string, at: number): number {
  const one = key.charCodeAt(at) + Math.imul(key.charCodeAt(at + 1), 31)
  const other = key.charCodeAt(at + 2) + Math.imul(key.charCodeAt(at + 3), 31)
  return Math.imul(one, 0x85EBCA6B) ^ Math.imul(other, 0xC2B2AE35)
}

/** As many as there are up to {@link MORE}, two at a time as well. */
function hashFrom (key: string, start: number): number {
  const end = Math.min(key.length, start + MORE)
  let [one, other] = [key.length, 0]
  let index = start + 1
  for (; index < end; index += 2) {
    one = (Math.imul(one, 31) + key.charCodeAt(index - 1)) | 0
    other = (Math.imul(other, 37) + key.charCodeAt(index)) | 0
  }
  if (index === end) one = (Math.imul(one, 31) + key.charCodeAt(index - 1)) | 0
  return finish(one ^ other)
}

/** Mixes the bits; of what is left, the lower ones are used. */
function finish (hash: number): number {
  return Math.imul(hash, 0x9E3779B1) >>> 12
}
