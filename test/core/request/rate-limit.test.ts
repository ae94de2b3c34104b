// limitItems: charges a limit of @fastify/rate-limit for every item.
import rateLimit, { type RateLimitOptions } from '@fastify/rate-limit'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { bulkRoute, generic, limitItems, type CheckLimit } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { post } from '../../fixtures/post.js'

async function buildItems (t: Test, options: Omit<RateLimitOptions, 'max'> = {}, wrap = (check: CheckLimit) => check) {
  const ran: number[] = []
  const app = await build(t, { before: async app => app.register(rateLimit, { global: false }) })
  const preHandler = limitItems(wrap(app.createRateLimit({ max: 150, timeWindow: '1 minute', ...options })))
  app.route(bulkRoute({ url: '/items', contract: generic, item: Type.Object({ id: Type.Integer() }), stream: true, preHandler, concurrency: 1, handler: ({ id }) => { ran.push(id) } }))
  app.get('/one', { preHandler }, async () => 'one')
  return { app, ran }
}

const items = (count: number) => Array.from({ length: count }, (_, id) => ({ id }))

t.test('charges each item, and refuses a batch over the limit without charging it', async t => {
  const { app, ran } = await buildItems(t)
  t.equal((await post(app, '/items', items(100))).headers['multi-status'], 'total=100, succeeded=100, failed=0')
  const refused = await post(app, '/items', items(51))
  t.equal(refused.statusCode, 429)
  t.match(refused.json(), { code: 'FST_MULTI_STATUS_RATE_LIMITED', message: /^Expected at most 50 more items for now; received 51, so nothing ran; try again in \d+ seconds$/ })
  t.match(refused.headers['retry-after'], /^\d+$/)
  t.equal(ran.length, 100)
  t.equal((await post(app, '/items', items(49))).statusCode, 207)
  t.equal((await app.inject('/one')).statusCode, 200)
  t.equal((await app.inject('/one')).statusCode, 429)
  t.equal(ran.length, 149)
})

t.test('charges each line of a stream, and fails only the lines over the limit', async t => {
  const { app, ran } = await buildItems(t)
  const payload = items(152).map(one => JSON.stringify(one)).join('\n')
  const { body } = await app.inject({ method: 'POST', url: '/items/stream', headers: { 'content-type': 'application/x-ndjson' }, payload })
  const lines = body.trim().split('\n').map(line => JSON.parse(line))

  t.equal(ran.length, 150)
  t.strictSame(lines.pop(), { summary: { total: 152, succeeded: 150, failed: 2 } })
  t.match(lines.slice(150), [150, 151].map(id => ({ id, code: 'RATE_LIMITED', statusCode: 429, retryable: true, retryAfter: Number })))
})

t.test('does not charge clients on the allow list', async t => {
  const { app, ran } = await buildItems(t, { allowList: ['127.0.0.1'] })
  t.equal((await post(app, '/items', items(200))).statusCode, 207)
  const { body } = await app.inject({ method: 'POST', url: '/items/stream', headers: { 'content-type': 'application/x-ndjson' }, payload: '{"id":1}' })
  t.match(body, /"succeeded":1/)
  t.equal(ran.length, 201)
})

t.test('keeps two concurrent batches within the limit', async t => {
  const { app, ran } = await buildItems(t)
  const answers = await Promise.all([post(app, '/items', items(100)), post(app, '/items', items(100))])
  t.ok(ran.length <= 100)
  t.ok(answers.some(({ statusCode }) => statusCode === 429))
})

t.test('refuses a batch if other requests use up the limit meanwhile', async t => {
  const { app, ran } = await buildItems(t, {}, check => async (request, options) => {
    const state = await check(request, options)
    return options?.increment === false ? { ...state, remaining: 1000 } as typeof state : state
  })
  t.equal((await post(app, '/items', items(151))).statusCode, 429)
  t.strictSame(ran, [])
})
