// retryFailed with idempotency keys: no item is committed twice when connections are lost.
import { createServer, type ServerResponse } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { Type, type Static } from '@sinclair/typebox'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { retryFailed } from '../../lib/client/index.js'
import { bulkRoute, defineContract, ItemError, memoryIdempotency } from '../../lib/index.js'
import { build } from '../fixtures/build.js'

const orders = defineContract({
  name: 'Order',
  key: 'orderId',
  keyType: Type.String(),
  success: 'placed',
  failure: 'refused',
  reason: 'message',
  data: Type.Object({ number: Type.Integer() })
})
const Order = Type.Object({ orderId: Type.String(), units: Type.Integer({ minimum: 1 }) })
type Body = Static<typeof orders.schemas.body>

/** What happens to the connection of one request. */
const FATES = ['well', 'lost before', 'lost within', 'lost after'] as const
type Fate = typeof FATES[number]

/** A server behind a proxy that loses connections. The test says what it does with an order. */
async function openShop (t: Test, place: (orderId: string) => Promise<number>, { isIdempotent = true } = {}) {
  let fates: Fate[] = []
  const app = await build(t, {
    plugin: { idempotency: isIdempotent && { store: memoryIdempotency() } },
    fastify: {
      forceCloseConnections: true,
      serverFactory: handler => createServer((request, response) => {
        const fate = fates.shift()
        if (fate === 'lost before') return request.socket.destroy()
        if (fate === 'lost after') loseAnswer(response)
        if (fate === 'lost within') setTimeout(3).then(() => request.socket.destroy())
        handler(request, response)
      })
    }
  })
  app.route(bulkRoute({
    url: '/orders',
    contract: orders,
    item: Order,
    concurrency: 2,
    handler: async (_order, { key }) => ({ number: await place(String(key)) })
  }))
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const order = (ids: string[], withFates: Fate[]) => {
    fates = [...withFates]
    return retryFailed<Static<typeof Order>, Body>((items, { idempotencyKey, signal }) => fetch(`${address}/orders`, {
      method: 'POST', signal, body: JSON.stringify(items), headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey }
    }), ids.map(orderId => ({ orderId, units: 1 })), { backoff: 1, maxAttempts: 20, failure: 'refused' })
  }
  return { order }
}

/** Lets the server finish, but loses its answer. */
function loseAnswer (response: ServerResponse): void {
  response.writeHead = () => {
    response.socket!.destroy()
    return response
  }
}

t.test('commits each item once if the handler uses its key, whichever connections are lost', async t => {
  const commits = new Map<string, number>()
  const placed = new Map<string, Promise<number>>()
  const busy = new Set<string>()
  const commit = async (id: string) => {
    commits.set(id, (commits.get(id) ?? 0) + 1)
    await setTimeout(2)
    return Number(id.split('-')[1])
  }
  const { order } = await openShop(t, async id => {
    const before = placed.get(id) ?? commit(id)
    placed.set(id, before)
    const number = await before
    // The database has committed, but its answer is lost, so the client cannot know.
    if (number % 3 === 0 && !busy.has(id)) {
      busy.add(id)
      throw new ItemError('Busy', { statusCode: 503 })
    }
    return number
  })

  let run = 0
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 8 }), fc.array(fc.constantFrom(...FATES), { maxLength: 6 }), async (size, fates) => {
    const ids = Array.from({ length: size }, (_, index) => `${run}-${index}`)
    run++

    const results = await order(ids, fates)

    t.strictSame(results, ids.map((orderId, number) => ({ orderId, status: 'placed', number })), fates.join())
    t.strictSame(ids.map(id => commits.get(id)), ids.map(() => 1), fates.join())
  }), { numRuns: 30 })
})

t.test('runs a handler without keys once if only the answer is lost', async t => {
  for (const isIdempotent of [true, false]) {
    const ran: string[] = []
    const { order } = await openShop(t, async id => ran.push(id), { isIdempotent })

    const results = await order(['a', 'b'], ['lost before', 'lost after', 'lost after'])

    t.strictSame(results.map(({ orderId, status }) => [orderId, status]), [['a', 'placed'], ['b', 'placed']])
    t.equal(ran.length, isIdempotent ? 2 : 6, 'without Idempotency-Key everything runs each time')
  }
})
