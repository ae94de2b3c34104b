// POST /batch: requests for other routes in, the truth about each of them out.
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { type LogLine, build } from '../fixtures/build.js'
import { buildBatch, post, type Sent } from '../fixtures/batch.js'
import { waitFor } from '../fixtures/wait.js'

t.test('each request has its own result, in request order, and its body comes back whatever it is', async t => {
  const app = await buildBatch(t)

  const { response } = await post(app, [
    { id: '1', method: 'POST', url: '/contacts', body: { email: 'ada@example.org' } },
    { id: '2', method: 'POST', url: '/contacts', body: { email: 'nonsense' } },
    { id: '3', url: '/contacts/9?page=2' }
  ])

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=3, succeeded=2, failed=1')
  t.equal(response.body, '{"results":[' +
    '{"id":"1","status":"success","statusCode":201,"headers":{"location":"/contacts/1","content-type":"application/json; charset=utf-8"},' +
    '"body":{"contactId":1,"email":"ada@example.org"}},' +
    '{"id":"2","status":"error","message":"body/email must match pattern \\"@\\"","code":"FST_ERR_VALIDATION","statusCode":400,"retryable":false,' +
    '"headers":{"content-type":"application/json; charset=utf-8"},' +
    '"body":{"statusCode":400,"code":"FST_ERR_VALIDATION","error":"Bad Request","message":"body/email must match pattern \\"@\\""}},' +
    '{"id":"3","status":"success","statusCode":200,"headers":{"content-type":"application/json; charset=utf-8"},"body":{"id":"9","query":{"page":"2"}}}]}')
})

t.test('off unless asked for, and where the url and the prefix say', async t => {
  const without = await build(t)
  const batch = { requests: [{ id: '1', url: '/api/many' }] }
  t.equal((await without.inject({ method: 'POST', url: '/batch', payload: batch })).statusCode, 404)

  const app = await build(t, { plugin: { batch: { url: '/many', allow: ['/*'] }, prefix: '/api' } })
  const response = await app.inject({ method: 'POST', url: '/api/many', payload: batch })
  t.match(response.json().results, [{ id: '1', code: 'METHOD_NOT_ALLOWED', statusCode: 405 }])
})

t.test('what is wrong with the batch as a whole is said before anything runs', async t => {
  let ran = 0
  const app = await buildBatch(t, { maxItems: 3 })
  app.get('/count', async () => { ran++; return {} })
  const get = (id: string, dependsOn?: string[]): Sent => ({ id, url: '/count', ...(dependsOn && { dependsOn }) })
  const cases: [requests: unknown, statusCode: number, code: string, message: string][] = [
    [[], 400, 'BATCH_EMPTY', 'Expected at least 1 item in requests; received 0'],
    [get('1'), 400, 'BODY_NOT_BATCH', 'Expected the body to be an object with an array of items in "requests"; received object there'],
    [[get('1'), get('1')], 400, 'DUPLICATE_KEYS', 'Expected every item to have its own id; received more than once: "1"'],
    [[get('1'), get('2'), get('3'), get('4')], 413, 'BATCH_TOO_LARGE', 'Expected at most 3 items in one request; received 4'],
    [[get('1', ['1'])], 400, 'BAD_DEPENDENCY', 'Expected dependsOn of request "1" to name requests before it; received "1", which is itself'],
    [[get('1', ['2']), get('2', ['1'])], 400, 'BAD_DEPENDENCY', 'Expected dependsOn of request "1" to name requests before it; received "2", which comes later'],
    [[get('1'), get('2', ['1', 'x'])], 400, 'BAD_DEPENDENCY', 'Expected dependsOn of request "2" to name requests before it; received "x", which is not in the batch']
  ]
  for (const [requests, statusCode, code, message] of cases) {
    const response = await app.inject({ method: 'POST', url: '/batch', payload: { requests } as object })
    t.match(response.json(), { statusCode, code: `FST_MULTI_STATUS_${code}`, message })
    t.equal(response.statusCode, statusCode)
  }
  t.equal(ran, 0)
})

