// Checks that every idempotency store must pass, for any test runner. This file is an entry point of the package.
import assert from 'node:assert/strict'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Answer, Claim, Held, IdempotencyStore } from './store.js'

/** One check of a store. */
export interface IdempotencyCheck {
  readonly name: string
  /** Rejects with an AssertionError if the store fails the check. */
  run (store: IdempotencyStore): Promise<void>
}

/** Milliseconds that outlast every check. */
const LONG = 60_000
/** Milliseconds until something expires. */
const SHORT = 100

/** The checks. Each uses keys of its own, so they can run in parallel and on a store with other entries. */
export const idempotencyChecks: readonly IdempotencyCheck[] = [
  { name: 'claims a free key, and refuses it to the next request', run: claims },
  { name: 'lets one of many concurrent requests claim a key', run: letsOneWin },
  { name: 'keeps keys apart', run: keepsKeysApart },
  { name: 'stores an answer unchanged', run: store => keeps(store, answerOf(randomBytes(100_000))) },
  { name: 'stores an empty answer', run: store => keeps(store, answerOf(Buffer.alloc(0))) },
  { name: 'stores that an answer was too large', run: store => keeps(store, answerOf(null)) },
  { name: 'frees a released key', run: givesBack },
  { name: 'lets only the holder release, renew and complete a claim', run: knowsItsHolder },
  { name: 'keeps an answer that is released, renewed or completed again', run: keepsItsAnswer },
  { name: 'expires a claim, so that its holder loses it', run: expiresClaims },
  { name: 'does not expire a renewed claim', run: renews },
  { name: 'completes an expired claim if the key is still free', run: completesLate },
  { name: 'expires an answer', run: expiresAnswers }
]

function claimOf (fingerprint = randomUUID()): Claim {
  return { token: randomUUID(), fingerprint }
}

function answerOf (body: Buffer | null): Answer {
  return { status: 207, headers: { 'content-type': 'application/json', 'multi-status': 'total=1, succeeded=1, failed=0' }, body }
}

async function claims (store: IdempotencyStore): Promise<void> {
  const [key, claim] = [randomUUID(), claimOf()]
  assert.equal(await store.claim(key, claim, LONG), undefined)
  assert.deepEqual(await store.claim(key, claimOf(), LONG), { fingerprint: claim.fingerprint })
}

async function letsOneWin (store: IdempotencyStore): Promise<void> {
  const key = randomUUID()
  const held = await Promise.all(Array.from({ length: 50 }, () => store.claim(key, claimOf(), LONG)))
  assert.equal(held.filter(one => one === undefined).length, 1)
}

async function keepsKeysApart (store: IdempotencyStore): Promise<void> {
  const keys = Array.from({ length: 20 }, () => randomUUID())
  const claim = claimOf()
  for (const key of keys) assert.equal(await store.claim(key, claim, LONG), undefined)
  for (const [index, key] of keys.entries()) await store.complete(key, claim, answerOf(Buffer.from(String(index))), LONG)
  for (const [index, key] of keys.entries()) {
    assert.deepEqual((await store.claim(key, claimOf(), LONG))!.answer!.body, Buffer.from(String(index)))
  }
}

async function keeps (store: IdempotencyStore, answer: Answer): Promise<void> {
  const [key, claim] = [randomUUID(), claimOf()]
  await store.claim(key, claim, LONG)
  assert.equal(await store.complete(key, claim, answer, LONG), true)
  assert.deepEqual(outline(await store.claim(key, claimOf(), LONG)), outline({ fingerprint: claim.fingerprint, answer }))
}

/** Replaces the body with its hash. Node would take minutes to draw the difference of two long bodies. */
function outline (held: Held | undefined): object | undefined {
  const body = held?.answer?.body
  if (!Buffer.isBuffer(body)) return held
  return { ...held, answer: { ...held!.answer, body: createHash('sha256').update(body).digest('hex') } }
}

async function givesBack (store: IdempotencyStore): Promise<void> {
  const [key, claim] = [randomUUID(), claimOf()]
  await store.claim(key, claim, LONG)
  await store.release(key, claim.token)
  assert.equal(await store.claim(key, claimOf(), LONG), undefined)
}

async function knowsItsHolder (store: IdempotencyStore): Promise<void> {
  const [key, claim, other] = [randomUUID(), claimOf(), claimOf()]
  await store.claim(key, claim, LONG)
  await store.release(key, other.token)
  assert.equal(await store.renew(key, other.token, LONG), false)
  assert.equal(await store.complete(key, other, answerOf(null), LONG), false)
  assert.deepEqual(await store.claim(key, other, LONG), { fingerprint: claim.fingerprint })
  assert.equal(await store.renew(key, claim.token, LONG), true)
}

async function keepsItsAnswer (store: IdempotencyStore): Promise<void> {
  const [key, claim, answer] = [randomUUID(), claimOf(), answerOf(Buffer.from('first'))]
  await store.claim(key, claim, LONG)
  await store.complete(key, claim, answer, LONG)
  await store.release(key, claim.token)
  assert.equal(await store.renew(key, claim.token, SHORT), false)
  assert.equal(await store.complete(key, claim, answerOf(Buffer.from('second')), LONG), false)
  assert.deepEqual(await store.claim(key, claimOf(), LONG), { fingerprint: claim.fingerprint, answer })
}

async function expiresClaims (store: IdempotencyStore): Promise<void> {
  const [key, claim, next] = [randomUUID(), claimOf(), claimOf()]
  await store.claim(key, claim, SHORT)
  await setTimeout(2 * SHORT)
  assert.equal(await store.claim(key, next, LONG), undefined)
  assert.equal(await store.renew(key, claim.token, LONG), false)
  assert.equal(await store.complete(key, claim, answerOf(null), LONG), false)
  await store.release(key, claim.token)
  assert.deepEqual(await store.claim(key, claimOf(), LONG), { fingerprint: next.fingerprint })
}

async function renews (store: IdempotencyStore): Promise<void> {
  const [key, claim] = [randomUUID(), claimOf()]
  await store.claim(key, claim, 10 * SHORT)
  assert.equal(await store.renew(key, claim.token, LONG), true)
  await setTimeout(11 * SHORT)
  assert.deepEqual(await store.claim(key, claimOf(), LONG), { fingerprint: claim.fingerprint })
}

async function completesLate (store: IdempotencyStore): Promise<void> {
  const [key, claim, answer] = [randomUUID(), claimOf(), answerOf(Buffer.from('late'))]
  await store.claim(key, claim, SHORT)
  await setTimeout(2 * SHORT)
  assert.equal(await store.complete(key, claim, answer, LONG), true)
  assert.deepEqual(await store.claim(key, claimOf(), LONG), { fingerprint: claim.fingerprint, answer })
}

async function expiresAnswers (store: IdempotencyStore): Promise<void> {
  const [key, claim] = [randomUUID(), claimOf()]
  await store.claim(key, claim, LONG)
  await store.complete(key, claim, answerOf(Buffer.from('x')), SHORT)
  await setTimeout(2 * SHORT)
  assert.equal(await store.claim(key, claimOf(), LONG), undefined)
}
