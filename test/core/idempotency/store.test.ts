// Every store of idempotency does what a store must, by the same checks; and the one in memory has bounds.
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { memoryIdempotency, type IdempotencyStore } from '../../../lib/index.js'
import { redisIdempotency } from '../../../lib/core/idempotency/redis.js'
import { idempotencyChecks } from '../../../lib/core/idempotency/suite.js'
import { hasRedisServer, startRedisServer } from '../../fixtures/redis-server.js'
import { skipUnless } from '../../fixtures/skip.js'

const claim = (token: string) => ({ token, fingerprint: `of ${token}` })
const answer = (bytes: number) => ({ status: 207, headers: {}, body: Buffer.alloc(bytes, 'x') })

async function checkAll (t: Test, store: IdempotencyStore): Promise<void> {
  await Promise.all(idempotencyChecks.map(({ name, run }) => t.test(name, () => run(store))))
}

t.test('memory', t => checkAll(t, memoryIdempotency()))

t.test('redis', { skip: skipUnless(await hasRedisServer(), 'redis-server') }, async t => {
  const server = await startRedisServer()
  t.teardown(() => server.kill())
  const client = new Redis(server.port)
  t.teardown(() => client.disconnect())

  await checkAll(t, redisIdempotency({ client }))

  t.test('everything is below the prefix and expires', async t => {
    const store = redisIdempotency({ client, prefix: 'mine:' })
    await store.claim('a', claim('one'), 60_000)
    await store.claim('b', claim('two'), 60_000)
    await store.complete('b', claim('two'), answer(10), 90_000)
    t.strictSame((await client.keys('mine:*')).sort(), ['mine:a', 'mine:b'])
    for (const key of await client.keys('mine:*')) t.ok(await client.pttl(key) > 0, key)
  })

  t.test('a key that is neither free nor held again and again is an error', async t => {
    const vanishing = { set: async () => null, getBuffer: async () => null, eval: async () => 0 }
    await t.rejects(redisIdempotency({ client: vanishing }).claim('a', claim('one'), 1), { message: 'Expected the key to be free or held; 3 times it was neither' })
  })
})

t.test('in memory the oldest answers make room for new keys, running requests never', async t => {
  const store = memoryIdempotency({ maxEntries: 3 })
  await store.claim('running', claim('r'), 60_000)
  for (const key of ['a', 'b']) {
    await store.claim(key, claim(key), 60_000)
    await store.complete(key, claim(key), answer(1), 60_000)
  }
  t.equal(await store.claim('c', claim('c'), 60_000), undefined)

  t.match(await store.claim('b', claim('x'), 60_000), { fingerprint: 'of b' })
  t.strictSame(await store.claim('running', claim('x'), 60_000), { fingerprint: 'of r' })
  t.equal(await store.claim('a', claim('a'), 60_000), undefined, 'a was forgotten')

  await t.rejects(store.claim('d', claim('d'), 60_000), { message: 'The store takes 3 keys, and under all of them a request is running' })
  await store.complete('running', claim('r'), answer(1), 60_000)
  t.equal(await store.claim('d', claim('d'), 60_000), undefined)
})

t.test('in memory claims that have expired make room too', async t => {
  const store = memoryIdempotency({ maxEntries: 1 })
  await store.claim('a', claim('a'), 1)
  const begin = performance.now()
  while (performance.now() <= begin + 1);
  t.equal(await store.claim('b', claim('b'), 60_000), undefined)
})

t.test('in memory the answers have at most so many bytes', async t => {
  const store = memoryIdempotency({ maxBytes: 100 })
  for (const key of ['a', 'b', 'c']) {
    await store.claim(key, claim(key), 60_000)
    await store.complete(key, claim(key), answer(40), 60_000)
  }
  t.equal(await store.claim('a', claim('a'), 60_000), undefined)
  t.match(await store.claim('b', claim('x'), 60_000), { answer: answer(40) })

  await t.rejects(store.complete('a', claim('a'), answer(101), 60_000), { message: 'The store takes 100 bytes; this answer has 101' })
  t.strictSame(await store.claim('a', claim('x'), 60_000), { fingerprint: 'of a' }, 'the claim is as it was')
  t.match(await store.claim('c', claim('x'), 60_000), { answer: answer(40) }, 'nothing had to go for it')
  t.equal(await store.complete('a', claim('a'), answer(100), 60_000), true)
  t.equal(await store.claim('c', claim('c'), 60_000), undefined)
})

t.test('options of the store in memory are checked', async t => {
  t.throws(() => memoryIdempotency({ maxEntries: 0 }), { message: /memoryIdempotency\.maxEntries must be an integer from 1/ })
  t.throws(() => memoryIdempotency({ maxBytes: 1.5 }), { message: /memoryIdempotency\.maxBytes must be an integer from 1/ })
  t.throws(() => memoryIdempotency({ size: 1 } as object), { message: /an option in memoryIdempotency must be one of "maxEntries", "maxBytes"; received "size"/ })
})

t.test('the checks find a store that forgets, one that never does, and one that trusts everybody', async t => {
  const forgetful: IdempotencyStore = { claim: async () => undefined, renew: async () => true, complete: async () => true, release: async () => {} }
  const stubborn = () => {
    const memory = memoryIdempotency()
    return { ...memory, claim: (key: string, one: ReturnType<typeof claim>) => memory.claim(key, one, 1e9), release: async () => {} }
  }
  const trusting = () => {
    const memory = memoryIdempotency()
    return { ...memory, complete: async () => true, renew: async () => true }
  }
  const failing = async (create: () => IdempotencyStore) => {
    const outcomes = await Promise.allSettled(idempotencyChecks.map(({ run }) => run(create())))
    return idempotencyChecks.filter((_, index) => outcomes[index]!.status === 'rejected').map(({ name }) => name)
  }
  t.ok((await failing(() => forgetful)).includes('lets one of many concurrent requests claim a key'))
  t.strictSame(await failing(stubborn), ['frees a released key', 'expires a claim, so that its holder loses it'])
  t.ok((await failing(trusting)).includes('lets only the holder release, renew and complete a claim'))
})
