// Parses a form with Dicer of @fastify/busboy, and hands on every part as soon as its header has come.
import type { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { Dicer } from '@fastify/busboy'
import { MalformedForm } from '../../errors.js'
import type { PartHeader } from './part-header.js'

/** The most bytes of a boundary that the parser can look for. RFC 2046 allows 70. */
const LONGEST_BOUNDARY = 252

/**
 * Bytes that a part holds until they are read. Never reached, because the reader parses one chunk of the body at a time and
 * reads the part before the next chunk. The types of the parser lack this option.
 */
const PART_BUFFER: object = { partHwm: 2 ** 30 }

/** A parser of one form. */
export interface FormParser {
  write (chunk: Buffer): void
  /** Says that no more of the form will come. */
  end (): Promise<void>
  /** Whether the form has come to its end, and every part of it was read. */
  isComplete (): boolean
}

/**
 * @param boundary the text between the parts
 * @param onPart called with each part in order; a part whose header cannot be read has an empty one
 * @throws FST_MULTI_STATUS_MALFORMED_FORM when the parser cannot look for such a boundary
 */
export function createParser (boundary: string | undefined, onPart: (header: PartHeader, part: Readable) => void): FormParser {
  if (boundary === undefined) throw new MalformedForm('it names no boundary')
  if (Buffer.byteLength(boundary) > LONGEST_BOUNDARY) throw new MalformedForm('its boundary is too long')
  const parser = new Dicer({ boundary, ...PART_BUFFER })
  /** The part whose header has not come yet. */
  let begun: Readable | undefined
  let isCut = false
  let isFinished = false

  /** The parser does not tell the header of a part that has no empty line, but the part must have a result too. */
  const endBegun = () => {
    if (begun !== undefined) onPart({}, begun)
    begun = undefined
  }
  parser.on('part', part => {
    endBegun()
    begun = part
    part.once('header', header => {
      begun = undefined
      onPart(header as PartHeader, part)
    })
    // Without a listener, the end of the process: a part that is cut emits an error.
    part.on('error', () => {})
  })
  parser.on('error', () => { isCut = true })
  parser.on('finish', () => { isFinished = true })
  return {
    write: chunk => { parser.write(chunk) },
    async end () {
      parser.end()
      // The parser tells what is wrong before the next turn of the event loop.
      await setImmediate()
      if (!isCut) endBegun()
    },
    isComplete: () => isFinished && !isCut
  }
}
