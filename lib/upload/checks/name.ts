// Checks the name of a file. The storage never uses the name as a path, but people and other programs read it.
import { fileNameMissing, fileNameNotAllowed, fileNameTooLong } from '../../errors.js'

const SEPARATOR = /[/\\]/
// Control characters, and those that change the direction of the text around them.
// eslint-disable-next-line no-control-regex
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/
const RESERVED = /^(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?:\.|$)/i
const DEVICE_OR_STREAM = /[:*?"<>|]/
const FORBIDDEN = [SEPARATOR, INVISIBLE, RESERVED, DEVICE_OR_STREAM]

/**
 * Checks that a name is not empty, not too long, and cannot be misread.
 * @param name the name that the client gave
 * @param maxBytes the most bytes that it may have in UTF-8
 * @throws ItemError FILE_NAME_MISSING, FILE_NAME_TOO_LONG or FILE_NAME_NOT_ALLOWED
 */
export function checkFileName (name: string, maxBytes: number): void {
  if (name === '') throw fileNameMissing()
  if (Buffer.byteLength(name.normalize('NFC')) > maxBytes) throw fileNameTooLong()
  if (!isAllowed(name)) throw fileNameNotAllowed()
}

function isAllowed (name: string): boolean {
  return name.isWellFormed() && name !== '.' && name !== '..' && !/[. ]$/.test(name) &&
    !FORBIDDEN.some(pattern => pattern.test(name))
}
