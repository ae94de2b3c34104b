// The options of /batch, and their checks.
import bytes from 'bytes'
import { checkMembers, checkPath, membersOf } from '../core/options.js'
import { checkInteger, show } from '../core/settle/options.js'
import { InvalidOption } from '../errors.js'
import type { RouteInfo } from './guard.js'
import { INHERITED, isForbidden, OWN } from './headers.js'

/** What /batch carries, and to which routes. */
export interface BatchOptions {
  /** @default '/batch' */
  url?: string
  /**
   * Which routes requests of a batch may reach, beside those with `config: { batch: true }`: patterns of routes as they
   * were registered, perhaps with a method before and a `*` at the end, as "/contacts/:id", "GET /reports/*"; or a
   * function of the route. `config: { batch: false }` wins. @default none
   */
  allow?: readonly string[] | ((route: RouteInfo) => boolean)
  /** How many requests a batch may have. @default 50 */
  maxItems?: number
  /** How many requests of one batch run at a time. @default 16 */
  concurrency?: number
  /** Milliseconds that one request may take. @default 30000 */
  timeout?: number
  /** Bytes of the whole batch on its way in; a number, or text as "5mb". @default the app's bodyLimit */
  bodyLimit?: number | string
  limits?: {
    /** Bytes of one answer; a number, or text as "1mb". @default '1mb' */
    response?: number | string
    /** Bytes of all answers of a batch together. @default '10mb' */
    total?: number | string
  }
  headers?: {
    /**
     * Headers of the batch that each of its requests inherits. Beside these it is always host and those by which a proxy
     * says who is asking (forwarded, x-forwarded-*, x-real-ip).
     * @default authorization, cookie, accept-language, user-agent, traceparent, tracestate, baggage, x-request-id
     */
    inherit?: readonly string[]
    /**
     * Headers that a request of a batch may have of its own. None that a proxy in front of the app sets or removes
     * should be here, because that proxy does not see them.
     * @default accept, accept-language, content-type, content-language, if-*, idempotency-key, prefer, range
     */
    own?: readonly string[]
  }
}

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

const MEMBERS = membersOf<BatchOptions>({
  url: 1, allow: 1, maxItems: 1, concurrency: 1, timeout: 1, bodyLimit: 1, limits: 1, headers: 1
})
const LIMITS_MEMBERS = membersOf<NonNullable<BatchOptions['limits']>>({ response: 1, total: 1 })
const HEADERS_MEMBERS = membersOf<NonNullable<BatchOptions['headers']>>({ inherit: 1, own: 1 })

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readBatchOptions (options: BatchOptions): BatchSettings {
  checkMembers('batch', options, MEMBERS)
  const { url = '/batch', allow = [], maxItems = 50, concurrency = 16, timeout = 30_000, bodyLimit, limits = {}, headers = {} } = options
  checkPath('batch.url', url)
  checkInteger('batch.maxItems', maxItems, 1)
  checkInteger('batch.concurrency', concurrency, 1)
  checkInteger('batch.timeout', timeout, 1)
  checkMembers('batch.limits', limits, LIMITS_MEMBERS)
  checkMembers('batch.headers', headers, HEADERS_MEMBERS)
  return {
    url,
    maxItems,
    concurrency,
    timeout,
    allow: readAllow(allow),
    bodyLimit: bodyLimit === undefined ? undefined : readBytes('batch.bodyLimit', bodyLimit),
    limits: {
      response: readBytes('batch.limits.response', limits.response ?? '1mb'),
      total: readBytes('batch.limits.total', limits.total ?? '10mb')
    },
    inherit: readNames('batch.headers.inherit', headers.inherit ?? INHERITED),
    own: new Set(readNames('batch.headers.own', headers.own ?? OWN))
  }
}

function readBytes (name: string, value: unknown): number {
  const size = typeof value === 'number' || typeof value === 'string' ? bytes.parse(value) : null
  if (size === null || !Number.isInteger(size) || size < 1) throw new InvalidOption(name, 'bytes as 1000000 or "1mb"', show(value))
  return size
}

function readNames (name: string, value: unknown): string[] {
  if (!isTexts(value)) throw new InvalidOption(name, 'an array of names of headers', show(value))
  const names = value.map(header => header.toLowerCase())
  const forbidden = names.find(isForbidden)
  if (forbidden !== undefined) throw new InvalidOption(name, 'names of headers that are not about the connection or the client', show(forbidden))
  return names
}

function isTexts (value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(one => typeof one === 'string')
}

const PATTERN = /^(?:([A-Z-]+) )?(\/.*)$/

function readAllow (allow: unknown): (route: RouteInfo) => boolean {
  // Anything but true, as the promise of an async function, admits nothing.
  if (typeof allow === 'function') return route => allow(route) === true
  if (!isTexts(allow)) throw new InvalidOption('batch.allow', 'an array of patterns or a function', show(allow))
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
