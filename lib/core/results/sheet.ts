// Where results are put together as JSON text, piece by piece: written byte by byte, or copied for the engine to write.
import { generateCopier } from './shape-copier.js'
import { generateWriter, type Page, type WriteShape } from './shape-writer.js'
import { hasShape, type Shape } from './shape.js'
import { copyStep, generateFill, writeStep, type Branches, type Fill } from './sheet-fill.js'

/** What stands around the results. */
export interface Frame {
  readonly head: string
  readonly tail: string
  /** The only member of the body, where it has but the results. */
  readonly envelope?: string
}

/** Takes results one after the other, and gives them back as JSON text. */
export interface Sheet {
  /** How many of the results that were added are failures. No getter: each would keep all of its answer until the next full collection. */
  failed (): number
  /**
   * Adds results from this place on, until there are about so many bytes.
   * @returns the place after the last one; the result there, if there is room left, is none that the sheet can take
   */
  fill (results: readonly unknown[], place: number, bytes: number): number
  /** Adds a result that is JSON already. */
  addJson (json: string): void
  /** About how many bytes it has. */
  size (): number
  /**
   * Takes what there is; the last time with the end of the frame. What is not the last must not be empty. Text where it is
   * all that there is; pieces may be bytes, which need not be made into text to be sent.
   */
  take (isLast: boolean): string | Buffer
}

/** Makes the sheet of one answer. */
export type NewSheet = (frame: Frame) => Sheet

/**
 * How results are written fastest depends on the engine. V8 14 writes long texts in vector registers, as JavaScript
 * cannot, so that there copies of results with several texts are left to JSON.stringify. In all other cases it is
 * faster to write the bytes, as examples/benchmark/serializer.ts shows.
 */
export const enginePrefersCopies = Number(process.versions.v8.split('.')[0]) >= 14

/** From how many texts in a success on a copy is faster, where it ever is. */
const SEVERAL_TEXTS = 3

/** @param prefersCopies for tests and benchmarks */
export function chooseSheet (branches: Branches, prefersCopies = enginePrefersCopies): NewSheet {
  const shapes = [...branches.values()].map(({ shape }) => shape)
  const hasTexts = [...branches.values()].some(({ failed, shape }) => !failed && shape !== undefined && countTexts(shape) >= SEVERAL_TEXTS)
  if (prefersCopies && hasTexts && !shapes.some(shape => shape !== undefined && isOpen(shape))) {
    const fill = generateFill<CopyPage>(branches, ({ shape }) => shape && copyStep(shape))
    return frame => newCopySheet(fill, frame)
  }
  const fill = generateFill<ByteSheet>(branches, ({ shape }) => shape && writeStep(generateWriter(shape)))
  return frame => new ByteSheet(fill, frame)
}

/** Makes the sheets for `Prefer: return=minimal`, which leaves out members that are checked nevertheless. */
export function minimalSheet (branches: Branches): NewSheet {
  const fill = generateFill<ByteSheet>(branches, ({ shape, minimalShape }) => {
    if (shape === undefined || minimalShape === undefined) return undefined
    const [fits, write] = [isOpen(shape) ? tryWriting(shape) : tryCopying(shape), generateWriter(minimalShape)]
    return writeStep((page, result) => fits(page, result) && write(page, result))
  })
  return frame => new ByteSheet(fill, frame)
}

function tryCopying (shape: Shape): WriteShape {
  const copy = generateCopier(shape)
  return (_, result) => copy(result) !== undefined
}

/** What an open member is can only be told when it is written. */
function tryWriting (shape: Shape): WriteShape {
  const write = generateWriter(shape)
  return (page, result) => {
    const { length, isWide } = page
    const fits = write(page, result)
    page.length = length
    page.isWide = isWide
    return fits
  }
}

function isOpen (shape: Shape): boolean {
  return hasShape(shape, ({ kind }) => kind === 'open')
}

function countTexts (shape: Shape): number {
  let count = 0
  hasShape(shape, ({ kind }) => {
    if (kind === 'text') count++
    return false
  })
  return count
}

const COMMA = 44
const FIRST_BYTES = 64 * 1024
/** More than anything here has, and still a small integer for the engine. */
const MANY = 2 ** 30

const SPARE_BYTES = 4 * 1024 * 1024