t.test('a request that is none fails alone', async t => {
  const app = await buildBatch(t)

  const { results } = await post(app, [
    { id: '1', url: '/contacts/1' },
    { id: 'with space', url: '/contacts/1' },
    { id: 3, url: '/contacts/1' },
    { id: '4' },
    { id: '5', url: '/contacts/1', encoding: 'hex' },
    { id: '6', url: '/contacts/1', headers: { accept: 1 } },
    { id: '7', url: '/contacts/1', body: {} },
    { id: '8', method: 'POST', url: '/contacts', encoding: 'base64' },
    { id: '9', method: 'POST', url: '/contacts', body: '=a', encoding: 'base64' },
    { id: '10', method: 'POST', url: '/contacts', body: {}, headers: { 'content-type': 'text/plain' } }
  ])

  t.match(results.map(({ id, code, errors }) => [id, code, (errors as { pointer: string }[] | undefined)?.[0]!.pointer]), [
    ['1', undefined, undefined],
    [null, 'INVALID_ITEM', '#/id'],
    [null, 'INVALID_ITEM', '#/id'],
    ['4', 'INVALID_ITEM', '#/url'],
    ['5', 'INVALID_ITEM', '#/encoding'],
    ['6', 'INVALID_ITEM', '#/headers/accept'],
    ['7', 'INVALID_BODY', '#/body'],
    ['8', 'INVALID_BODY', '#/body'],
    ['9', 'INVALID_BODY', '#/body'],
    ['10', 'INVALID_BODY', '#/body']
  ])
})

t.test('ids that mean something to JavaScript are ids like any other', async t => {
  const app = await buildBatch(t)
  const ids = ['__proto__', 'constructor', 'toString', 'a:b@c-d_e']

  const { results } = await post(app, [
    ...ids.map(id => ({ id, method: 'POST', url: '/contacts', body: { email: '@' } })),
    { id: 'last', url: '/contacts/{__proto__.contactId}?a={constructor/contactId}', dependsOn: ids }
  ])

  t.strictSame(results.map(({ id, status }) => [id, status]), [...ids, 'last'].map(id => [id, 'success']))
  t.strictSame(results.at(-1)!.body, { id: '1', query: { a: '2' } })
})

t.test('a failure says in the words of the app what is wrong, and of a 5xx nothing', async t => {
  const app = await buildBatch(t)
  const answers: [path: string, statusCode: number, body: unknown, headers?: Record<string, string>][] = [
    ['/taken', 409, { message: 'Email taken', code: 'EMAIL_TAKEN', extra: [1] }],
    ['/busy', 429, { message: 7 }, { 'retry-after': '30' }],
    ['/later', 503, { message: 'db-7 is down', code: 'SECRET' }, { 'retry-after': new Date(Date.now() - 1000).toUTCString() }],
    ['/teapot', 418, 'short and stout', { 'retry-after': 'soon' }],
    ['/odd', 499, '']
  ]
  for (const [path, statusCode, body, headers = {}] of answers) app.get(path, (_, reply) => reply.code(statusCode).headers(headers).send(body))
  app.get('/throws', async () => { throw new Error('the password is hunter2') })

  const { results } = await post(app, [...answers.map(([path]) => path), '/throws'].map((url, index) => ({ id: String(index), url })))

  t.match(results, [
    { message: 'Email taken', code: 'EMAIL_TAKEN', statusCode: 409, retryable: false, body: { message: 'Email taken', code: 'EMAIL_TAKEN', extra: [1] } },
    { message: 'Too Many Requests', code: 'TOO_MANY_REQUESTS', statusCode: 429, retryable: true, retryAfter: 30, body: { message: 7 } },
    { message: 'Service Unavailable', code: 'SERVICE_UNAVAILABLE', statusCode: 503, retryable: true, retryAfter: 0 },
    { message: "I'm a Teapot", code: 'IM_A_TEAPOT', statusCode: 418, retryable: false, retryAfter: undefined, body: 'short and stout' },
    { message: 'Status 499', code: 'STATUS_499', statusCode: 499, body: undefined },
    { message: 'Internal error', code: 'INTERNAL_ERROR', statusCode: 500, retryable: false }
  ])
})

