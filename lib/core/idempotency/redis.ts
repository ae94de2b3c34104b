// Stores idempotent answers in Redis, for apps with several processes. This file is an entry point of the package.
import type { Answer, Claim, Held, IdempotencyStore } from './store.js'

/** The methods of ioredis that the store uses. */
export interface RedisClient {
  set (key: string, value: string, px: 'PX', ttl: number, nx: 'NX'): Promise<string | null>
  getBuffer (key: string): Promise<Buffer | null>
  eval (script: string, keys: number, ...args: (string | Buffer | number)[]): Promise<unknown>
}

/** The options of `redisIdempotency`. */
export interface RedisIdempotencyOptions {
  /**
   * A client of ioredis. With `maxRetriesPerRequest: 1` and `enableOfflineQueue: false` it fails at once when Redis is
   * down, so that HTTP clients get their 503 without a delay.
   */
  client: RedisClient
  /** The prefix of every key in Redis. @default 'idempotency:' */
  prefix?: string
}

/** The beginning of the value of a claim. The scripts compare it to recognise the holder. */
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

/** Attempts to claim a key that expires between SET and GET. */
const TRIES = 3

/**
 * Creates a store in Redis 2.6 or later. The claims of a process that dies expire; its answers stay.
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

/** An answer in Redis is one line of JSON, then the bytes of the body. */
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
