// The Prefer header (RFC 7240): what the client would like, if it can be had.
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The preferences of a request that this plugin knows. */
export interface Preferences {
  /** `handling=strict`: refuse the whole batch if any item is invalid. */
  readonly strict: boolean
  /** `return=minimal`: a success carries only its key and status. */
  readonly minimal: boolean
  /** `respond-async`: rather a place to look for the results than a long wait for them. */
  readonly async: boolean
  /** `wait`: how many seconds the client is ready to wait; undefined where it does not say. */
  readonly wait: number | undefined
}

/** Of most requests. */
const NONE: Preferences = { strict: false, minimal: false, async: false, wait: undefined }

/** Reads the `Prefer` header. Unknown and malformed preferences are ignored, as RFC 7240 section 2 demands. */
export function readPreferences ({ headers: { prefer } }: FastifyRequest): Preferences {
  if (prefer === undefined) return NONE
  const values = parsePrefer(prefer)
  const wait = values.get('wait')
  return {
    strict: values.get('handling') === 'strict',
    minimal: values.get('return') === 'minimal',
    async: values.has('respond-async'),
    wait: wait !== undefined && /^\d+$/.test(wait) ? Number(wait) : undefined
  }
}

/** No two of its spaces stand side by side, so that a header full of spaces costs no more than any other. */
const PREFERENCE = /^\s*([^\s=;"]+)\s*(?:=\s*(?:(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*)?)?(?:;|$)/

/**
 * The preferences by name, in lower case as their names are not case sensitive; the first of two with one name wins.
 * @param header one header or several; Node joins repeated `Prefer` headers with a comma
 */
export function parsePrefer (header: string | string[]): Map<string, string> {
  const preferences = new Map<string, string>()
  for (const part of String(header).match(/(?:[^",]|"(?:[^"\\]|\\.)*"?)+/g) ?? []) {
    const [, name, quoted, token] = PREFERENCE.exec(part) ?? []
    if (name === undefined || preferences.has(name.toLowerCase())) continue
    preferences.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? token ?? '')
  }
  return preferences
}

/** Says in `Preference-Applied` which preference was honoured. */
export function notePreference (reply: FastifyReply, preference: string): void {
  const before = reply.getHeader('preference-applied')
  reply.header('preference-applied', before ? `${String(before)}, ${preference}` : preference)
}

/** Says in `Vary` that the answer depends on `Prefer`, beside whatever else it depends on. */
export function varyByPrefer (reply: FastifyReply): void {
  const given = reply.getHeader('vary')
  if (given === undefined) reply.header('vary', 'Prefer')
  if (given === undefined || given === 'Prefer') return
  const names = String(given).split(',').map(name => name.trim()).filter(Boolean)
  if (names.includes('*') || names.some(name => name.toLowerCase() === 'prefer')) return
  reply.header('vary', [...names, 'Prefer'].join(', '))
}