t.test('a failure that says when to come back can succeed later, whatever its status', async t => {
  const app = await buildBatch(t)
  const fail = (url: string, status: number, body: object, headers = {}) => app.get(url, (_, reply) => reply.code(status).headers(headers).send(body))
  fail('/running', 409, { code: 'FST_MULTI_STATUS_IDEMPOTENCY_IN_FLIGHT', message: 'Still running' }, { 'retry-after': '1' })
  fail('/running/unsaid', 409, { code: 'FST_MULTI_STATUS_IDEMPOTENCY_IN_FLIGHT', message: 'Still running' })
  fail('/locked', 423, {}, { 'retry-after': '0' })
  fail('/broken', 500, {}, { 'retry-after': '5' })
  fail('/taken', 409, { code: 'TAKEN' })

  const { results } = await post(app, ['/running', '/running/unsaid', '/locked', '/broken', '/taken'].map((url, id) => ({ id: `${id}`, url })))

  t.strictSame(results.map(({ statusCode, retryable, retryAfter }) => [statusCode, retryable, retryAfter]), [
    [409, true, 1], [409, true, undefined], [423, true, 0], [500, true, 5], [409, false, undefined]
  ])
})

t.test('a redirect is a success that is not followed', async t => {
  const app = await buildBatch(t)
  app.get('/old', (_, reply) => reply.redirect('/contacts/1', 308))
  app.get('/fresh', (_, reply) => reply.code(304).send())

  const { results } = await post(app, [{ id: '1', url: '/old' }, { id: '2', url: '/fresh' }])

  t.match(results, [{ status: 'success', statusCode: 308, headers: { location: '/contacts/1' } }, { status: 'success', statusCode: 304 }])
  t.notOk('body' in results[0]!)
})

t.test('JSON comes as it is, text as a string, everything else in base64; both ways', async t => {
  const app = await buildBatch(t)
  app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_, body, done) => done(null, body))
  app.addContentTypeParser('text/plain', { parseAs: 'string' }, (_, body, done) => done(null, body))
  app.post('/echo', (request, reply) => reply.type(String(request.headers['x-type'] ?? request.headers['content-type'])).send(request.body))
  const bytes = Buffer.from([0, 255, 128, 10])
  const type = (name: string, value = bytes as Buffer | string) => app.get(`/${name.replace('/', '-')}`, (_, reply) => reply.type(name).send(value))
  type('image/png')
  type('application/problem+json', '{"title":"Odd"}')
  type('application/json', 'no json')
  type('text/csv', Buffer.from('ä,ö'))
  type('text/html', bytes)
  app.get('/gzip', (_, reply) => reply.type('application/json').header('content-encoding', 'gzip').send(bytes))
  app.get('/untyped', (_, reply) => { reply.hijack(); reply.raw.end('bare') })
  app.get('/latin', (_, reply) => { reply.hijack(); reply.raw.writeHead(200, 'Fine', ['Content-Type', 'text/plain']).end('é', 'latin1') })
  app.get('/pairs', (_, reply) => { reply.hijack(); reply.raw.writeHead(200, ['X-A', '1']).end(() => {}) })
  const base64 = bytes.toString('base64')

  const { results } = await post(app, [
    { id: 'json', method: 'POST', url: '/echo', body: 'a string' },
    { id: 'text', method: 'POST', url: '/echo', body: 'a text', headers: { 'content-type': 'text/plain' } },
    { id: 'bytes', method: 'POST', url: '/echo', body: base64, encoding: 'base64' },
    ...['image-png', 'application-problem+json', 'application-json', 'text-csv', 'text-html', 'gzip', 'untyped', 'latin', 'pairs']
      .map(id => ({ id: id.replace('+', '-'), url: `/${id}` })),
    { id: 'head', method: 'HEAD', url: '/text-csv' }
  ])

  t.strictSame(results.map(({ body, encoding }) => [body, encoding]), [
    ['a string', undefined], ['a text', undefined], [base64, 'base64'], [base64, 'base64'], [{ title: 'Odd' }, undefined],
    ['no json', undefined], ['ä,ö', undefined], [base64, 'base64'], [base64, 'base64'], ['bare', undefined],
    [Buffer.from('é', 'latin1').toString('base64'), 'base64'], [undefined, undefined], [undefined, undefined]
  ])
  t.equal(results[11]!.headers!['x-a'], '1')
})

