// The options of /batch.
import { Type, type Static } from '@sinclair/typebox'
import { bytesOf, custom, integer, optional, path, show, size, type Settings } from '../core/options.js'
import { InvalidOption } from '../errors.js'
import type { RouteInfo } from './guard.js'
import { INHERITED, isForbidden, OWN } from './headers.js'

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every(one => typeof one === 'string')

const bytes = Type.Unsafe<number | string>({ ...size, expected: 'bytes as 1000000 or "1mb"' })
const names = custom<readonly string[]>('an array of names of headers', isTexts)
const namesOf = (headers: readonly string[]) => headers.map(name => `\`${name}\``).join(', ')

const BatchLimits = Type.Object({
  /** Bytes of one answer; a number, or text as "1mb". @default '1mb' */
  response: optional(bytes, { default: '1mb', description: 'bytes of one answer' }),
  /** Bytes of all answers of a batch together. @default '10mb' */
  total: optional(bytes, { default: '10mb', description: 'bytes of all answers of a batch' })
})

const BatchHeaders = Type.Object({
  /**
   * Headers of the batch that each of its requests inherits. Beside these it is always host and those by which a proxy
   * says who is asking (forwarded, x-forwarded-*, x-real-ip).
   * @default authorization, cookie, accept-language, user-agent, traceparent, tracestate, baggage, x-request-id
   */
  inherit: optional(names, { default: INHERITED, defaultText: namesOf(INHERITED), description: 'headers of the batch that its requests have too' }),
  /**
   * Headers that a request of a batch may have of its own. None that a proxy in front of the app sets or removes
   * should be here, because that proxy does not see them.
   * @default accept, accept-language, content-type, content-language, if-*, idempotency-key, prefer, range
   */
  own: optional(names, {
    default: OWN,
    defaultText: '`accept`, `accept-language`, `content-type`, `content-language`, `if-*`, `idempotency-key`, `prefer`, `range`',
    description: 'headers that a request may have of its own'
  })
})

/** What /batch carries, and to which routes. */
export const BatchOptions = Type.Object({
  /** @default '/batch' */
  url: optional(path, { default: '/batch' }),
  /**
   * Which routes requests of a batch may reach, beside those with `config: { batch: true }`: patterns of routes as they
   * were registered, perhaps with a method before and a `*` at the end, as "/contacts/:id", "GET /reports/*"; or a
   * function of the route. `config: { batch: false }` wins. @default none
   */
  allow: optional(custom<readonly string[] | ((route: RouteInfo) => boolean)>(
    'an array of patterns or a function', value => typeof value === 'function' || isTexts(value)
  ), { default: [], description: "patterns of routes as `'/contacts/:id'`, `'GET /reports/*'`, or a function of `{ method, url, config }`" }),
  /** How many requests a batch may have. @default 50 */
  maxItems: optional(integer(1), { default: 50, description: 'requests of one batch' }),
  /** How many requests of one batch run at a time. @default 16 */
  concurrency: optional(integer(1), { default: 16, description: 'requests of one batch at a time' }),
  /** Milliseconds that one request may take. @default 30000 */
  timeout: optional(integer(1), { default: 30_000, description: 'milliseconds for one request' }),
  /** Bytes of the whole batch on its way in; a number, or text as "5mb". @default the app's bodyLimit */
  bodyLimit: optional(bytes, { defaultText: "the app's", description: 'bytes of the whole batch' }),
  limits: optional(BatchLimits, { default: {} }),
  headers: optional(BatchHeaders, { default: {} })
})
export type BatchOptions = Static<typeof BatchOptions>

/** The options with every default in place. */
export interface BatchSettings {
  readonly url: string
  readonly allow: (route: RouteInfo) => boolean
  readonly maxItems: number
  readonly concurrency: number
  readonly timeout: number
  readonly bodyLimit: number | undefined
  readonly limits: { readonly response: number, readonly total: number }
  readonly inherit: readonly string[]
  readonly own: ReadonlySet<string>
}

/**
 * Makes of the options what the route works with.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for a pattern or a header that cannot be used
 */
export function prepareBatch ({ allow, bodyLimit, limits, headers, ...settings }: Settings<typeof BatchOptions>): BatchSettings {
  return {
    ...settings,
    allow: readAllow(allow),
    bodyLimit: bodyLimit === undefined ? undefined : bytesOf(bodyLimit),
    limits: { response: bytesOf(limits.response), total: bytesOf(limits.total) },
    inherit: readNames('batch.headers.inherit', headers.inherit),
    own: new Set(readNames('batch.headers.own', headers.own))
  }
}

function readNames (name: string, headers: readonly string[]): string[] {
  const names = headers.map(header => header.toLowerCase())
  const forbidden = names.find(isForbidden)
  if (forbidden !== undefined) throw new InvalidOption(name, 'names of headers that are not about the connection or the client', show(forbidden))
  return names
}

const PATTERN = /^(?:([A-Z-]+) )?(\/.*)$/

function readAllow (allow: BatchOptions['allow'] & {}): (route: RouteInfo) => boolean {
  // Anything but true, as the promise of an async function, admits nothing.
  if (typeof allow === 'function') return route => allow(route) === true
  const patterns = allow.map(readPattern)
  return route => patterns.some(isMatch => isMatch(route))
}

function readPattern (pattern: string): (route: RouteInfo) => boolean {
  const [, method, path] = PATTERN.exec(pattern) ?? []
  if (path === undefined) throw new InvalidOption('batch.allow', 'patterns as "/contacts/:id" or "GET /reports/*"', show(pattern))
  const start = path.endsWith('*') ? path.slice(0, -1) : undefined
  return route => {
    if (method !== undefined && ![route.method].flat().every(one => one === method)) return false
    return route.url === path || (start !== undefined && route.url.startsWith(start))
  }
}
