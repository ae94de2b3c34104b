// batchFetch: sends the calls of one tick as one batch.
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { batchFetch, type BatchFetchOptions, type Fetch } from '../../lib/client/index.js'
import { buildBatch } from '../fixtures/batch.js'

/** A server, a batchFetch to it, and the batches that it has sent. */
async function start (t: Test, options: BatchFetchOptions = {}, before?: (app: FastifyInstance) => void) {
  const app = await buildBatch(t, {}, { ...(before && { before }) })
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body))
  app.post('/echo', (request, reply) => reply.type(request.headers['content-type']!).send(request.body))
  app.get('/who', async ({ headers }) => ({ authorization: headers.authorization ?? null }))
  app.get('/text', (_, reply) => reply.type('text/plain').send('plain'))
  app.get('/null', (_, reply) => reply.type('application/json').send('null'))
  app.get('/string', (_, reply) => reply.type('application/json').send('"text"'))
  app.get('/gone', (_, reply) => reply.code(204).send())
  app.get('/moved', (_, reply) => reply.redirect('/text'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const batches: { id: string, url: string }[][] = []
  const watched: Fetch = async (input, init) => {
    batches.push(JSON.parse(init!.body as string).requests)
    return fetch(input, init)
  }
  return { app, base, batches, fetch: batchFetch(`${base}/batch`, { fetch: watched, ...options }) }
}

t.test('sends the calls of one tick as one batch, and answers each call', async t => {
  const { base, batches, fetch } = await start(t)

  const responses = await Promise.all([
    fetch('/contacts/1?page=2#top'),
    Promise.resolve().then(() => fetch(new URL(`${base}/contacts/%7Bx%7D`))),
    fetch(new Request(`${base}/contacts`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"email":"@"}' })),
    fetch('/contacts', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"email":"x"}' }),
    fetch('/nowhere')
  ])

  t.strictSame(batches.map(batch => batch.map(({ url }) => url)), [['/contacts/1?page=2', '/contacts', '/contacts', '/nowhere', '/contacts/%7Bx%7D']])
  t.strictSame(responses.map(({ status, ok }) => [status, ok]), [[200, true], [200, true], [201, true], [400, false], [404, false]])
  t.equal(responses[2]!.headers.get('location'), '/contacts/1')
  t.match(await Promise.all(responses.map(response => response.json())), [
    { id: '1', query: { page: '2' } }, { id: '{x}' }, { contactId: 1 }, { code: 'FST_ERR_VALIDATION' }, { code: 'ROUTE_NOT_FOUND', message: 'Route not found' }
  ])
  t.equal((await fetch('/contacts/3')).status, 200)
  t.equal(batches.length, 2)
})

t.test('carries every kind of body unchanged in both directions', async t => {
  const { fetch } = await start(t)
  const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251)
  const form = new FormData()
  form.set('a', new Blob(['é']), 'a.txt')
  const post = (body: RequestInit['body'], type?: string) => fetch('/echo', { method: 'POST', body: body!, ...(type && { headers: { 'content-type': type } }) })

  const [binary, json, text, multipart, ...others] = await Promise.all([
    post(bytes, 'image/png'), post('{"$from":"0","big":12345678901234567890}', 'text/csv'), post('grüße {1.x}'), post(form),
    ...['/text', '/null', '/string', '/gone', '/moved'].map(url => fetch(url))
  ])

  t.strictSame(new Uint8Array(await binary!.arrayBuffer()), bytes)
  t.equal(await json!.text(), '{"$from":"0","big":12345678901234567890}')
  t.equal(await text!.text(), 'grüße {1.x}')
  t.match(await multipart!.text(), /filename="a.txt"[^]*é/)
  t.strictSame(await Promise.all(others.map(async one => [one.status, await one.text()])), [
    [200, 'plain'], [200, 'null'], [200, '"text"'], [204, ''], [302, '']
  ])
})

t.test('returns the exact text of a response that is not JSON', async t => {
  const answers = [
    ['application/x-ndjson', '{"a": 1}\n{"a": 2}\n'], ['text/json', '{"a": 1}'], ['text/plain; of=json', '"a"'], ['application/jsonl', '{"a": 1}\n'],
    ['application/json-seq', 'a "b"'], ['application/vnd.api+json', '{"a":1}'], ['application/json', '"{\\"a\\":1}"']
  ] as const
  const { fetch } = await start(t, {}, app => {
    answers.forEach(([type, text], index) => app.get(`/answer/${index}`, (_, reply) => reply.header('content-type', type).send(text)))
  })

  const responses = await Promise.all(answers.map((_, index) => fetch(`/answer/${index}`)))

  t.strictSame(await Promise.all(responses.map(response => response.text())), answers.map(([, text]) => text))
})

t.test('splits more calls than maxItems into several batches', async t => {
  const { batches, fetch } = await start(t, { maxItems: 2 })
  const responses = await Promise.all(['1', '2', '3', '4', '5'].map(id => fetch(`/contacts/${id}`)))
  t.strictSame(batches.map(batch => batch.length), [2, 2, 1])
  t.strictSame(await Promise.all(responses.map(async response => (await response.json() as { id: string }).id)), ['1', '2', '3', '4', '5'])
})

t.test('collects the calls of several ticks in a window', async t => {
  const { batches, fetch } = await start(t, { window: 200 })
  const first = fetch('/contacts/1')
  await new Promise(resolve => setTimeout(resolve, 1))
  await Promise.all([first, fetch('/contacts/2')])
  t.equal(batches.length, 1)
})

t.test('rejects only the aborted call', async t => {
  const hang = new AbortController()
  const { batches, fetch } = await start(t, {}, app => {
    app.addHook('onRequest', async ({ url }) => { if (url === '/contacts/2') hang.abort('too slow') })
  })
  const early = new AbortController()

  await t.rejects(fetch('/contacts/0', { signal: AbortSignal.abort(new Error('never')) }), { message: 'never' })
  const calls = [
    fetch('/contacts/1', { signal: early.signal }), fetch('/contacts/2', { signal: hang.signal }), fetch('/contacts/3')
  ]
  early.abort()
  const [first, second, third] = await Promise.allSettled(calls)

  t.match(first, { status: 'rejected', reason: { name: 'AbortError' } })
  t.strictSame(second, { status: 'rejected', reason: 'too slow' })
  t.match(third, { status: 'fulfilled', value: { status: 200 } })
  t.strictSame(batches.map(batch => batch.map(({ url }) => url)), [['/contacts/2', '/contacts/3']], 'what is aborted before is not sent')
})

t.test('rejects all calls when the batch fails', async t => {
  const { app, base, fetch } = await start(t, {}, app => {
    app.addHook('onRequest', async ({ url, headers }, reply) => { if (url === '/batch' && headers['x-no']) return reply.code(429).send({ a: 1 }) })
  })
  const refused = batchFetch(`${base}/batch`, { headers: { 'x-no': '1' } })
  for (const outcome of await Promise.allSettled([refused('/contacts/1'), refused('/contacts/2')])) {
    t.match(outcome, { status: 'rejected', reason: { message: 'Batch answered 429', cause: { status: 429 } } })
  }
  await app.close()
  for (const outcome of await Promise.allSettled([fetch('/contacts/1'), fetch('/contacts/2')])) t.equal(outcome.status, 'rejected')
})

t.test('sends the headers of the batch, also from a function', async t => {
  let count = 0
  const { fetch } = await start(t, { headers: () => ({ authorization: `Bearer ${++count}` }) })
  const who = async () => (await (await fetch('/who')).json() as { authorization: string }).authorization
  t.strictSame([await who(), await who()], ['Bearer 1', 'Bearer 2'])
})

t.test('rejects URLs of other origins', async t => {
  const { base, batches, fetch } = await start(t)
  await t.rejects(fetch('http://example.org/contacts/1'), { name: 'TypeError', message: `Not at ${base}: http://example.org/contacts/1` })
  await t.rejects(fetch(`${base}0/contacts/1`), TypeError)
  t.equal(batches.length, 0)
  t.throws(() => batchFetch('/batch'), { code: 'ERR_INVALID_URL' }, 'without a page there is no host')
})

t.test('resolves a path against the page in a browser', async t => {
  const { base } = await start(t)
  Object.assign(globalThis, { location: { href: `${base}/page` } })
  t.teardown(() => { delete (globalThis as { location?: unknown }).location })
  t.equal((await batchFetch('/batch')('/contacts/1')).status, 200)
})