t.test('a body that is larger than its route takes fails with 413, alone', async t => {
  const app = await buildBatch(t)
  const { results } = await post(app, [
    { id: '1', method: 'POST', url: '/contacts', body: { email: `@${'x'.repeat(100)}` } },
    { id: '2', method: 'POST', url: '/contacts', body: { email: '@' } }
  ])
  t.match(results, [{ code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 }, { status: 'success' }])
})

function isAnyDepthJson (): boolean {
  try {
    return JSON.stringify(JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))).length > 0
  } catch {
    return false
  }
}

t.test('a body too deep for JSON, and an app that breaks before its hooks, cost no other request', async t => {
  const app = await buildBatch(t, {}, {
    fastify: { genReqId: ({ url }) => { if (url === '/breaks') throw new Error('hunter2'); return 'id' } }
  })
  const deep = '['.repeat(100_000) + ']'.repeat(100_000)
  const payload = '{"requests":[{"id":"1","method":"POST","url":"/contacts","body":{"$literal":' + deep + '}},' +
    '{"id":"2","url":"/breaks"},{"id":"3","url":"/contacts/1"}]}'
  // From Node 26 on, JSON may be as deep as it likes; this body then is too large for its route.
  const tooDeep = isAnyDepthJson()
    ? { code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 }
    : { code: 'INVALID_BODY', errors: [{ detail: 'must not be so deep' }] }
  for (const prefer of ['', 'handling=strict']) {
    const response = await app.inject({ method: 'POST', url: '/batch', headers: { 'content-type': 'application/json', prefer }, payload })
    t.notMatch(response.body, 'hunter2')
    if (prefer === '') t.match(response.json().results, [tooDeep, { code: 'INTERNAL_ERROR' }, { status: 'success' }])
    else t.match(response.json().errors, [{ pointer: /^#\/requests\/0/ }, { pointer: '#/requests/1/url', detail: 'Internal error' }])
  }
})

t.test('over HTTP/2 a request has the host of the batch', async t => {
  const app = await buildBatch(t, {}, { fastify: { http2: true } as object })
  app.get('/host', async ({ host }) => ({ host }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':method': 'POST', ':path': '/batch', ':authority': 'example.org', 'content-type': 'application/json' })
  stream.end('{"requests":[{"id":"1","url":"/host"}]}')
  t.match(await json(stream), { results: [{ body: { host: 'example.org' } }] })
  await new Promise<void>(resolve => session.close(resolve))
})

t.test('the whole batch has a limit of its own', async t => {
  const app = await buildBatch(t, { bodyLimit: '1kb' })
  const { response } = await post(app, [{ id: '1', method: 'POST', url: '/contacts', body: { email: `@${'x'.repeat(1000)}` } }])
  t.equal(response.statusCode, 413)
})

t.test('answers are bounded, each and all together; what was answered is said', async t => {
  const app = await buildBatch(t, { limits: { response: 100, total: 150 } })
  app.get('/bytes/:size', (request, reply) => reply.code(201).type('text/plain').send('x'.repeat(Number((request.params as { size: string }).size))))

  const { results } = await post(app, ['100', '101', '51', '50'].map(size => ({ id: size, url: `/bytes/${size}` })))

  t.match(results, [
    { status: 'success' },
    { status: 'error', code: 'RESPONSE_TOO_LARGE', statusCode: 413, message: /has answered 201.*at most 100 bytes of one answer/ },
    { status: 'error', code: 'RESPONSE_TOO_LARGE', message: /has answered 201.*at most 150 bytes of all answers together/ },
    { status: 'success' }
  ])
})

t.test('cookies are set on the whole answer, where scripts cannot read them, and other headers stay with their results', async t => {
  const app = await buildBatch(t)
  app.get('/one', (_, reply) => reply.header('set-cookie', ['a=1', 'b=2']).header('x-one', ['1', '2']).send({}))
  app.get('/two', (_, reply) => reply.header('set-cookie', 'c=3; HttpOnly').header('keep-alive', 'timeout=5').send({}))

  const { response, results } = await post(app, [{ id: '1', url: '/one' }, { id: '2', url: '/two' }])

  t.strictSame(response.headers['set-cookie'], ['a=1', 'b=2', 'c=3; HttpOnly'])
  t.strictSame(results.map(({ headers }) => Object.keys(headers!)), [['x-one', 'content-type'], ['content-type']])
  t.equal(results[0]!.headers!['x-one'], '1, 2')
})

t.test('return=minimal leaves key and status, and the failures as they are', async t => {
  const app = await buildBatch(t)
  const { response, results } = await post(app, [{ id: '1', url: '/contacts/1' }, { id: '2', url: '/none' }], { headers: { prefer: 'return=minimal' } })
  t.equal(response.headers['preference-applied'], 'return=minimal')
  t.strictSame(results[0], { id: '1', status: 'success' })
  t.match(results[1], { code: 'ROUTE_NOT_FOUND', message: 'Route not found' })
})

t.test('a request that takes too long fails alone, and its route hears of it', async t => {
  const log: LogLine[] = []
  let isAborted = false
  const app = await buildBatch(t, { timeout: 200 }, { onLog: line => log.push(line) })
  app.get('/hang', (request, reply) => { reply.raw.once('close', () => { isAborted = !reply.raw.writableFinished }) })
  app.get('/slow', () => setTimeout(20, {}))
  app.get('/ended', (_, reply) => { reply.hijack(); reply.raw.destroy(); reply.raw.destroy() })
  app.get('/late', (_, reply) => { reply.hijack(); reply.raw.end('in time'); reply.raw.write('late') })
  app.get('/endless', (_, reply) => { reply.hijack(); while (!reply.raw.destroyed) reply.raw.write('x'.repeat(100_000)) })

  const start = performance.now()
  const { results } = await post(app, [{ id: '1', url: '/hang' }, { id: '2', url: '/slow' }, { id: '3', url: '/ended' }, { id: '4', url: '/hang', dependsOn: ['2'] },
    { id: '5', url: '/late' }, { id: '6', url: '/endless' }])

  t.match(results, [
    { code: 'TIMEOUT', statusCode: 504, retryable: true },
    { status: 'success' },
    { code: 'INTERNAL_ERROR', statusCode: 500, message: 'Internal error' },
    { code: 'TIMEOUT' },
    { status: 'success', body: 'in time' },
    { code: 'RESPONSE_TOO_LARGE', message: /bytes of one answer/ }
  ])
  t.ok(performance.now() - start >= 210, 'the time of each begins with it')
  await waitFor('the abort', () => isAborted)
  t.match(log.filter(({ msg }) => msg === 'item failed').map(({ key, code }) => [key, code]), [['1', 'TIMEOUT'], ['3', 'INTERNAL_ERROR'], ['4', 'TIMEOUT']])
})

t.test("an app's own compilers need not know JSON Schema", async t => {
  const app = await build(t, {
    before: app => {
      app.setValidatorCompiler(() => { throw new Error('no JSON Schema, please') })
      app.setSerializerCompiler(() => { throw new Error('no JSON Schema, please') })
    },
    plugin: { batch: {} }
  })
  app.get('/plain', { config: { batch: true } }, async () => ({ a: 1 }))
  t.match((await post(app, [{ id: '1', url: '/plain' }])).results, [{ status: 'success', body: { a: 1 } }])
})

t.test('when the client is gone, what has not started is not run', async t => {
  const started: string[] = []
  let release = () => {}
  let gone = 0
  const app = await buildBatch(t, { concurrency: 1 }, {
    before: app => { app.addHook('onRequest', async ({ url, raw }) => { if (url === '/batch') raw.socket.once?.('close', () => gone++) }) }
  })
  app.get('/slow/:id', async ({ params }) => {
    started.push((params as { id: string }).id)
    await new Promise<void>(resolve => { release = resolve })
    return {}
  })
  await app.listen({ port: 0, host: '127.0.0.1' })

  for (const dependsOn of [[], ['1']]) {
    const body = JSON.stringify({ requests: [{ id: '1', url: '/slow/1' }, { id: '2', url: '/slow/2', dependsOn }] })
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`POST /batch HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    await waitFor('the first request', () => started.length === 1)
    socket.destroy()
    await waitFor('the end of the connection', () => gone === 1)
    release()
    await post(app, [{ id: '1', url: '/contacts/1' }, { id: '2', url: '/contacts/{1.id}' }])
    t.strictSame(started.splice(0), ['1'])
    gone = 0
  }
})
