// What a file may be called. The name never becomes a path, but others will read it.
import { ItemError } from '../../errors.js'

const SEPARATOR = /[/\\]/
// Control characters, and those that change the direction of the text around them.
// eslint-disable-next-line no-control-regex
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/
const RESERVED = /^(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?:\.|$)/i
const DEVICE_OR_STREAM = /[:*?"<>|]/
const NOWHERE = [SEPARATOR, INVISIBLE, RESERVED, DEVICE_OR_STREAM]

/**
 * @param name as the client gave it
 * @param maxBytes how long it may be in UTF-8
 * @throws ItemError FILE_NAME_MISSING, FILE_NAME_TOO_LONG or FILE_NAME_NOT_ALLOWED, all 422
 */
export function checkFileName (name: string, maxBytes: number): void {
  if (name === '') throw new ItemError('File name missing', { code: 'FILE_NAME_MISSING' })
  if (Buffer.byteLength(name.normalize('NFC')) > maxBytes) throw new ItemError('File name too long', { code: 'FILE_NAME_TOO_LONG' })
  if (!isAllowed(name)) throw new ItemError('File name not allowed', { code: 'FILE_NAME_NOT_ALLOWED' })
}

function isAllowed (name: string): boolean {
  return name.isWellFormed() && name !== '.' && name !== '..' && !/[. ]$/.test(name) &&
    !NOWHERE.some(pattern => pattern.test(name))
}
