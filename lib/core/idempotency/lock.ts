// Locks a key while its request runs, and stores the answer under it.
import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { IdempotencyUnavailable } from '../../errors.js'
import type { IdempotencySettings } from './options.js'
import type { Answer, Claim, Held } from './store.js'

/** The lock on a key. Its methods never reject, because the work is done by then; they log errors. */
export interface Lock {
  /** Stores the answer; if that fails, at least the fact that there was one. */
  complete (answer: Answer): Promise<void>
  /** Frees the key, because nothing has run. */
  release (): Promise<void>
  /** Stops renewing the claim, so that it expires. */
  abandon (): void
}

/** Milliseconds until a claim expires. A running process renews its claim three times in this time. */
const CLAIM_TTL = 30_000

/** Milliseconds that the store may take to answer. */
const STORE_TIMEOUT = 5_000

/**
 * Locks the key, or returns what the store holds under it.
 * @throws FST_MULTI_STATUS_IDEMPOTENCY_UNAVAILABLE when the store does not answer
 */
export async function lockKey (
  key: string, fingerprint: string, { store, ttl }: IdempotencySettings, log: FastifyBaseLogger
): Promise<{ lock: Lock } | { held: Held }> {
  const claim: Claim = { token: randomUUID(), fingerprint }
  const claiming = call(() => store.claim(key, claim, CLAIM_TTL))
  try {
    const held = await withTimeout(claiming)
    return held === undefined ? { lock: createLock(key, claim, { store, ttl }, log) } : { held }
  } catch (cause) {
    // The claim may still succeed after the timeout.
    claiming.then(() => store.release(key, claim.token)).catch(() => {})
    throw Object.assign(new IdempotencyUnavailable(), { cause })
  }
}

function createLock (key: string, claim: Claim, { store, ttl }: Pick<IdempotencySettings, 'store' | 'ttl'>, log: FastifyBaseLogger): Lock {
  const attempt = async (what: string, act: () => Promise<boolean>): Promise<boolean> => {
    try {
      if (await withTimeout(call(act))) return true
      log.error({ idempotency: key }, `idempotency: ${what}, because somebody else has it`)
    } catch (err) {
      log.error({ err, idempotency: key }, `idempotency: ${what}`)
    }
    return false
  }
  const abandon = renewEvery(CLAIM_TTL / 3, ttl, async () => {
    await attempt('the claim could not be renewed', () => store.renew(key, claim.token, CLAIM_TTL))
  })

  return {
    abandon,
    async complete (answer) {
      abandon()
      if (await attempt('the answer could not be kept', () => store.complete(key, claim, answer, ttl))) return
      await attempt('it could not be kept that there was an answer', () => store.complete(key, claim, { ...answer, body: null }, ttl))
    },
    async release () {
      abandon()
      await attempt('the key could not be given back', async () => {
        await store.release(key, claim.token)
        return true
      })
    }
  }
}

/** Renews the claim every `ms` milliseconds, for at most `ttl`. Returns a function that stops it. */
function renewEvery (ms: number, ttl: number, renew: () => Promise<void>): () => void {
  const end = performance.now() + ttl
  const timer = setInterval(() => {
    if (performance.now() > end) clearInterval(timer)
    else renew()
  }, ms).unref()
  return () => clearInterval(timer)
}

/** Calls the store. A custom store may throw before it returns a promise; this makes it a rejection. */
async function call<T> (act: () => Promise<T>): Promise<T> {
  return act()
}

/** Rejects if the store does not answer within STORE_TIMEOUT. */
async function withTimeout<T> (promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`The store did not answer within ${STORE_TIMEOUT} ms`)), STORE_TIMEOUT)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
