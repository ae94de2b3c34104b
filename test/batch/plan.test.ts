// Requests of a batch that wait for each other, and take from each other's answers.
import { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { build } from '../fixtures/build.js'
import { buildBatch, post, type Received } from '../fixtures/batch.js'
import { waitFor } from '../fixtures/wait.js'

const codes = (results: Received[]) => results.map(({ status, code }) => code ?? status)

/** An app that notes when its requests begin and end, and ends those to /wait/... only when told to. */
async function buildTimed (t: Parameters<typeof buildBatch>[0], concurrency?: number) {
  const events: string[] = []
  const release = new Map<string, () => void>()
  const app = await buildBatch(t, concurrency === undefined ? {} : { concurrency })
  app.get('/wait/:id', async request => {
    const { id } = request.params as { id: string }
    events.push(`${id} begins`)
    await new Promise<void>(resolve => { release.set(id, resolve) })
    events.push(`${id} ends`)
    return { id }
  })
  app.get('/now/:id', async request => {
    const { id } = request.params as { id: string }
    events.push(id)
    for (const end of release.values()) end()
    return { id }
  })
  return { app, events }
}

t.test('a request runs after those that it depends on; independent ones run at the same time', async t => {
  const { app, events } = await buildTimed(t)

  const { results } = await post(app, [
    { id: 'a', url: '/wait/a' },
    { id: 'b', url: '/now/b', dependsOn: ['a'] },
    { id: 'c', url: '/now/c' },
    { id: 'd', url: '/now/d', dependsOn: ['a', 'b', 'b'] }
  ])

  t.strictSame(codes(results), Array(4).fill('success'))
  t.strictSame(results.map(({ id }) => id), ['a', 'b', 'c', 'd'])
  t.strictSame(events, ['a begins', 'c', 'a ends', 'b', 'd'])
})

t.test('a request that waits takes no place from one that can run', async t => {
  const { app, events } = await buildTimed(t, 2)

  await post(app, [
    { id: 'a', url: '/wait/a' },
    { id: 'b', url: '/now/b', dependsOn: ['a'] },
    { id: 'c', url: '/now/c', dependsOn: ['b'] },
    { id: 'd', url: '/now/d' }
  ])

  t.strictSame(events, ['a begins', 'd', 'a ends', 'b', 'c'])
})

t.test('a request whose dependency failed is not run, nor one that depends on it', async t => {
  const app = await buildBatch(t)
  let ran = 0
  app.get('/count', async () => { ran++; return {} })
  app.get('/busy', (_, reply) => reply.code(503).send())

  const { results } = await post(app, [
    { id: '1', url: '/none' },
    { id: '2', url: '/count', dependsOn: ['1'] },
    { id: '3', url: '/count', dependsOn: ['2'] },
    { id: '4', url: '/busy' },
    { id: '5', url: '/count', dependsOn: ['4'] },
    { id: '6' },
    { id: '7', url: '/count', dependsOn: ['6'] },
    { id: '8', url: '/contacts/{1.id}' },
    { id: '9', url: '/count' }
  ])

  t.equal(ran, 1)
  t.strictSame(codes(results), [
    'ROUTE_NOT_FOUND', 'FAILED_DEPENDENCY', 'FAILED_DEPENDENCY', 'SERVICE_UNAVAILABLE', 'FAILED_DEPENDENCY', 'INVALID_ITEM', 'FAILED_DEPENDENCY',
    'FAILED_DEPENDENCY', 'success'
  ])
  t.match(results[1], { statusCode: 424, message: 'Not run, because 1 failed', retryable: false })
  t.match(results[4], { statusCode: 424, retryable: true })
})

t.test('a reference in a URL stays one segment or one value, whatever it holds', async t => {
  const app = await buildBatch(t)
  const values = { id: 'a/../b?c=d&e#f', number: 1.5, no: false, space: 'ä ö', list: [{ 'x.y': 'deep' }], 'a/b~c': 'odd', dots: '..', lone: '\ud800' }
  app.get('/values', async (_, reply) => reply.type('application/json').send(JSON.stringify(values)))
  app.get('/text', async (_, reply) => reply.type('text/plain').send('plain'))

  const { results } = await post(app, [
    { id: 'v', url: '/values' },
    { id: 't', url: '/text' },
    { id: '1', url: '/contacts/{v.id}?a={v.id}&b={v.number}&c={v.no}&d=x{v.space}y' },
    { id: '2', url: '/contacts/{v.list.0.x}' },
    { id: '3', url: '/contacts/{v/list/0/x.y}?a={v/a~1b~0c}' },
    { id: '4', url: '/contacts/{t}' },
    { id: '5', url: '/contacts/{v.dots}' },
    { id: '6', url: '/contacts/x?literal=%7Bv.id%7D' },
    { id: '7', url: '/contacts/x?lone={v.lone}' }
  ])

  t.strictSame(results[2]!.body, { id: values.id, query: { a: values.id, b: '1.5', c: 'false', d: 'xä öy' } })
  t.strictSame(results[4]!.body, { id: 'deep', query: { a: 'odd' } })
  t.strictSame(results[5]!.body, { id: 'plain', query: {} })
  t.strictSame(results[7]!.body, { id: 'x', query: { literal: '{v.id}' } })
  t.strictSame(results[8]!.body, { id: 'x', query: { lone: '\ufffd' } })
  t.strictSame(codes(results), ['success', 'success', 'success', 'BAD_REFERENCE', 'success', 'success', 'INVALID_URL', 'success', 'success'])
})

t.test('a reference in a body keeps its type, and a body that is no reference stays as it is', async t => {
  const app = await buildBatch(t)
  app.post('/echo', async request => request.body)
  const body = { contactId: 7, tags: ['a', null], 'a/b': { '~': true } }

  const { results } = await post(app, [
    { id: '1', method: 'POST', url: '/echo', body },
    {
      id: '2',
      method: 'POST',
      url: '/echo',
      body: {
        id: { $from: '1', pointer: '/contactId' },
        all: [{ $from: '1' }, { deep: { $from: '1', pointer: '/tags/1' } }],
        escaped: { $from: '1', pointer: '/a~1b/~0' },
        literal: { $literal: { $from: '1' } },
        twice: { $literal: { $literal: 1 } },
        beside: { $literal: 1, other: 2 }
      }
    },
    { id: '3', method: 'POST', url: '/echo', body: { $from: '1', pointer: '/tags' } },
    { id: '4', method: 'POST', url: '/echo', body: { only: { $literal: { $from: 'nobody' } } } }
  ])

  t.strictSame(results[1]!.body, {
    id: 7, all: [body, { deep: null }], escaped: true, literal: { $from: '1' }, twice: { $literal: 1 }, beside: { $literal: 1, other: 2 }
  })
  t.strictSame(results[2]!.body, ['a', null])
  t.strictSame(results[3]!.body, { only: { $from: 'nobody' } })
})

t.test('a reference that is none, or leads nowhere, fails its own request and says where it stands', async t => {
  const app = await buildBatch(t)
  app.post('/echo', async request => request.body)
  app.get('/nothing', (_, reply) => reply.code(204).send())
  let deep: unknown = 1
  for (let level = 0; level < 600; level++) deep = [deep]
  const bad: [part: object, pointer: string, detail: RegExp][] = [
    [{ url: '/echo/{' }, '#/url', /as \{1\.contactId\}, or %7B for a brace; received \{/],
    [{ url: '/echo/}' }, '#/url', /received \}/],
    [{ url: '/echo/{}' }, '#/url', /received \{\}/],
    [{ url: '/echo/{a b}' }, '#/url', /received/],
    [{ url: '/echo/{1.}' }, '#/url', /received/],
    [{ url: '/echo/{unknown.id}' }, '#/url', /must name a request before this one; received "unknown"/],
    [{ url: '/echo/{last.id}' }, '#/url', /received "last"/],
    [{ url: '/echo/{1.none}' }, '#/url', /the answer of "1" has nothing at "\/none"/],
    [{ url: '/echo/{1.length}' }, '#/url', /nothing/],
    [{ url: '/echo/{1.list.length}' }, '#/url', /nothing/],
    [{ url: '/echo/{1.list.00}' }, '#/url', /nothing/],
    [{ url: '/echo/{1.toString}' }, '#/url', /nothing/],
    [{ url: '/echo/{1.list}' }, '#/url', /must lead to text or a number; received array/],
    [{ url: '/echo/{1.none.deeper}' }, '#/url', /nothing/],
    [{ url: '/echo/{1.empty}' }, '#/url', /received empty text/],
    [{ url: '/echo/{1.null}' }, '#/url', /received null/],
    [{ url: '/echo/{no.x}' }, '#/url', /the answer of "no" has nothing at "\/x"/],
    [{ body: { a: { $from: 'no' } } }, '#/body/a', /nothing at ""/],
    [{ body: { a: [{ 'b/~': { $from: '1', pointer: '/x/y' } }] } }, '#/body/a/0/b~1~0', /nothing at "\/x\/y"/],
    [{ body: { $from: 1 } }, '#/body', /must be \{"\$from": id, "pointer": "\/member"\}/],
    [{ body: { $from: '1', pointer: 1 } }, '#/body', /must be/],
    [{ body: { $from: '1', other: 1 } }, '#/body', /must be/],
    [{ body: { $from: '1', pointer: 'contactId' } }, '#/body', /must have a pointer that is empty or begins with/],
    [{ body: { deep } }, `#/body/deep${'/0'.repeat(500)}`, /at most 500 levels/]
  ]

  const { results } = await post(app, [
    { id: '1', method: 'POST', url: '/echo', body: { list: [1], empty: '', null: null } },
    { id: 'no', url: '/nothing' },
    ...bad.map(([part], index) => ({ id: `bad-${index}`, method: 'POST', url: '/echo', ...part })),
    { id: 'last', url: '/contacts/1' }
  ])

  t.equal(results.length, bad.length + 3)
  for (const [index, [, pointer, detail]] of bad.entries()) {
    t.match(results[index + 2], { code: 'BAD_REFERENCE', statusCode: 422, message: 'Invalid reference', retryable: false, errors: [{ pointer, detail }] })
  }
  t.equal(results.at(-1)!.status, 'success')
})

t.test('handling=strict: one request that its route would refuse, and nothing runs', async t => {
  let ran = 0
  let admitted = 0
  const app = await build(t, { plugin: { batch: {} } })
  app.addHook('preHandler', async request => { if (request.url !== '/batch') admitted++ })
  const config = { batch: true }
  app.post('/contacts/:id', {
    config,
    preHandler: async () => { admitted++ },
    schema: {
      params: Type.Object({ id: Type.Integer() }),
      querystring: Type.Object({ page: Type.Optional(Type.Integer()) }),
      headers: Type.Object({ 'if-match': Type.Optional(Type.String({ maxLength: 3 })) }),
      body: Type.Object({ name: Type.String(), 'a/b c': Type.Optional(Type.Object({ d: Type.Number() })) })
    }
  }, async () => { ran++; return {} })
  app.post('/attached', { config, attachValidation: true, schema: { body: Type.Object({ a: Type.Integer() }) } }, async () => { ran++; return {} })
  app.get('/private', { config, onRequest: async (_, reply) => reply.code(401).send({ message: 'Who are you?' }) }, async () => { ran++ })
  app.get('/mute', { config, onRequest: async (_, reply) => reply.code(401).send() }, async () => { ran++ })
  app.get('/breaks', { config, onRequest: (_, reply) => { reply.send(Readable.from(['x'])) } }, async () => { ran++ })
  app.get('/closed', async () => { ran++ })
  const contact = (id: string, url: string, body: unknown = { name: 'Ada' }, more = {}) => ({ id, method: 'POST', url, body, ...more })
  const good = [contact('good', '/contacts/1'), contact('literal', '/contacts/1', { name: { $literal: 'Ada' } }), contact('refers', '/contacts/{good.x}', { name: 1 })]
  const bad = [
    contact('body', '/contacts/1', { name: 'Ada', 'a/b c': { d: 'x' } }),
    contact('params', '/contacts/x'),
    contact('query', '/contacts/1?page=x'),
    contact('headers', '/contacts/1', { name: '' }, { headers: { 'if-match': '"long"' } }),
    contact('attached', '/attached', { a: 'x' }),
    { id: 'route', url: '/nowhere' },
    { id: 'closed', url: '/closed' },
    { id: 'private', url: '/private' },
    { id: 'mute', url: '/mute' },
    { id: 'breaks', url: '/breaks' },
    { id: 'method', method: 'TRACE', url: '/closed' },
    { id: 'url', url: 'http://example.org' },
    { id: 'header', url: '/closed', headers: { host: 'a' } },
    { id: 'reference', url: '/contacts/{nobody.id}' }
  ]
  const headers = { prefer: 'handling=strict' }

  const { response } = await post(app, [...good, ...bad], { headers })

  t.equal(response.statusCode, 422)
  t.match(response.json(), { code: 'FST_MULTI_STATUS_INVALID_ITEMS', message: /received 14 invalid of 17, so nothing ran/ })
  t.strictSame(response.json().errors.map(({ pointer }: { pointer: string }) => pointer), [
    '#/requests/3/body/a~1b%20c/d', '#/requests/4/url', '#/requests/5/url', '#/requests/6/headers/if-match', '#/requests/7/body/a', '#/requests/8/url',
    '#/requests/9/url', '#/requests/10', '#/requests/11', '#/requests/12/url', '#/requests/13/method', '#/requests/14/url', '#/requests/15/headers/host', '#/requests/16/url'
  ])
  t.match(response.json().errors, [
    { detail: 'must be number' }, { detail: 'id must be integer' }, { detail: 'page must be integer' }, {}, {}, { detail: 'Route not found' },
    { detail: 'Route not allowed in a batch' }, { detail: 'Who are you?' }, { detail: 'Unauthorized' }, { detail: /The route streams its answer/ }
  ])
  t.strictSame([ran, admitted], [0, 0])

  const { response: fine, results } = await post(app, good.slice(0, 2), { headers })
  t.strictSame([fine.statusCode, fine.headers['preference-applied'], codes(results), ran], [207, 'handling=strict', ['success', 'success'], 2])

  const early = await post(app, [{ id: '1' }, good[0]!], { headers })
  t.match(early.response.json(), { errors: [{ pointer: '#/requests/0/url' }] }, 'what is no request at all is said first')
  t.equal(ran, 2)
})

t.test('handling=strict: when the app closes before the first request has begun, the whole batch is refused', async t => {
  let begun = false
  const app = await buildBatch(t)
  app.get('/hang', { onRequest: () => { begun = true } }, async () => ({}))
  const answer = post(app, [{ id: '1', url: '/hang' }], { headers: { prefer: 'handling=strict' } })
  await waitFor('the request', () => begun)
  await app.close()
  const { response } = await answer
  t.equal(response.statusCode, 503)
  t.match(response.json(), { code: 'FST_MULTI_STATUS_BATCH_NOT_RUN', message: 'The batch has not been run: Server closing' })
})

t.test('handling=strict gives up on a hook that hangs', async t => {
  const app = await buildBatch(t, { timeout: 20 })
  app.get('/hang', { onRequest: () => {} }, async () => ({}))
  app.get('/cached', { onRequest: async (_, reply) => reply.send({}) }, async () => ({}))
  app.get('/throws', { onRequest: () => { throw new Error('hunter2') } }, async () => ({}))
  const { response } = await post(app, [{ id: '1', url: '/hang' }, { id: '2', url: '/throws' }, { id: '3', url: '/cached' }], { headers: { prefer: 'handling=strict' } })
  t.equal(response.statusCode, 422)
  t.match(response.json().errors, [{ pointer: '#/requests/0/url', detail: 'Timeout' }, { pointer: '#/requests/1', detail: 'Internal error' }])
  t.equal(response.json().errors.length, 2, 'a hook that has the answer already is no problem')
  t.notMatch(response.body, 'hunter2')
  t.match((await post(app, [{ id: '2', url: '/throws' }])).results, [{ code: 'INTERNAL_ERROR' }])
})
