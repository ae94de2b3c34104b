// The `authorize` option: allows or forbids each item before its handler.
import { setTimeout } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { bulkRoute, generic, ItemError, type Authorize, type ItemAccess } from '../../../lib/index.js'
import { build, type LogLine } from '../../fixtures/build.js'
import { post } from '../../fixtures/post.js'

const Item = Type.Object({ id: Type.Integer() })

async function buildItems (t: Test, authorize: Authorize<{ id: number }>, options: object = {}) {
  const ran: number[] = []
  const lines: LogLine[] = []
  const app = await build(t, { onLog: line => lines.push(line) })
  app.route(bulkRoute({ url: '/items', contract: generic, item: Item, stream: true, authorize, ...options, handler: ({ id }) => { ran.push(id) } }))
  return { app, ran, lines }
}

const ids = (...all: unknown[]) => all.map(id => ({ id }))
const postLines = async (app: FastifyInstance, all: object[]) => {
  const payload = all.map(one => JSON.stringify(one)).join('\n')
  const { body } = await app.inject({ method: 'POST', url: '/items/stream', headers: { 'content-type': 'application/x-ndjson' }, payload })
  return body.trim().split('\n').slice(0, -1).map(line => JSON.parse(line)).sort((a, b) => a.index - b.index).map(({ index, ...result }) => result)
}
const FORBIDDEN = { status: 'error', message: 'Forbidden', code: 'ITEM_FORBIDDEN', statusCode: 403, retryable: false }

t.test('fails only the forbidden item, with 403, in JSON and in a stream', async t => {
  const ways: Authorize<{ id: number }>[] = [({ id }) => id !== 2, async ({ id }) => id !== 2, ({ id }) => id === 2 ? undefined as never : true]
  for (const authorize of ways) {
    const { app, ran } = await buildItems(t, authorize, { concurrency: 1 })
    const expected = [{ id: 1, status: 'success' }, { id: 2, ...FORBIDDEN }, { id: 3, status: 'success' }]
    t.strictSame((await post(app, '/items', ids(1, 2, 3))).json().results, expected)
    t.strictSame(await postLines(app, ids(1, 2, 3)), expected)
    t.strictSame(ran, [1, 3, 1, 3])
  }
})

t.test('passes each valid item with its key, index and request to authorize', async t => {
  const asked: [unknown, ItemAccess][] = []
  const { app } = await buildItems(t, (item, access) => { asked.push([item, access]); return true })
  await post(app, '/items', ids('x', 7))
  t.match(asked, [[{ id: 7 }, { key: 7, index: 1, request: { url: '/items' } }]])
  t.equal(asked.length, 1)
})

t.test('shows the message of an ItemError, and masks any other error', async t => {
  const { app, ran, lines } = await buildItems(t, ({ id }) => {
    if (id === 1) throw new ItemError('Not yours', { code: 'NOT_YOURS', statusCode: 403 })
    throw new Error('secret')
  })
  t.strictSame((await post(app, '/items', ids(1, 2))).json().results, [
    { id: 1, status: 'error', message: 'Not yours', code: 'NOT_YOURS', statusCode: 403, retryable: false },
    { id: 2, status: 'error', message: 'Internal error', code: 'INTERNAL_ERROR', statusCode: 500, retryable: false }
  ])
  t.strictSame(ran, [])
  t.match(lines.filter(({ level }) => level === 50), [{ key: 2, err: { message: 'secret' } }])
})

t.test('does not run an item that is authorized after its timeout', async t => {
  let late: Promise<boolean> | undefined
  const { app, ran } = await buildItems(t, () => (late = setTimeout(40, true)), { timeout: 5 })
  t.match((await post(app, '/items', ids(1))).json().results, [{ code: 'TIMEOUT' }])
  await late
  await setTimeout(0)
  t.strictSame(ran, [])
})

t.test('refuses the whole batch for a forbidden item with handling=strict', async t => {
  const { app, ran } = await buildItems(t, async ({ id }) => id !== 2)
  const strict = { prefer: 'handling=strict' }
  const response = await post(app, '/items', ids(1, 2, 3), strict)
  t.equal(response.statusCode, 422)
  t.match(response.json(), { code: 'FST_MULTI_STATUS_INVALID_ITEMS', errors: [{ pointer: '#/1', detail: 'Forbidden' }] })
  t.strictSame(ran, [])

  t.equal((await post(app, '/items', ids(1, 3), strict)).statusCode, 207)
  t.strictSame(ran, [1, 3])
})

t.test('rejects an authorize option that is not a function', async t => {
  t.throws(() => bulkRoute({ url: '/', contract: generic, item: Item, handler () {}, authorize: true as never }), { message: /authorize must be a function; received true/ })
})
