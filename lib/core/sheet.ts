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
  /** Takes what there is; the last time with the end of the frame. What is not the last must not be empty. */
  take (isLast: boolean): string
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
  const fill = generateFill<BytePage>(branches, ({ shape }) => shape && writeStep(generateWriter(shape)))
  return frame => newByteSheet(fill, frame)
}

/** Makes the sheets for `Prefer: return=minimal`, which leaves out members that are checked nevertheless. */
export function minimalSheet (branches: Branches): NewSheet {
  const fill = generateFill<BytePage>(branches, ({ shape, minimalShape }) => {
    if (shape === undefined || minimalShape === undefined) return undefined
    const [fits, write] = [isOpen(shape) ? tryWriting(shape) : tryCopying(shape), generateWriter(minimalShape)]
    return writeStep((page, result) => fits(page, result) && write(page, result))
  })
  return frame => newByteSheet(fill, frame)
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

interface BytePage extends Page {
  /** After how many bytes to stop. */
  limit: number
  failed: number
}

function newByteSheet (fill: Fill<BytePage>, { head, tail }: Frame): Sheet {
  const { buffer, view } = spare ?? allocate(FIRST_BYTES)
  const page: BytePage = { buffer, view, length: 0, isWide: false, failed: 0, limit: 0 }
  spare = undefined

  /** @returns whether there was none */
  function makeRoom (bytes: number): boolean {
    if (page.length + bytes <= page.buffer.length) return false
    const larger = allocate(Math.max(page.buffer.length * 2, page.length + bytes))
    page.buffer.copy(larger.buffer, 0, 0, page.length)
    page.buffer = larger.buffer
    page.view = larger.view
    return true
  }

  function append (text: string): void {
    makeRoom(text.length * UTF8 + 1)
    const written = page.buffer.write(text, page.length, 'utf8')
    if (written !== text.length) page.isWide = true
    page.length += written
  }

  append(head)
  return {
    failed: () => page.failed,
    fill (results, place, bytes) {
      page.limit = Math.min(bytes, MANY)
      let next = place
      do next = fill(page, results, next, results.length)
      while (next < results.length && page.length < bytes && makeRoom(page.buffer.length >> 2))
      return next
    },
    addJson (json) {
      append(json)
      page.buffer[page.length++] = COMMA
    },
    size: () => page.length,
    take (isLast) {
      if (isLast) {
        if (page.buffer[page.length - 1] === COMMA) page.length--
        append(tail)
      }
      const text = page.buffer.toString(page.isWide ? 'utf8' : 'latin1', 0, page.length)
      page.length = 0
      if (isLast && page.buffer.length <= SPARE_BYTES) spare = { buffer: page.buffer, view: page.view }
      return text
    }
  }
}

interface CopyPage {
  copies: unknown[]
  /** The place of the first of them. */
  base: number
  failed: number
}

/** After so many copies it is known about how long one is. */
const SAMPLE = 8

/** For so many, room is made at once. */
const ROOM = 2048

function newCopySheet (fill: Fill<CopyPage>, { head, tail, envelope }: Frame): Sheet {
  const page: CopyPage = { copies: [], base: 0, failed: 0 }
  let start = head
  let size = 0
  let count = 0

  return {
    failed: () => page.failed,
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
