// Holds a key while its request runs, and keeps what it was answered.
import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { IdempotencyUnavailable } from '../../errors.js'
import type { IdempotencySettings } from './options.js'
import type { Answer, Claim, Held } from './store.js'

/** A key that is held until it is answered. None of its methods rejects, because the work is done by then. */
export interface Lease {
  /** Keeps the answer; where that is not possible, at least that there was one. */
  keep (answer: Answer): Promise<void>
  /** Gives the key back, because nothing has run. */
  giveBack (): Promise<void>
  /** Lets the claim expire. */
  drop (): void
}

/** Milliseconds after which the claim of a process that died expires; one that lives renews it three times as often. */
const CLAIM_TTL = 30_000

/** Milliseconds that a store may take for one thing. */
const STORE_TIMEOUT = 5_000

/**
 * Takes the key, or says what is kept under it.
 * @throws FST_MULTI_STATUS_IDEMPOTENCY_UNAVAILABLE when the store does not answer
 */
export async function takeLease (
  key: string, fingerprint: string, { store, ttl }: IdempotencySettings, log: FastifyBaseLogger
): Promise<{ lease: Lease } | { held: Held }> {
  const claim: Claim = { token: randomUUID(), fingerprint }
  const claiming = start(() => store.claim(key, claim, CLAIM_TTL))
  try {
    const held = await inTime(claiming)
    return held === undefined ? { lease: createLease(key, claim, { store, ttl }, log) } : { held }
  } catch (cause) {
    // It may still succeed, and nobody would know.
    claiming.then(() => store.release(key, claim.token)).catch(() => {})
    throw Object.assign(new IdempotencyUnavailable(), { cause })
  }
}

function createLease (key: string, claim: Claim, { store, ttl }: Pick<IdempotencySettings, 'store' | 'ttl'>, log: FastifyBaseLogger): Lease {
  const attempt = async (what: string, act: () => Promise<boolean>): Promise<boolean> => {
    try {
      if (await inTime(start(act))) return true
      log.error({ idempotency: key }, `idempotency: ${what}, because somebody else has it`)
    } catch (err) {
      log.error({ err, idempotency: key }, `idempotency: ${what}`)
    }
    return false
  }
  const drop = renewEvery(CLAIM_TTL / 3, ttl, async () => {
    await attempt('the claim could not be renewed', () => store.renew(key, claim.token, CLAIM_TTL))
  })

  return {
    drop,
    async keep (answer) {
      drop()
      if (await attempt('the answer could not be kept', () => store.complete(key, claim, answer, ttl))) return
      await attempt('it could not be kept that there was an answer', () => store.complete(key, claim, { ...answer, body: null }, ttl))
    },
    async giveBack () {
      drop()
      await attempt('the key could not be given back', async () => {
        await store.release(key, claim.token)
        return true
      })
    }
  }
}

/** Calls again and again, at most for as long as an answer would be kept; returns what ends it. */
function renewEvery (ms: number, ttl: number, renew: () => Promise<void>): () => void {
  const end = performance.now() + ttl
  const timer = setInterval(() => {
    if (performance.now() > end) clearInterval(timer)
    else renew()
  }, ms).unref()
  return () => clearInterval(timer)
}

/** A store of the app's own may throw before it returns a promise. */
async function start<T> (act: () => Promise<T>): Promise<T> {
  return act()
}

async function inTime<T> (promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`The store did not answer within ${STORE_TIMEOUT} ms`)), STORE_TIMEOUT)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
