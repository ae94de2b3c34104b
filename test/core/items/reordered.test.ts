// Items that a hook or handler reorders, removes or replaces keep their results.
import { Type } from '@sinclair/typebox'
import type { FastifyRequest, RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { bulkRoute, generic, ItemError } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'

interface Row { id: number, n: number, tenant?: number }

const Row = Type.Object({ id: Type.Integer(), n: Type.Integer(), tenant: Type.Optional(Type.Integer()) })
const rows: Row[] = [{ id: 1, n: 9 }, { id: 2, n: 5 }, { id: 3, n: 1 }]
const byN = (a: Row, b: Row) => a.n - b.n
const ok = (id: number) => ({ id, status: 'success' })
const bad = (id: number) => ({ id, status: 'error', message: `${id} is bad`, code: 'ITEM_FAILED', statusCode: 422, retryable: false })
const none = (id: number) => ({ id, status: 'error', message: 'Invalid result', code: 'INVALID_RESULT', statusCode: 500, retryable: false })
const invalid = (id: number) => ({ id, status: 'error', code: 'INVALID_ITEM' })

async function save ({ id }: Row): Promise<void> {
  if (id === 1) throw new ItemError('1 is bad')
}

/** A route of one's own, whose handler works through whatever this makes of the body. */
async function sendTo (t: Test, itemsOf: (request: FastifyRequest) => Row[], payload: unknown[] = rows, more: Partial<RouteOptions> = {}) {
  const app = await build(t)
  app.route({
    method: 'POST',
    url: '/',
    schema: { body: Type.Array(Row) },
    config: { multiStatus: generic },
    handler: async (request, reply) => reply.multiStatus(await Promise.allSettled(itemsOf(request).map(save))),
    ...more
  })
  return (await app.inject({ method: 'POST', url: '/', payload })).json()
}

t.test('matches results to items that the handler has sorted, in request order', async t => {
  const sorted = ({ body }: FastifyRequest) => (body as Row[]).sort(byN)

  t.strictSame(await sendTo(t, sorted), { results: [bad(1), ok(2), ok(3)] })
  t.match(await sendTo(t, sorted, [rows[0], { id: 7 }, rows[1]]), { results: [bad(1), invalid(7), ok(2)] })
  t.strictSame(await sendTo(t, ({ body }) => (body as { rows: Row[] }).rows.sort(byN), { rows } as never, {
    schema: { body: Type.Object({ rows: Type.Array(Row) }) }
  }), { results: [bad(1), ok(2), ok(3)] })
})

t.test('keeps the results of the other items when the handler removes one', async t => {
  t.strictSame(await sendTo(t, ({ body }) => (body as Row[]).splice(1, 1) && body as Row[]), { results: [bad(1), none(2), ok(3)] })
})

t.test('ignores a body that is emptied after the work', async t => {
  t.strictSame(await sendTo(t, ({ body }) => (body as Row[]).splice(0)), { results: [bad(1), ok(2), ok(3)] })
})

t.test('matches the results of an interrupted iterable to the sorted items', async t => {
  async function * work (items: Row[]) {
    for (const { id } of items.slice(0, 1)) yield { id, status: 'success' }
    throw new ItemError('No more')
  }
  const { results } = await sendTo(t, () => [], rows, {
    handler: (request, reply) => { reply.multiStatus(work((request.body as Row[]).sort(byN))) }
  })
  t.match(results, [none(1), { id: 2, message: 'No more' }, ok(3)])
})

t.test('uses the order of the results if the handler has replaced its items', async t => {
  t.strictSame(await sendTo(t, request => (request.body = (request.body as Row[]).map(row => ({ ...row }))) as Row[]), { results: [bad(1), ok(2), ok(3)] })
})

/** A bulk route with a hook, and what its handler was given. */
async function sendThrough (t: Test, hook: (request: FastifyRequest) => void, payload: unknown[] = rows) {
  const app = await build(t)
  const given: [Row, unknown][] = []
  app.route(bulkRoute({
    url: '/',
    contract: generic,
    item: Row,
    preHandler: async request => hook(request),
    handler: async (row, { key }) => {
      given.push([row, key])
      await save(row)
    }
  }))
  const response = await app.inject({ method: 'POST', url: '/', payload })
  return { answer: response.json(), statusCode: response.statusCode, given }
}

t.test('runs the items of a bulk route in request order, also after a hook has sorted them', async t => {
  const { answer, given } = await sendThrough(t, ({ body }) => { (body as Row[]).sort(byN) })

  t.strictSame(answer, { results: [bad(1), ok(2), ok(3)] })
  t.strictSame(given, rows.map(row => [row, row.id]))
})

t.test('runs the items that a hook has replaced', async t => {
  const enriched = rows.map(row => [{ ...row, tenant: 7 }, row.id])
  for (const hook of [
    (request: FastifyRequest) => { request.body = (request.body as Row[]).map(row => ({ ...row, tenant: 7 })) },
    ({ body }: FastifyRequest) => { for (const [index, row] of (body as Row[]).entries()) (body as Row[])[index] = { ...row, tenant: 7 } }
  ]) {
    const { answer, given } = await sendThrough(t, hook)
    t.strictSame(answer, { results: [bad(1), ok(2), ok(3)] })
    t.strictSame(given, enriched)
  }
})

t.test('keeps the items when a hook replaces the body by something else', async t => {
  const { answer } = await sendThrough(t, request => { request.body = { rows: request.body } })
  t.strictSame(answer, { results: [bad(1), ok(2), ok(3)] })
})

t.test('runs nothing if a hook leaves other items than the request had', async t => {
  for (const hook of [
    ({ body }: FastifyRequest) => { (body as Row[]).pop() },
    (request: FastifyRequest) => { request.body = (request.body as Row[]).map(row => ({ ...row })).sort(byN) },
    (request: FastifyRequest) => { request.body = ['one', 2, null] }
  ]) {
    const { answer, statusCode, given } = await sendThrough(t, hook)
    t.equal(statusCode, 500)
    t.match(answer, { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: /all 3 of them, each with its key; received \d others/ })
    t.strictSame(given, [])
  }
})

t.test('lets a hook replace items without a key', async t => {
  const app = await build(t)
  const given: unknown[] = []
  app.route(bulkRoute({
    url: '/',
    contract: generic,
    item: Type.Object({ n: Type.Integer() }),
    preHandler: async request => { request.body = (request.body as Row[]).map(({ n }) => ({ n: n * 2 })) },
    handler: item => { given.push(item) }
  }))
  await app.inject({ method: 'POST', url: '/', payload: [{ n: 1 }, { n: 2 }] })
  t.strictSame(given, [{ n: 2 }, { n: 4 }])
})
