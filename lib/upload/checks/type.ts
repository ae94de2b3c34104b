// Finds the media type of a file by its first bytes, and compares it with the declared and the accepted types.
import { fileTypeFromBuffer, supportedMimeTypes } from 'file-type'
import { fileTypeNotAllowed } from '../../errors.js'

/** The number of bytes at the beginning of a file that decide its type. file-type sees no more, so that it unpacks no more. */
export const HEAD_SIZE = 4100

/** The type of content whose type is not known (RFC 2046 section 4.5.1). */
export const UNKNOWN_TYPE = 'application/octet-stream'

/** Containers that many formats share. The declared type says more than theirs. */
const CONTAINERS = new Set(['application/zip', 'application/x-cfb', 'application/gzip', 'application/xml'])

const ALIASES = new Map([['image/jpg', 'image/jpeg'], ['audio/mp3', 'audio/mpeg'], ['application/x-zip-compressed', 'application/zip']])

/**
 * Finds the type of a file, and refuses a file that is not what it claims to be or not accepted.
 * An entry with a wildcard in `accept` admits a file only if its content is recognised; types without a signature, as SVG
 * or plain text, have to be named in full.
 * @param head the first {@link HEAD_SIZE} bytes or more, or all bytes of a smaller file
 * @param declared the media type that the client declared
 * @param accept the accepted types in lower case; undefined for any
 * @throws ItemError FILE_TYPE_NOT_ALLOWED
 */
export async function checkMediaType (head: Buffer, declared: string, accept: readonly string[] | undefined): Promise<string> {
  const claim = ALIASES.get(declared) ?? declared
  const found = (await fileTypeFromBuffer(head.subarray(0, HEAD_SIZE)))?.mime
  const type = found === undefined ? unproven(claim) : proven(claim, found)
  const allowed = type !== undefined && (accept === undefined || accept.some(one => admits(one, type, found !== undefined)))
  if (allowed) return type
  const detail = `declared ${claim}, found ${found ?? 'nothing known'}${accept === undefined ? '' : `; allowed: ${accept.join(', ')}`}`
  throw fileTypeNotAllowed(detail)
}

/** Content without the signature of its declared type is of an unknown type. */
function unproven (claim: string): string {
  return hasSignature(claim) ? UNKNOWN_TYPE : claim
}

/** @returns undefined when the declared type contradicts the found one */
function proven (claim: string, found: string): string | undefined {
  if (claim === UNKNOWN_TYPE || claim === found) return found
  if (CONTAINERS.has(found) && kindOf(claim) === 'application') return claim
  if (found === 'application/xml' && claim === 'image/svg+xml') return claim
  return kindOf(claim) === kindOf(found) ? found : undefined
}

function admits (one: string, type: string, isProven: boolean): boolean {
  if (one === type) return isProven || !hasSignature(type)
  return isProven && (one === '*/*' || one === `${type.split('/')[0]}/*`)
}

/** XML is recognised by a declaration that is optional. */
function hasSignature (type: string): boolean {
  return supportedMimeTypes.has(type) && !type.startsWith('text/') && type !== 'application/xml'
}

/** Audio and video share their containers. */
function kindOf (type: string): string {
  const kind = type.split('/')[0]!
  return kind === 'audio' ? 'video' : kind
}
