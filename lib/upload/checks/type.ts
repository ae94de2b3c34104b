// What a file really is, whatever its client says.
import { supportedMimeTypes } from 'file-type'
import { ItemError } from '../../errors.js'
import { findType } from './signatures.js'

/** The type of content that nobody can say anything about (RFC 2046 section 4.5.1). */
export const UNKNOWN_TYPE = 'application/octet-stream'

/** Containers that many types are made of: their own type says less than the declared one. */
const CONTAINERS = new Set(['application/zip', 'application/x-cfb', 'application/gzip', 'application/xml'])

const ALIASES = new Map([['image/jpg', 'image/jpeg'], ['audio/mp3', 'audio/mpeg'], ['application/x-zip-compressed', 'application/zip']])

/**
 * Says what a file is by its first bytes, and refuses one that is not what it claims to be or not what is wanted.
 * A type with a wildcard in `accept` admits only what the content proves; a type that no content can prove, as SVG or
 * plain text, has to be named in full.
 * @param head the first bytes, as {@link findType} takes them
 * @param declared the media type that the client declared
 * @param accept what is allowed, in lower case; undefined for any
 * @throws ItemError FILE_TYPE_NOT_ALLOWED, 415, with the declared and the found type
 */
export async function checkMediaType (head: Buffer, declared: string, accept: readonly string[] | undefined): Promise<string> {
  const claim = ALIASES.get(declared) ?? declared
  const found = await findType(head)
  const type = found === undefined ? unproven(claim) : proven(claim, found)
  const allowed = type !== undefined && (accept === undefined || accept.some(one => admits(one, type, found !== undefined)))
  if (allowed) return type
  const detail = `declared ${claim}, found ${found ?? 'nothing known'}${accept === undefined ? '' : `; allowed: ${accept.join(', ')}`}`
  throw new ItemError('File type not allowed', { code: 'FILE_TYPE_NOT_ALLOWED', statusCode: 415, errors: [{ pointer: '#/type', detail }] })
}

/** Content with a signature that it does not have is not what it claims to be. */
function unproven (claim: string): string {
  return hasSignature(claim) ? UNKNOWN_TYPE : claim
}

/** @returns undefined when the claim is a lie and not merely less exact */
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

/** XML is recognized by a declaration that it can do without. */
function hasSignature (type: string): boolean {
  return supportedMimeTypes.has(type) && !type.startsWith('text/') && type !== 'application/xml'
}

/** Sound and moving pictures come in the same containers. */
function kindOf (type: string): string {
  const kind = type.split('/')[0]!
  return kind === 'audio' ? 'video' : kind
}
