// The parser of forms, and what it must be told to leave out no part.
import { Dicer } from '@fastify/busboy'
import { MalformedForm } from '../../errors.js'

/** Bytes of a boundary, as many as the parser can look for; RFC 2046 allows 70. */
const LONGEST_BOUNDARY = 252

const SPACE = 0x20
const TAB = 0x09
const END_OF_HEADER = Buffer.from('\r\n\r\n')

/**
 * What the parser reads the header of a part with: private, but nobody else has what came of a header before its end. For
 * that, package.json takes no newer minor version.
 */
interface HeaderReader {
  /** What has come of a header that is not at its end. */
  readonly buffer: string
  /** Returns where in the data the header has ended. */
  push (data: Buffer): number | undefined
  /** Called when the delimiter comes. */
  reset (): void
}

/** @throws FST_MULTI_STATUS_MALFORMED_FORM when it cannot look for such a boundary */
export function createParser (boundary: string | undefined): Dicer {
  if (boundary === undefined) throw new MalformedForm('it names no boundary')
  if (Buffer.byteLength(boundary) > LONGEST_BOUNDARY) throw new MalformedForm('its boundary is too long')
  const parser = new Dicer({ boundary })
  const reader = (parser as unknown as { _hparser: HeaderReader })._hparser
  skipPadding(reader)
  endHeaders(reader)
  return parser
}

/** There may be white space between a delimiter and its line break, which the parser takes for the first line of the header. */
function skipPadding (reader: HeaderReader): void {
  const push = reader.push.bind(reader)
  reader.push = data => {
    if (reader.buffer !== '' || !isPadding(data[0])) return push(data)
    const padding = countPadding(data)
    const end = push(data.subarray(padding))
    return end === undefined ? undefined : end + padding
  }
}

function isPadding (byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB
}

function countPadding (data: Buffer): number {
  const end = data.findIndex(byte => !isPadding(byte))
  return end === -1 ? data.length : end
}

/**
 * A part without a body ends with its header, whose last line break is the first of the delimiter (RFC 2046 section 5.1.1).
 * The parser forgets such a header, and so the part; it is told here that the header has ended.
 */
function endHeaders (reader: HeaderReader): void {
  const reset = reader.reset.bind(reader)
  reader.reset = () => {
    if (reader.buffer.trim() !== '') reader.push(END_OF_HEADER)
    reset()
  }
}
