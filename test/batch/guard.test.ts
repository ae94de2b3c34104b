// What a batch can reach, and as whom: no more than who sends it could without.
import { once } from 'node:events'
import { Agent, request as httpRequest, ServerResponse } from 'node:http'
import { Agent as TlsAgent, request as tlsRequest, type AgentOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { json } from 'node:stream/consumers'
import { ReadableStream } from 'node:stream/web'
import type { TLSSocket } from 'node:tls'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t from 'tap'
import multiStatus, { type BatchOptions } from '../../lib/index.js'
import { build, type LogLine } from '../fixtures/build.js'
import { buildBatch, post, type Received, type Sent } from '../fixtures/batch.js'
import { cert, key } from '../fixtures/tls.js'

const codes = (results: Received[]) => results.map(({ status, code }) => code ?? status)
const gets = (...urls: string[]): Sent[] => urls.map((url, index) => ({ id: String(index), url }))

t.test('only routes that have opted in can be reached', async t => {
  const ran: string[] = []
  const routes = (app: FastifyInstance) => {
    for (const [url, batch] of Object.entries({ '/in': true, '/out': false, '/silent': undefined, '/contacts/:id/notes': undefined })) {
      app.get(url, { config: { ...(batch !== undefined && { batch }) } }, async () => { ran.push(url); return {} })
    }
    app.post('/silent', async () => { ran.push('POST /silent'); return {} })
    app.route({ method: ['PUT', 'PATCH'], url: '/several', handler: async () => { ran.push('several'); return {} } })
  }
  const cases: [allow: BatchOptions['allow'], reached: string[]][] = [
    [undefined, ['/in']],
    [['/silent'], ['/in', '/silent', 'POST /silent']],
    [['GET /silent'], ['/in', '/silent']],
    [['PUT /several'], ['/in']],
    [['/several'], ['/in', 'several']],
    [['/contacts/*'], ['/in', '/contacts/:id/notes']],
    [['/contacts/:id/notes'], ['/in', '/contacts/:id/notes']],
    [['/*'], ['/in', '/silent', '/contacts/:id/notes', 'POST /silent', 'several']],
    [({ url, config, method }) => method === 'GET' && url.startsWith('/s') && typeof config === 'object', ['/in', '/silent']],
    [(async () => true) as never, ['/in']]
  ]
  for (const [allow, reached] of cases) {
    const app = await build(t, { plugin: { batch: { ...(allow && { allow }) } } })
    routes(app)
    const { results } = await post(app, [
      ...gets('/in', '/out', '/silent', '/contacts/7/notes'),
      { id: 'post', method: 'POST', url: '/silent' },
      { id: 'put', method: 'put', url: '/several' }
    ])
    t.strictSame(ran.splice(0), reached)
    t.strictSame(codes(results).filter(code => code !== 'success'), Array(6 - reached.length).fill('ROUTE_NOT_ALLOWED'))
    t.match(results[1], { statusCode: 403, retryable: false, message: 'Route not allowed in a batch' })
    t.notOk('body' in results[1]!)
  }
})

t.test('no way to write a URL leads to a route that has not opted in', async t => {
  let ran = 0
  const app = await build(t, {
    fastify: { routerOptions: { caseSensitive: false, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true } },
    plugin: { batch: {} }
  })
  app.get('/admin/secret', async () => { ran++; return {} })
  app.get('/public/:name', { config: { batch: true } }, async ({ params }) => params)
  app.get('/public/private', async () => { ran++; return {} })

  const { results } = await post(app, gets(
    '/admin/secret', '/Admin/SECRET', '/admin/secret/', '/admin//secret', '/%61dmin/secret', '/admin/secre%74?x=/public/a', '/admin/secret;x',
    '/public/../admin/secret', '/public/%2e%2E/admin/secret', '/public/.', '/public/private', '/public/privat%65', '/public/a%2Fb', '/%', '/public/%zz'
  ))

  t.equal(ran, 0)
  t.strictSame(codes(results), [
    ...Array(6).fill('ROUTE_NOT_ALLOWED'), 'ROUTE_NOT_FOUND', 'INVALID_URL', 'INVALID_URL', 'INVALID_URL', 'ROUTE_NOT_ALLOWED', 'ROUTE_NOT_ALLOWED',
    'success', 'FST_ERR_BAD_URL', 'FST_ERR_BAD_URL'
  ])
  t.strictSame(results[12]!.body, { name: 'a/b' })
})

t.test('a URL is a path of this server', async t => {
  const app = await buildBatch(t)
  const urls = ['http://example.org/contacts/1', 'HTTPS://example.org', 'file:///etc/passwd', '//example.org/contacts/1', 'contacts/1', '*', '',
    '/contacts/1#top', '/contacts/ 1', '/contacts/1\r\nx: y', '/contacts/\\1', '/contacts/ä', '/\u0000']

  const { results } = await post(app, gets(...urls))

  t.strictSame(codes(results), Array(urls.length).fill('INVALID_URL'))
  t.match(results.slice(0, 5).map(({ message }) => message), [
    /received an absolute URL$/, /an absolute URL$/, /an absolute URL$/, /one of another host$/, /something else$/
  ])
})

t.test('a route that is not there, and a method that it has not', async t => {
  const app = await buildBatch(t)

  const { results } = await post(app, [
    ...gets('/nothing'),
    { id: 'delete', method: 'DELETE', url: '/contacts/1' },
    { id: 'connect', method: 'CONNECT', url: '/contacts/1' },
    { id: 'trace', method: 'TRACE', url: '/contacts/1' },
    { id: 'odd', method: 'GET /x', url: '/contacts/1' },
    { id: 'unknown', method: 'BREW', url: '/contacts/1' },
    { id: 'lower', method: 'get', url: '/contacts/1' }
  ])

  t.strictSame(codes(results), ['ROUTE_NOT_FOUND', ...Array(5).fill('METHOD_NOT_ALLOWED'), 'success'])
  t.match(results[1], { statusCode: 405, message: 'Method DELETE not allowed here' })
})

t.test('a batch cannot be in a batch, however it is written', async t => {
  const app = await build(t, { fastify: { routerOptions: { caseSensitive: false } }, plugin: { batch: { allow: () => true }, prefix: '/v1' } })
  const inner = { requests: [{ id: '1', url: '/' }] }
  const urls = ['/v1/batch', '/v1/b%61tch', '/V1/Batch', '/v1/batch?x=1', '/%76%31/batch?/other']

  const response = await app.inject({
    method: 'POST', url: '/v1/batch', payload: { requests: urls.map((url, index) => ({ id: String(index), method: 'POST', url, body: inner })) }
  })

  t.match(response.json().results, urls.map(() => ({ code: 'NESTED_BATCH', statusCode: 403 })))
})

t.test('streams and upgrades are refused, and a stream is ended', async t => {
  const app = await buildBatch(t)
  const sources: Readable[] = []
  app.get('/stream', (_, reply) => {
    sources.push(new Readable({ read () { this.push('x') } }))
    return reply.send(sources[0])
  })
  app.get('/web', (_, reply) => reply.send(new ReadableStream({ pull (controller) { controller.enqueue('x') } })))
  app.get('/events', (_, reply) => {
    reply.hijack()
    reply.raw.flushHeaders()
    reply.raw.flushHeaders()
    reply.raw.write('data: 1\n\n', 'utf8', () => reply.raw.end('data: 2\n\n'))
  })
  app.get('/upgrade', (_, reply) => reply.code(101).send())
  app.get('/empty', (_, reply) => reply.send(Readable.from([])))
  app.get('/early', (_, reply) => { reply.raw.writeContinue(); reply.raw.writeProcessing(); reply.raw.writeEarlyHints({}); return reply.send({}) })

  const { results } = await post(app, gets('/stream', '/web', '/events', '/upgrade', '/empty', '/early'))

  t.strictSame(codes(results), ['STREAM_NOT_ALLOWED', 'STREAM_NOT_ALLOWED', 'success', 'UPGRADE_NOT_ALLOWED', 'STREAM_NOT_ALLOWED', 'success'])
  t.equal(results[2]!.body, 'data: 1\n\ndata: 2\n\n', 'what a route writes itself is carried within the limit')
  t.match(results[0], { statusCode: 406, message: /streams its answer \(200\)/ })
  t.ok(sources[0]!.destroyed)
})

t.test('a request inherits few headers, and brings few', async t => {
  const app = await buildBatch(t, { headers: { inherit: ['Authorization', 'cookie', 'traceparent', 'x-tenant'], own: ['accept', 'X-Mine', 'content-type'] } })
  app.get('/headers', async ({ headers }) => headers)
  const send = (headers?: object) => ({ url: '/headers', ...(headers && { headers }) })
  const forbidden = ['Host', 'forwarded', 'X-Forwarded-For', 'x-forwarded-anything', 'x-real-ip', 'connection', 'Content-Length', 'transfer-encoding', 'te',
    'trailer', 'upgrade', 'expect', 'via', 'proxy-authorization', 'proxy-connection', 'x-user-id', 'cf-connecting-ip', 'authorization', 'x-other']

  const { results } = await post(app, [
    { id: 'own', ...send({ Accept: 'text/plain', 'X-MINE': 'yes', 'x-tenant': 't1' }) },
    { id: 'bad-name', ...send({ 'a b': '1' }) },
    { id: 'bad-value', ...send({ accept: 'a\r\nhost: evil' }) },
    ...forbidden.map((name, index) => ({ id: String(index), ...send({ [name]: '1' }) }))
  ], {
    headers: {
      authorization: 'Bearer a',
      cookie: 'c=1',
      traceparent: '00-1-2-01',
      'x-tenant': 't1',
      'x-secret': 's',
      accept: 'application/json',
      'x-forwarded-for': '10.0.0.1',
      host: 'example.org',
      'if-match': '"1"',
      'accept-encoding': 'gzip'
    }
  })

  t.strictSame(results[0]!.body, {
    accept: 'text/plain',
    'x-mine': 'yes',
    'x-tenant': 't1',
    authorization: 'Bearer a',
    cookie: 'c=1',
    traceparent: '00-1-2-01',
    'x-forwarded-for': '10.0.0.1',
    host: 'example.org'
  })
  t.match(results.slice(1, 3), [
    { code: 'HEADER_NOT_ALLOWED', statusCode: 400, errors: [{ pointer: '#/headers/a%20b', detail: 'it is no name of a header' }] },
    { code: 'HEADER_NOT_ALLOWED', errors: [{ pointer: '#/headers/accept' }] }
  ])
  t.strictSame(codes(results.slice(3)), forbidden.map(() => 'HEADER_NOT_ALLOWED'))
})

t.test('unless the app says otherwise, a request inherits who is asking and in which trace', async t => {
  const app = await buildBatch(t)
  app.get('/headers', async ({ headers }) => headers)
  const inherited = {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'rojo=00f067aa0ba902b7',
    baggage: 'user=7',
    'x-request-id': 'r1',
    authorization: 'Bearer a',
    cookie: 'c=1',
    'accept-language': 'de',
    'user-agent': 'test',
    host: 'example.org'
  }

  const { results } = await post(app, gets('/headers', '/headers'), { headers: { ...inherited, accept: 'application/json', 'x-other': '1' } })

  t.strictSame(results.map(({ body }) => body), [inherited, inherited])
})

t.test('no header and no id reaches the prototype of anything', async t => {
  const app = await buildBatch(t, { headers: { own: ['constructor', 'x'] } }, { fastify: { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' } })
  app.post('/echo', async request => request.body)
  const payload = '{"requests":[{"id":"__proto__","method":"POST","url":"/echo","headers":{"__proto__":"x"}},' +
    '{"id":"a","method":"POST","url":"/echo","body":{"__proto__":{"polluted":true},"x":{"$from":"b"}}},' +
    '{"id":"c","method":"POST","url":"/echo","headers":{"constructor":"1"},"body":{"__proto__":{"polluted":true},"x":{"$literal":1}}},' +
    '{"id":"d","url":"/contacts/{c.__proto__.polluted}"},{"id":"e","url":"/contacts/{c.constructor.name}"}]}'

  const response = await app.inject({ method: 'POST', url: '/batch', headers: { 'content-type': 'application/json' }, payload })

  const results: Received[] = response.json().results
  t.strictSame(codes(results), ['HEADER_NOT_ALLOWED', 'BAD_REFERENCE', 'success', 'success', 'BAD_REFERENCE'])
  t.match(response.body, '"body":{"__proto__":{"polluted":true},"x":1}', 'a member of that name is a member like any other')
  t.notOk('polluted' in {})
})

t.test("each request shows who sends the batch: address, protocol and host, also behind a proxy; and the batch's id", async t => {
  for (const trustProxy of [false, '127.0.0.1']) {
    const app = await buildBatch(t, {}, { fastify: { trustProxy, requestIdHeader: 'x-request-id', genReqId: () => 'made-here' } })
    const who = async ({ id, ip, ips, protocol, host, raw: { socket } }: import('fastify').FastifyRequest) => ({
      id, ip, ips: ips ?? null, protocol, host, port: socket.remotePort, family: socket.remoteFamily, local: [socket.localAddress, socket.localPort], destroyed: socket.destroyed
    })
    app.get('/who', who)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const headers = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'example.org' }

    for (const id of [undefined, 'from-outside']) {
      const { single, batched } = await sameConnection(port, '/who', { ...headers, ...(id && { 'x-request-id': id }) })
      t.strictSame(batched, single)
      t.match(batched, {
        id: id ?? 'made-here', ip: trustProxy ? '203.0.113.9' : '127.0.0.1', protocol: trustProxy ? 'https' : 'http', local: ['127.0.0.1', port], destroyed: false
      })
    }
  }
})

/** What a route answers to a request of its own, and what to one in a batch, over one connection. */
async function sameConnection (port: number, url: string, headers: Record<string, string>, tls?: AgentOptions) {
  const agent = tls === undefined ? new Agent({ keepAlive: true, maxSockets: 1 }) : new TlsAgent({ ...tls, keepAlive: true, maxSockets: 1 })
  const request = tls === undefined ? httpRequest : tlsRequest
  const send = async (method: string, path: string, body?: string) => {
    const outgoing = request({ agent, host: '127.0.0.1', port, method, path, headers: { ...headers, ...(body && { 'content-type': 'application/json' }) } }).end(body)
    const [response] = await once(outgoing, 'response')
    return await json(response)
  }
  const single = await send('GET', url)
  const { results } = await send('POST', '/batch', JSON.stringify({ requests: [{ id: '1', url }] })) as { results: Received[] }
  agent.destroy()
  return { single, batched: results[0]!.body }
}

t.test('over TLS a request has the protocol of the batch, and shows the certificate of the client', async t => {
  const https = { key, cert, ca: cert, requestCert: true, rejectUnauthorized: false }
  for (const isSecure of [true, false]) {
    const app = await buildBatch(t, {}, { fastify: (isSecure ? { https } : {}) as FastifyServerOptions })
    app.get('/who', async ({ protocol, raw }) => {
      const socket = raw.socket as TLSSocket
      const { encrypted = false, authorized = false, authorizationError: error = null } = socket
      return { protocol, encrypted, authorized, error, peer: socket.getPeerCertificate?.() ?? null, x509: socket.getPeerX509Certificate?.()?.subject ?? null }
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo

    for (const client of isSecure ? [{ ca: cert }, { ca: cert, key, cert }] : [undefined]) {
      const { single, batched } = await sameConnection(port, '/who', {}, client)
      t.strictSame(batched, single)
      t.match(batched, { protocol: isSecure ? 'https' : 'http', encrypted: isSecure, authorized: client !== undefined && 'key' in client })
    }
  }
})

t.test('a rate limit counts each request of a batch, by the address of the client', async t => {
  const app = await build(t, {
    before: async app => { await app.register(rateLimit, { global: false }) },
    plugin: { batch: { allow: ['/*'] } }
  })
  let ran = 0
  await app.register(async app => {
    app.get('/limited', { config: { rateLimit: { max: 3, timeWindow: '1 hour' } } }, async () => { ran++; return {} })
  })
  const batch = gets('/limited', '/limited', '/limited', '/limited', '/limited')

  const first = await post(app, batch, { remoteAddress: '203.0.113.1' })
  const single = await app.inject({ url: '/limited', remoteAddress: '203.0.113.1' })
  const spoofed = await post(app, gets('/limited').map(one => ({ ...one, headers: { 'x-forwarded-for': '203.0.113.3' } })), { remoteAddress: '203.0.113.1' })
  const other = await post(app, batch.slice(0, 1), { remoteAddress: '203.0.113.2' })

  t.strictSame(first.results.map(({ statusCode }) => statusCode), [200, 200, 200, 429, 429])
  t.match(first.results[3], { message: /Rate limit exceeded/, code: 'TOO_MANY_REQUESTS', retryable: true, retryAfter: 3600, headers: { 'x-ratelimit-remaining': '0' } })
  t.equal(single.statusCode, 429)
  t.match(spoofed.results, [{ code: 'HEADER_NOT_ALLOWED' }])
  t.strictSame(codes(other.results), ['success'])
  t.equal(ran, 4)
})

t.test('a rate limit for the whole app counts them too, also where it comes before the batch', async t => {
  for (const isFirst of [true, false]) {
    const limit = async (app: FastifyInstance) => { await app.register(rateLimit, { max: 4, timeWindow: '1 hour' }) }
    const app = await build(t, { ...(isFirst && { before: limit }), plugin: { batch: { allow: ['/*'] } } })
    if (!isFirst) await limit(app)
    app.get('/limited', async () => ({}))

    const { results } = await post(app, gets('/limited', '/limited', '/limited', '/limited', '/limited'))

    t.strictSame(results.map(({ statusCode }) => statusCode), isFirst ? [200, 200, 200, 429, 429] : [200, 200, 200, 200, 429])
  }
})

t.test('hooks for authorization run for each request, and decide', async t => {
  const seen: string[] = []
  const app = await buildBatch(t)
  await app.register(async admin => {
    admin.addHook('onRequest', async (request, reply) => {
      seen.push(`${request.url} ${request.headers.authorization}`)
      if (request.headers.authorization !== 'Bearer admin') return reply.code(401).send({ message: 'Who are you?', code: 'NO_TOKEN' })
    })
    admin.get('/users', async () => ({ users: 3 }))
    admin.delete('/users/:id', { preHandler: async (_, reply) => reply.code(403).send({ message: 'Not even you' }) }, async () => ({}))
  }, { prefix: '/admin' })
  const batch = [...gets('/admin/users'), { id: 'delete', method: 'DELETE', url: '/admin/users/1' }]

  const stranger = await post(app, batch)
  const admin = await post(app, batch, { headers: { authorization: 'Bearer admin' } })
  const forged = await post(app, batch.map(one => ({ ...one, headers: { authorization: 'Bearer admin' } })))

  t.match(stranger.results, [{ code: 'NO_TOKEN', statusCode: 401, message: 'Who are you?' }, { code: 'NO_TOKEN' }])
  t.match(admin.results, [{ status: 'success', body: { users: 3 } }, { code: 'FORBIDDEN', statusCode: 403, message: 'Not even you' }])
  t.strictSame(codes(forged.results), ['HEADER_NOT_ALLOWED', 'HEADER_NOT_ALLOWED'])
  t.strictSame(seen, ['/admin/users undefined', '/admin/users/1 undefined', '/admin/users Bearer admin', '/admin/users/1 Bearer admin'])
})

t.test('what answers before the guard may refuse but not admit', async t => {
  const app = await build(t, {
    before: app => {
      app.addHook('onRequest', async (request, reply) => {
        if (request.url === '/closed') return reply.code(451).send({ message: 'Closed' })
        if (request.url === '/open') return reply.code(200).send({ secret: true })
      })
    },
    plugin: { batch: {} }
  })
  const { results } = await post(app, gets('/closed', '/open'))
  t.match(results, [{ statusCode: 451, message: 'Closed' }, { code: 'ROUTE_NOT_ALLOWED', statusCode: 403 }])
  t.notOk('body' in results[1]!)
  const strict = await post(app, gets('/closed', '/open'), { headers: { prefer: 'handling=strict' } })
  t.match(strict.response.json().errors, [{ pointer: '#/requests/0', detail: 'Closed' }, { pointer: '#/requests/1/url', detail: 'Route not allowed in a batch' }])
})

t.test('a request of its own is none of a batch, whatever it says', async t => {
  const app = await build(t, { plugin: { batch: {} } })
  app.get('/silent', async () => ({}))
  app.get('/open', { config: { batch: true } }, async () => (await app.inject('/silent')).json())
  t.equal((await app.inject('/silent')).statusCode, 200)
  t.match((await post(app, gets('/open'))).results, [{ status: 'success', body: {} }], 'nor is one that a route makes')
})

t.test('routes outside of the plugin, and routes from before it, are guarded too', async t => {
  const options = { upload: false, tasks: false, docs: false, batch: {} } as const
  const nested = Fastify()
  let ran = 0
  const outside = async () => { ran++; return {} }
  await nested.register(async app => { app.get('/sibling', outside) })
  nested.get('/outside/:id', outside)
  await nested.register(async app => { await app.register(multiStatus, options) })
  nested.get('/in', { config: { batch: true } }, async () => ({}))
  const reach = async (app: FastifyInstance, ...urls: string[]) =>
    codes((await app.inject({ method: 'POST', url: '/batch', payload: { requests: gets(...urls) } })).json().results)
  t.strictSame(await reach(nested, '/sibling', '/outside/1', '/in'), ['ROUTE_NOT_ALLOWED', 'ROUTE_NOT_ALLOWED', 'success'])
  t.equal(ran, 0)

  const flat = Fastify()
  flat.get('/before', async () => ({}))
  await flat.register(async app => { app.get('/in-a-plugin', async () => ({})) })
  await flat.register(multiStatus, { ...options, docs: {} })
  await flat.register(async app => { app.all('/*', async () => ({})) })
  t.strictSame(await reach(flat, '/before', '/in-a-plugin', '/other'), Array(3).fill('ROUTE_NOT_ALLOWED'))
})

t.test('each batch decides by its own options which routes it reaches', async t => {
  const app = Fastify()
  for (const prefix of ['/v1', '/v2']) {
    await app.register(async inner => {
      await inner.register(multiStatus, { upload: false, tasks: false, docs: false, prefix, batch: { allow: [`${prefix}/*`] } })
    })
    app.get(`${prefix}/contacts`, async () => ({}))
  }
  for (const [prefix, expected] of [['/v1', ['success', 'ROUTE_NOT_ALLOWED']], ['/v2', ['ROUTE_NOT_ALLOWED', 'success']]] as const) {
    const response = await app.inject({ method: 'POST', url: `${prefix}/batch`, payload: { requests: gets('/v1/contacts', '/v2/contacts') } })
    t.strictSame(codes(response.json().results), expected)
  }
})

t.test('a hook that loses the asynchronous context does not get a request past the guard', async t => {
  const waiting: (() => void)[] = []
  const app = await build(t, {
    before: app => { app.addHook('onRequest', (request, _reply, next) => { if (request.url === '/batch') next(); else waiting.push(next) }) },
    plugin: { batch: {} }
  })
  let ran = 0
  app.get('/silent', async () => { ran++; return {} })
  app.get('/open', { config: { batch: true } }, async () => ({ isOpen: true }))
  const timer = setInterval(() => { for (const next of waiting.splice(0)) next() }, 5)
  t.teardown(() => clearInterval(timer))

  const { results } = await post(app, gets('/silent?a="b"', '/open'))

  t.match(results, [{ code: 'ROUTE_NOT_ALLOWED' }, { status: 'success', body: { isOpen: true } }])
  t.equal(ran, 0)
})

t.test('where Express middleware replaces the methods of the response, the body comes back if it can be known', async t => {
  const app = await build(t, {
    before: app => {
      // What @fastify/express does to each response.
      app.addHook('onRequest', async ({ url }, reply) => { if (url !== '/batch') Object.setPrototypeOf(reply.raw, ServerResponse.prototype) })
    },
    plugin: { batch: { timeout: 1000, limits: { response: 1000 } } }
  })
  let ran = 0
  const config = { batch: true }
  app.get('/silent', async () => { ran++; return {} })
  app.get('/open', { config }, async () => ({ isOpen: true }))
  app.get('/empty', { config }, (_, reply) => reply.code(204).send())
  app.get('/large', { config }, async () => 'x'.repeat(1001))
  app.get('/raw', { config }, (_, reply) => { reply.hijack(); reply.raw.writeHead(201, { 'content-length': 2 }).end('{}') })

  const { results } = await post(app, gets('/silent', '/open', '/empty', '/raw', '/large'))

  t.match(results, [
    { code: 'ROUTE_NOT_ALLOWED' }, { status: 'success', body: { isOpen: true } }, { status: 'success', statusCode: 204 },
    { code: 'RESPONSE_LOST', statusCode: 500, message: /has run and answered 201/ }, { code: 'RESPONSE_TOO_LARGE' }
  ])
  t.equal(ran, 0)
})

t.test('a request that is given up before it reaches its route does not run', async t => {
  let release = () => {}
  const released = new Promise<void>(resolve => { release = resolve })
  const app = await build(t, {
    before: app => { app.addHook('onRequest', async ({ url }) => { if (url === '/slow') await released }) },
    plugin: { batch: { timeout: 50 } }
  })
  let ran = 0
  app.get('/slow', { config: { batch: true } }, async () => { ran++; return {} })

  const { results } = await post(app, gets('/slow'))
  release()
  const own = await app.inject('/slow')

  t.match(results, [{ code: 'TIMEOUT' }])
  t.equal(own.statusCode, 200)
  t.equal(ran, 1, 'only the request of its own has run')
})

t.test('options that are not what they should be are refused', async t => {
  const wrong: [batch: unknown, message: RegExp][] = [
    [true, /batch must be an object of options, or false/],
    [{ routes: [] }, /an option in batch must be one of/],
    [{ url: 'batch' }, /batch\.url must be a path/],
    [{ allow: '/*' }, /batch\.allow must be an array of patterns or a function; received "\/\*"/],
    [{ allow: ['contacts'] }, /batch\.allow must be patterns as .*; received "contacts"/],
    [{ maxItems: 0 }, /batch\.maxItems/],
    [{ concurrency: '1' }, /batch\.concurrency/],
    [{ timeout: -1 }, /batch\.timeout/],
    [{ bodyLimit: 'much' }, /batch\.bodyLimit must be bytes as 1000000 or "1mb"; received "much"/],
    [{ bodyLimit: {} }, /batch\.bodyLimit/],
    [{ limits: { response: 0 } }, /batch\.limits\.response/],
    [{ limits: { total: null, more: 1 } }, /an option in batch\.limits/],
    [{ headers: { own: 'accept' } }, /batch\.headers\.own must be an array of names of headers/],
    [{ headers: { inherit: [1] } }, /batch\.headers\.inherit must be an array/],
    [{ headers: { own: ['X-Forwarded-For'] } }, /batch\.headers\.own must be names of headers that are not about the connection or the client; received "x-forwarded-for"/],
    [{ headers: { inherit: ['Host'] } }, /batch\.headers\.inherit/]
  ]
  for (const [batch, message] of wrong) {
    await t.rejects(build(t, { plugin: { batch: batch as BatchOptions } }), { code: 'FST_MULTI_STATUS_INVALID_OPTION', message })
  }
})

t.test('what is logged in a request of a batch has its id', async t => {
  const log: LogLine[] = []
  const app = await buildBatch(t, {}, { onLog: line => log.push(line), fastify: { requestIdHeader: 'x-request-id' } })
  app.get('/logs', async request => { request.log.info('hello'); return {} })
  await post(app, gets('/logs'), { headers: { 'x-request-id': 'chain-1' } })
  t.match(log.filter(({ msg }) => msg === 'hello'), [{ reqId: 'chain-1' }])
})
