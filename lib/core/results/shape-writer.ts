// Generates the code that checks a value and writes it as JSON, byte by byte, in one go.
// As Ajv and fast-json-stringify do it, the code is made of the schema alone, when a route is registered; nothing of a
// request or a result ever becomes code.
import { guard, hasShape, type Member, type RecordShape, type Shape } from './shape.js'
import { writeNumber } from './write-number.js'

/** Where JSON is written. */
export interface Page {
  buffer: Buffer
  /** Of the same bytes. */
  view: DataView
  /** How much of the buffer is written. */
  length: number
  /** Whether there is anything in it that is not ASCII. */
  isWide: boolean
}

/** Writes a value and says so; false of a value that may not have the shape, or has no room on this page. */
export type WriteShape = (page: Page, value: object) => boolean

/** The longest that a number gets, as -1.2345678901234567e-300. */
const NUMBER_BYTES = 25

/** How many bytes a value takes beside its texts, with one item in each of its lists and one member in each of its records. */
function roomFor (shape: Shape): number {
  if (shape.kind === 'object') return shape.members.reduce((sum, { name, shape }) => sum + bytesOf(name).length + 2 + roomFor(shape), 2)
  if (shape.kind === 'choice') return Math.max(...shape.options.map(roomFor))
  if (shape.kind === 'list') return roomFor(shape.items) + 3
  if (shape.kind === 'record') return roomFor(shape.values) + 6
  return shape.kind === 'constant' ? bytesOf(shape.value).length : NUMBER_BYTES
}

function bytesOf (value: string | number | boolean | null): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** Whether the names and constants of a shape are. */
function isAscii (shape: Shape): boolean {
  return !hasShape(shape, part => {
    const literals = part.kind === 'object' ? part.members.map(({ name }) => name) : part.kind === 'constant' ? [part.value] : []
    return literals.some(one => bytesOf(one).some(byte => byte > 126))
  })
}

/** Makes the function that writes an object of this shape; that it is an object, and has no toJSON, must be known. */
export function generateWriter (shape: Shape): WriteShape {
  const code = `'use strict'
const room = ${roomFor(shape)}
return function write (page, value) {
  const b = page.buffer
  const v = page.view
  let p = page.length
  if (p + room > b.length) return false
  ${join(writeShape(shape, 'value'))}
  page.length = p${isAscii(shape) ? '' : '\n  page.isWide = true'}
  return true
}`
  // eslint-disable-next-line no-new-func
  const make = new Function('writeText', 'writeNumber', 'writeOpen', code) as (...tools: unknown[]) => WriteShape
  return make(writeText, writeNumber, writeOpen)
}

/** A piece of what a writer does: bytes that it always writes, code that writes, or code that writes nothing. */
type Piece = Buffer | { readonly code: string } | { readonly check: string }

/** Code for some pieces. Bytes that come one after the other are written together, after what is only to be checked. */
function join (pieces: readonly Piece[]): string {
  const code: string[] = []
  let bytes: Buffer[] = []
  for (const piece of pieces) {
    if ('check' in piece) {
      code.push(piece.check)
    } else if ('code' in piece) {
      code.push(literal(Buffer.concat(bytes)), piece.code)
      bytes = []
    } else {
      bytes.push(piece)
    }
  }
  return [...code, literal(Buffer.concat(bytes))].filter(line => line !== '').join('\n')
}

function writeGuarded (shape: Shape, value: string): Piece[] {
  if (shape.kind !== 'choice') return [{ check: `if (!(${guard(shape, value)})) return false` }, ...writeShape(shape, value)]
  const options = shape.options.map(option => `if (${guard(option, value)}) { ${join(writeShape(option, value))} }`)
  return [{ code: [...options, 'return false'].join(' else ') }]
}

/** For a value that has passed the guard of the shape. */
function writeShape (shape: Shape, value: string): Piece[] {
  if (shape.kind === 'constant') return [bytesOf(shape.value)]
  if (shape.kind === 'boolean') return [{ code: `if (${value}) { ${literal(bytesOf(true))} } else { ${literal(bytesOf(false))} }` }]
  if (shape.kind === 'number') return [{ code: `p = writeNumber(b, p, ${value})` }]
  if (shape.kind === 'list') return writeList(shape.items, value)
  if (shape.kind === 'object') return writeMembers(shape.members, value)
  if (shape.kind === 'record') return writeRecord(shape, value)
  return [{ code: `p = ${shape.kind === 'text' ? 'writeText' : 'writeOpen'}(page, p, ${value}, room)\nif (p < 0) return false` }]
}

function writeList (items: Shape, list: string): Piece[] {
  const [item, index] = [`item_${list}`, `index_${list}`]
  const code = `for (let ${index} = 0; ${index} < ${list}.length; ${index}++) {
  if (p + room > b.length) return false
  const ${item} = ${list}[${index}]
  ${join([...writeGuarded(items, item), bytes(',')])}
}`
  return [bytes('['), { code }, ...closeWith(']')]
}

