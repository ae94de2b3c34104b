// Fills in what a request takes from the answer of an earlier one: `{1.contactId}` in its URL, {"$from":"1"} in its body.
import { typeOf } from '../core/items/validator.js'
import { badReference } from '../errors.js'

/** A place in the answer of an earlier request. */
export interface Reference {
  /** The id of the earlier request. */
  readonly id: string
  /** The members that lead from its body to the value. */
  readonly path: readonly string[]
  /** Where in the item the reference stands, as a JSON Pointer in a URI fragment. */
  readonly at: string
}

/** Gives the value that a reference stands for. @throws ItemError BAD_REFERENCE */
export type Read = (reference: Reference) => unknown

/** An id, and behind it either members with dots or a JSON Pointer (RFC 6901). */
const IN_URL = /^([\w:@-]{1,64})(?:\.([^./][^/]*)|(\/.*))?$/

/** Whether there can be a reference, or a `$literal`, in a request. */
export function mayRefer ({ url, body }: { url: string, body?: unknown }): boolean {
  return /[{}]/.test(url) || (body !== null && typeof body === 'object')
}

/**
 * Fills the references in a URL, each escaped so that it stays one segment of the path or one value of the query.
 * A brace that is no reference is written `%7B`, as the syntax of URLs demands anyway.
 * @throws ItemError BAD_REFERENCE when a brace begins none, or the value is nothing that a URL can have in it
 */
export function fillUrl (url: string, read: Read): string {
  if (!/[{}]/.test(url)) return url
  return url.replace(/\{[^{}]*\}?|\}/g, found => {
    const [, id, members, pointer] = IN_URL.exec(found.endsWith('}') ? found.slice(1, -1) : '') ?? []
    if (id === undefined) throw badReference('#/url', `must be as {1.contactId}, or %7B for a brace; received ${found.slice(0, 80)}`)
    return escapeValue(read({ id, path: members?.split('.') ?? parsePointer(pointer ?? '', '#/url'), at: '#/url' }))
  })
}

function escapeValue (value: unknown): string {
  const isPlain = ['string', 'number', 'boolean'].includes(typeof value)
  if (!isPlain || value === '') throw badReference('#/url', `must lead to text or a number; received ${value === '' ? 'empty text' : typeOf(value)}`)
  return encodeURIComponent(String(value).toWellFormed())
}

/**
 * Gives values until they are too much together: a short request that refers to one long answer again and again would
 * become one that fits into no memory.
 * @param max characters of all values, in JSON
 */
export function readWithin (max: number, read: Read): Read {
  let left = max
  return reference => {
    const value = read(reference)
    left -= sizeOf(value)
    if (left < 0) throw badReference(reference.at, `must bring no more than ${max} characters, with all other references together`)
    return value
  }
}

function sizeOf (value: unknown): number {
  if (typeof value === 'string') return value.length
  try {
    return JSON.stringify(value).length
  } catch {
    // Too deep, or too long for a string.
    return Infinity
  }
}

/** How deep a body may be, as all of it has to be looked at for references. */
const MAX_DEPTH = 500

/**
 * Fills the references in a body; a value keeps its type. `{"$literal": x}` stands for x as it is.
 * @throws ItemError BAD_REFERENCE when an object with `$from` is no reference
 */
export function fillBody (body: unknown, read: Read, at = '#/body', depth = 0): unknown {
  if (body === null || typeof body !== 'object') return body
  if (depth > MAX_DEPTH) throw badReference(at, `must be at most ${MAX_DEPTH} levels deep`)
  if (Array.isArray(body)) return body.map((one, index) => fillBody(one, read, `${at}/${index}`, depth + 1))
  if (Object.hasOwn(body, '$from')) return read(referenceOf(body as Record<string, unknown>, at))
  const members = Object.entries(body)
  if (members.length === 1 && members[0]![0] === '$literal') return members[0]![1]
  // Not assigned one by one, because a member may be called __proto__.
  return Object.fromEntries(members.map(([name, value]) =>
    [name, fillBody(value, read, `${at}/${encodeURIComponent(escapeMember(name))}`, depth + 1)]))
}

function referenceOf ({ $from: id, pointer = '', ...others }: Record<string, unknown>, at: string): Reference {
  const [other] = Object.keys(others)
  if (typeof id !== 'string' || typeof pointer !== 'string' || other !== undefined) {
    throw badReference(at, 'must be {"$from": id, "pointer": "/member"}, or in {"$literal": ...} where it is data')
  }
  return { id, path: parsePointer(pointer, at), at }
}

function parsePointer (pointer: string, at: string): string[] {
  if (pointer === '') return []
  if (!pointer.startsWith('/')) throw badReference(at, 'must have a pointer that is empty or begins with "/"')
  return pointer.slice(1).split('/').map(member => member.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function escapeMember (name: string): string {
  return name.toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1')
}

/**
 * Follows a path through JSON, by own members only.
 * @throws ItemError BAD_REFERENCE where it leads nowhere
 */
export function follow (body: unknown, { id, path, at }: Reference): unknown {
  let value = body
  for (const member of path) {
    const isThere = value !== null && typeof value === 'object' && Object.hasOwn(value, member) &&
      !(Array.isArray(value) && member === 'length')
    if (!isThere) throw nowhere(id, path, at)
    value = (value as Record<string, unknown>)[member]
  }
  if (value === undefined) throw nowhere(id, path, at)
  return value
}

function nowhere (id: string, path: readonly string[], at: string) {
  const pointer = path.map(member => `/${escapeMember(member)}`).join('')
  return badReference(at, `must lead to a value; the answer of ${JSON.stringify(id)} has nothing at ${JSON.stringify(pointer.slice(0, 80))}`)
}
