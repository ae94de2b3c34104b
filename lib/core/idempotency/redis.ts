// Keeps answers in Redis, for as many processes as there are. An entry point of its own; the client is the app's own.
import type { Answer, Claim, Held, IdempotencyStore } from './store.js'

/** As much of ioredis as is used. */
export interface RedisClient {
  set (key: string, value: string, px: 'PX', ttl: number, nx: 'NX'): Promise<string | null>
  getBuffer (key: string): Promise<Buffer | null>
  eval (script: string, keys: number, ...args: (string | Buffer | number)[]): Promise<unknown>
}

/** Which Redis, and where in it. */
export interface RedisIdempotencyOptions {
  /**
   * A client of ioredis. With `maxRetriesPerRequest: 1` and `enableOfflineQueue: false` it fails at once when Redis is
   * gone, so that clients get their 503 without waiting.
   */
  client: RedisClient
  /** Before every key. @default 'idempotency:' */
  prefix?: string
}

/** A claim begins with this, which its token makes unlike any other value. */
const claimOf = (token: string) => `claim ${token} `

const RENEW = `
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`

const COMPLETE = `
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`

const RELEASE = `
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

/** How often a key is asked for that is taken, and gone again when one looks. */
const TRIES = 3

/**
 * Makes a store in Redis 2.6 or later. A process that dies loses its claims when they expire; answers outlive it.
 * @example idempotency: { store: redisIdempotency({ client: new Redis({ maxRetriesPerRequest: 1, enableOfflineQueue: false }) }) }
 */
export function redisIdempotency ({ client, prefix = 'idempotency:' }: RedisIdempotencyOptions): IdempotencyStore {
  return {
    async claim (key, { token, fingerprint }, ttl) {
      for (let tries = 0; tries < TRIES; tries++) {
        if (await client.set(prefix + key, claimOf(token) + fingerprint, 'PX', ttl, 'NX') !== null) return undefined
        const value = await client.getBuffer(prefix + key)
        if (value !== null) return decode(value)
      }
      throw new Error(`Expected the key to be free or held; ${TRIES} times it was neither`)
    },
    async renew (key, token, ttl) {
      return await client.eval(RENEW, 1, prefix + key, claimOf(token), ttl) === 1
    },
    async complete (key, claim, answer, ttl) {
      return await client.eval(COMPLETE, 1, prefix + key, claimOf(claim.token), encode(claim, answer), ttl) === 1
    },
    async release (key, token) {
      await client.eval(RELEASE, 1, prefix + key, claimOf(token))
    }
  }
}

/** One line of JSON, and the body as it is. */
function encode ({ fingerprint }: Claim, { status, headers, body }: Answer): Buffer {
  const head = JSON.stringify({ fingerprint, status, headers, isKept: body !== null })
  return Buffer.concat([Buffer.from(`answer ${head}\n`), body ?? Buffer.alloc(0)])
}

function decode (value: Buffer): Held {
  const end = value.indexOf('\n')
  if (end < 0) return { fingerprint: value.toString().split(' ')[2]! }
  const { fingerprint, isKept, ...answer } = JSON.parse(value.toString('utf8', 'answer '.length, end))
  return { fingerprint, answer: { ...answer, body: isKept ? value.subarray(end + 1) : null } }
}