function writeRecord ({ names, values }: RecordShape, record: string): Piece[] {
  const [name, value] = [`name_${record}`, `value_${record}`]
  const code = `for (const ${name} of Object.keys(${record})) {
  if (p + room > b.length) return false
  const ${value} = ${record}[${name}]
  ${join([...writeGuarded(names, name), bytes(':'), ...writeGuarded(values, value), bytes(',')])}
}`
  return [bytes('{'), { code }, ...closeWith('}')]
}

function writeMembers (members: readonly Member[], object: string): Piece[] {
  const written = members.flatMap(({ name, required, shape }, index): Piece[] => {
    const value = `${object}_${index}`
    const get = { check: `const ${value} = ${object}[${JSON.stringify(name)}]` }
    const write = [bytesOf(name), bytes(':'), ...writeGuarded(shape, value), bytes(',')]
    return required ? [get, ...write] : [get, { code: `if (${value} !== undefined) {\n${join(write)}\n}` }]
  })
  // The comma after a member that is always there is the last piece.
  return members.at(-1)?.required ? [bytes('{'), ...written.slice(0, -1), bytes('}')] : [bytes('{'), ...written, ...closeWith('}')]
}

function bytes (text: string): Buffer {
  return Buffer.from(text)
}

/** In the place of the comma after the last item or member, if there is one. */
function closeWith (bracket: string): Piece[] {
  return [{ code: `if (b[p - 1] === ${COMMA}) p--` }, bytes(bracket)]
}

/** Writes bytes eight at a time, as the floating point number that they are, or one by one where there are fewer or they are none. */
function literal (text: Buffer): string {
  if (text.length === 0) return ''
  const code: string[] = []
  let at = 0
  while (at < text.length) {
    const eight = at + 8 <= text.length ? text.readDoubleLE(at) : NaN
    const four = at + 4 <= text.length ? text.readInt32LE(at) : NaN
    const [line, count] = Number.isFinite(eight)
      ? [`v.setFloat64(p + ${at}, ${eight}, true)`, 8]
      : Number.isFinite(four) ? [`v.setInt32(p + ${at}, ${four}, true)`, 4] : [`b[p + ${at}] = ${text[at]}`, 1]
    code.push(line)
    at += count
  }
  return `${code.join('; ')}; p += ${text.length}`
}

const COMMA = 44
const QUOTE = 34

/** 0 for the bytes that stand for themselves in JSON text. */
const SPECIAL = Uint8Array.from({ length: 256 }, (_, byte) => byte < 32 || byte > 126 || byte === QUOTE || byte === 92 ? 1 : 0)

/** Texts shorter than this are faster written character by character than by Node. */
const SHORT = 32

/** @returns where the text ends, or -1 when there is no room for it */
function writeText (page: Page, at: number, text: string, room: number): number {
  const { buffer } = page
  const start = at + 1
  const end = start + text.length
  if (end + 1 + room > buffer.length) return -1
  buffer[at] = QUOTE
  if (!(text.length < SHORT ? copyPlain(buffer, start, text) : copyLong(buffer, start, text))) return writeJson(page, at, text, room)
  buffer[end] = QUOTE
  return end + 1
}

/** Copies a text, and says whether it consists of nothing but characters that stand for themselves. */
function copyPlain (buffer: Buffer, start: number, text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 32 || code > 126 || code === QUOTE || code === 92) return false
    buffer[start + index] = code
  }
  return true
}

/** Copies what is JSON already, and says whether it is all ASCII. */
function copyAscii (buffer: Buffer, start: number, json: string): boolean {
  for (let index = 0; index < json.length; index++) {
    const code = json.charCodeAt(index)
    if (code > 126) return false
    buffer[start + index] = code
  }
  return true
}

function copyLong (buffer: Buffer, start: number, text: string): boolean {
  if (buffer.write(text, start, 'utf8') !== text.length) return false
  let special = 0
  for (let index = start; index < start + text.length; index++) special |= SPECIAL[buffer[index]!]!
  return special === 0
}

/** @returns where it ends, or -1 when it is no JSON or there is no room for it */
function writeOpen (page: Page, at: number, value: unknown, room: number): number {
  if (typeof value === 'string') return writeText(page, at, value, room)
  // For a number there is room in any case.
  if (Number.isFinite(value)) return writeNumber(page.buffer, at, value as number)
  return writeJson(page, at, value, room)
}

function writeJson (page: Page, at: number, value: unknown, room: number): number {
  const json = JSON.stringify(value) as string | undefined
  if (json === undefined || at + json.length * 3 + room > page.buffer.length) return -1
  if (json.length < SHORT && copyAscii(page.buffer, at, json)) return at + json.length
  const written = page.buffer.write(json, at, 'utf8')
  if (written !== json.length) page.isWide = true
  return at + written
}
