// Parses the Prefer header (RFC 7240), and sets the headers that answer it.
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The preferences that the plugin supports. */
export interface Preferences {
  /** `handling=strict`: refuse the whole batch if an item is invalid. */
  readonly strict: boolean
  /** `return=minimal`: a success carries only its key and status. */
  readonly minimal: boolean
  /** `respond-async`: answer 202 with the URL of the results, instead of waiting for them. */
  readonly async: boolean
  /** `wait`: the seconds that the client is ready to wait; undefined if it does not say. */
  readonly wait: number | undefined
}

/** The preferences of a request without the header. */
const NONE: Preferences = { strict: false, minimal: false, async: false, wait: undefined }

/** Reads the `Prefer` header. Unknown and malformed preferences are ignored, as RFC 7240 section 2 requires. */
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

/** One preference. No two parts for spaces are adjacent, so that a header full of spaces takes no quadratic time. */
const PREFERENCE = /^\s*([^\s=;"]+)\s*(?:=\s*(?:(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*)?)?(?:;|$)/

/**
 * Parses preferences into a Map by their lower-case name. The first of two with the same name wins.
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

/** Adds a preference to the `Preference-Applied` header. */
export function setPreferenceAppliedHeader (reply: FastifyReply, preference: string): void {
  const before = reply.getHeader('preference-applied')
  reply.header('preference-applied', before ? `${String(before)}, ${preference}` : preference)
}

/** Adds `Prefer` to the `Vary` header. */
export function setVaryHeader (reply: FastifyReply): void {
  const given = reply.getHeader('vary')
  if (given === undefined) reply.header('vary', 'Prefer')
  if (given === undefined || given === 'Prefer') return
  const names = String(given).split(',').map(name => name.trim()).filter(Boolean)
  if (names.includes('*') || names.some(name => name.toLowerCase() === 'prefer')) return
  reply.header('vary', [...names, 'Prefer'].join(', '))
}