/** The most bytes of a character in UTF-8, for each unit of a string's length. */
const UTF8 = 3

/** The bytes of an answer that is done, for the next one. */
let spare: Bytes | undefined

type Bytes = Pick<Page, 'buffer' | 'view'>

function allocate (length: number): Bytes {
  const buffer = Buffer.allocUnsafeSlow(length)
  return { buffer, view: new DataView(buffer.buffer) }
}

/** A class, as there is one for every answer, and an object with closures of its own costs several times as much. It is its own page. */
class ByteSheet implements Sheet, Page {
  buffer: Buffer
  view: DataView
  length = 0
  isWide = false
  /** After how many bytes to stop. */
  limit = 0
  failures = 0
  #isBegun = false
  readonly #fill: Fill<ByteSheet>
  readonly #tail: string

  constructor (fill: Fill<ByteSheet>, { head, tail }: Frame) {
    const { buffer, view } = spare ?? allocate(FIRST_BYTES)
    spare = undefined
    this.buffer = buffer
    this.view = view
    this.#fill = fill
    this.#tail = tail
    this.#append(head)
  }

  failed (): number {
    return this.failures
  }

  fill (results: readonly unknown[], place: number, bytes: number): number {
    this.limit = Math.min(bytes, MANY)
    let next = place
    do next = this.#fill(this, results, next, results.length)
    while (next < results.length && this.length < bytes && this.#makeRoom(this.buffer.length >> 2))
    return next
  }

  addJson (json: string): void {
    this.#append(json)
    this.buffer[this.length++] = COMMA
  }

  size (): number {
    return this.length
  }

  take (isLast: boolean): string | Buffer {
    if (isLast) {
      if (this.buffer[this.length - 1] === COMMA) this.length--
      this.#append(this.#tail)
    }
    const piece = isLast && !this.#isBegun
      ? this.buffer.toString(this.isWide ? 'utf8' : 'latin1', 0, this.length)
      : Buffer.from(this.buffer.subarray(0, this.length))
    this.#isBegun = true
    this.length = 0
    if (isLast && this.buffer.length <= SPARE_BYTES) spare = { buffer: this.buffer, view: this.view }
    return piece
  }

  /** @returns whether there was none */
  #makeRoom (bytes: number): boolean {
    if (this.length + bytes <= this.buffer.length) return false
    const { buffer, view } = allocate(Math.max(this.buffer.length * 2, this.length + bytes))
    this.buffer.copy(buffer, 0, 0, this.length)
    this.buffer = buffer
    this.view = view
    return true
  }

  #append (text: string): void {
    this.#makeRoom(text.length * UTF8 + 1)
    const written = this.buffer.write(text, this.length, 'utf8')
    if (written !== text.length) this.isWide = true
    this.length += written
  }
}

interface CopyPage {
  copies: unknown[]
  /** The place of the first of them. */
  base: number
  failures: number
}

/** After so many copies it is known about how long one is. */
const SAMPLE = 8

/** For so many, room is made at once. */
const ROOM = 2048

function newCopySheet (fill: Fill<CopyPage>, { head, tail, envelope }: Frame): Sheet {
  const page: CopyPage = { copies: [], base: 0, failures: 0 }
  let start = head
  let size = 0
  let count = 0

  return {
    failed: () => page.failures,
    fill (results, place, bytes) {
      if (count === 0) page.copies = new Array(Math.min(results.length - place, ROOM))
      let next = place
      if (size === 0) {
        next = fill(page, results, place, Math.min(place + SAMPLE, results.length))
        count = next - page.base
        if (count === 0) return next
        size = JSON.stringify(page.copies.slice(0, count)).length / count
      }
      next = fill(page, results, next, Math.min(page.base + Math.ceil(bytes / size), results.length))
      count = next - page.base
      return next
    },
    addJson: json => { page.copies[count++] = JSON.parse(json) },
    size: () => count * size,
    take (isLast) {
      page.copies.length = count
      // In one go, because putting the parts of a long text together costs a copy of it.
      if (isLast && start === head && envelope !== undefined) return JSON.stringify({ [envelope]: page.copies })
      const text = start + JSON.stringify(page.copies).slice(1, -1) + (isLast ? tail : ',')
      start = ''
      page.base += count
      count = 0
      return text
    }
  }
}
