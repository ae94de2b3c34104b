// Which content has none of the signatures that file-type knows. To try all of them takes so long that it is asked once
// where it looks, and for what.
import { FileTypeParser } from 'file-type'

/** Whether a pair of bytes, the first of them the higher, may begin a signature: one bit for each, by offset. */
type Beginnings = Map<number, Uint8Array>

/** How file-type looks for a signature: not declared, so that nothing is learned where it does not do so. */
interface Search {
  check (bytes: readonly number[], options?: { offset?: number, mask?: readonly number[] }): boolean
}

/** Two bytes of a signature: what they have to be once the mask is on them, and no matter what where that is zero. */
interface Pair {
  readonly offset: number
  readonly bytes: readonly [number, number]
  readonly mask: readonly [number, number]
}

/** What has been seen of the searches so far. */
interface Lesson {
  readonly pairs: Map<number, Pair>
  /** Where a byte was looked at by itself, which may have been for anything. */
  readonly looks: Set<number>
  /** Whether content was looked at in no other way. */
  isClear: boolean
}

/**
 * Learns to tell content that has no signature.
 * @param least bytes of the content that will be asked about
 * @param Parser that of file-type
 * @returns whether such content may have one: of all content, if it is not clear how file-type goes about it
 */
export async function learnSignatures (least: number, Parser = FileTypeParser): Promise<(content: Uint8Array) => boolean> {
  const lesson: Lesson = { pairs: new Map(), looks: new Set(), isClear: true }
  // What it does next may depend on the byte that it looks at, and on the size.
  for (let byte = 0; byte < 256; byte++) await watchSearch(lesson, new Parser(), least, byte)
  await watchSearch(lesson, new Parser(), least * 1000, 0)
  const pairs = [...lesson.pairs.values()]
  const isClear = lesson.isClear && lesson.looks.size <= 1 && pairs.length > 0 && pairs.every(({ offset }) => offset + 1 < least)
  return isClear ? createFilter(pairs) : () => true
}

/** Has file-type search where there is nothing to be found, and takes every byte that it looks at by itself for this one. */
async function watchSearch (lesson: Lesson, parser: FileTypeParser, size: number, byte: number): Promise<void> {
  const sample = createSample(lesson, byte)
  Object.defineProperty(parser, 'buffer', { get: () => sample.bytes, set: sample.begin })
  Object.assign<object, Search>(parser, {
    check (bytes, { offset = 0, mask } = {}) {
      notePair(lesson, bytes, sample.read() - offset, offset, mask)
      return false
    }
  })
  const tokenizer = { fileInfo: { size }, position: 0, peekBuffer: sample.fill, async close () {} }
  const found = await parser.fromTokenizer(tokenizer as never).catch(() => 'trouble')
  lesson.isClear &&= found === undefined
}

/** Content that is nothing but watched: what file-type reads into its buffer, and then looks at. */
function createSample (lesson: Lesson, byte: number) {
  let buffer = new Uint8Array() as Uint8Array
  let read = 0
  const bytes = new Proxy({}, {
    get (_, key) {
      if (key === 'length') return buffer.length
      const offset = Number(key.toString())
      if (offset < read) lesson.looks.add(offset)
      else lesson.isClear = false
      return byte
    }
  })
  return {
    bytes,
    read: () => read,
    begin (next: Uint8Array) {
      buffer = next
      read = 0
    },
    async fill (target: unknown, { length }: { length: number }) {
      lesson.isClear &&= target === bytes
      read = Math.max(read, length)
    }
  }
}

/** @param read how many of the bytes have been read; of the others nobody knows what they are taken for */
function notePair ({ pairs }: Lesson, bytes: readonly number[], read: number, offset: number, mask?: readonly number[]): void {
  const length = Math.max(0, Math.min(bytes.length, read))
  const first = length > 0 ? bytes[0]! : 0
  const second = length > 1 ? bytes[1]! : 0
  const ofFirst = length > 0 ? mask?.[0] ?? 255 : 0
  const ofSecond = length > 1 ? mask?.[1] ?? 255 : 0
  // No byte can be that.
  if ((first & ofFirst) !== first || (second & ofSecond) !== second) return
  const key = offset * 2 ** 32 + first * 2 ** 24 + second * 2 ** 16 + ofFirst * 2 ** 8 + ofSecond
  if (!pairs.has(key)) pairs.set(key, { offset, bytes: [first, second], mask: [ofFirst, ofSecond] })
}

function createFilter (pairs: readonly Pair[]): (content: Uint8Array) => boolean {
  const beginnings: Beginnings = new Map()
  for (const pair of pairs) {
    const bits = beginnings.get(pair.offset) ?? new Uint8Array(65536 / 8)
    beginnings.set(pair.offset, bits)
    addPair(bits, pair)
  }
  const all = [...beginnings]
  return content => all.some(([offset, bits]) => {
    const pair = content[offset]! << 8 | content[offset + 1]!
    return (bits[pair >> 3]! & 1 << (pair & 7)) !== 0
  })
}

function addPair (bits: Uint8Array, { bytes, mask }: Pair): void {
  for (let first = 0; first < 256; first++) {
    if ((first & mask[0]) !== bytes[0]) continue
    for (let second = 0; second < 256; second++) {
      if ((second & mask[1]) !== bytes[1]) continue
      const pair = first << 8 | second
      bits[pair >> 3]! |= 1 << (pair & 7)
    }
  }
}
