// Idempotency-Key: a repeated request gets the first answer, and nothing runs twice.
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { mock } from 'node:test'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { bulkRoute, generic, ItemError, memoryIdempotency, type FastifyMultiStatusOptions, type IdempotencyOptions, type IdempotencyStore } from '../../../lib/index.js'
import { redisIdempotency } from '../../../lib/core/idempotency/redis.js'
import { build, type BuildOptions, type LogLine } from '../../fixtures/build.js'
import { hasRedisServer, startRedisServer } from '../../fixtures/redis-server.js'
import { skipUnless } from '../../fixtures/skip.js'
import { waitFor } from '../../fixtures/wait.js'

const Item = Type.Object({ id: Type.Integer() })
const items = [{ id: 1 }, { id: 2 }]
const code = (name: string) => `FST_MULTI_STATUS_IDEMPOTENCY_${name}`

interface Setup extends BuildOptions {
  idempotency?: Partial<IdempotencyOptions>
  route?: Partial<Parameters<typeof bulkRoute>[0]>
  handler?: (id: number) => unknown
}

/** An app with a bulk route that counts what it runs. */
async function buildCounting (t: Test, { idempotency = {}, route, handler = () => {}, plugin, ...options }: Setup = {}) {
  const ran: number[] = []
  const app = await build(t, { ...options, plugin: { idempotency: { store: memoryIdempotency(), ...idempotency }, ...plugin } })
  app.route(bulkRoute({
    url: '/items',
    contract: generic,
    item: Item,
    handler: async ({ id }) => {
      ran.push(id)
      await handler(id)
    },
    ...route as object
  }))
  const post = (key: string | undefined, payload: object = items, headers = {}, url = '/items') => app.inject({
    method: 'POST', url, payload, headers: { ...(key !== undefined && { 'idempotency-key': key }), ...headers }
  })
  return { app, ran, post }
}

/** A copy of a store with some methods replaced. */
function withMethods (methods: Partial<IdempotencyStore>): IdempotencyStore {
  return { ...memoryIdempotency(), ...methods }
}

const stores: Record<string, (t: Test) => Promise<IdempotencyStore>> = { memory: async () => memoryIdempotency() }
const skip = skipUnless(await hasRedisServer(), 'redis-server')
if (skip === false) {
  const server = await startRedisServer()
  t.teardown(() => server.kill())
  stores.redis = async t => {
    const client = new Redis(server.port)
    t.teardown(() => client.disconnect())
    return redisIdempotency({ client, prefix: `${t.name}:` })
  }
}

for (const [name, createStore] of Object.entries(stores)) {
  t.test(`${name}: runs a repeated request once, and replays its answer byte for byte`, async t => {
    const { post, ran } = await buildCounting(t, {
      idempotency: { store: await createStore(t) },
      handler: id => { if (id === 2) throw new ItemError('Nö', { statusCode: 503 }) }
    })

    const first = await post('a', items, { prefer: 'return=minimal' })
    const again = await post('a', items, { prefer: 'return=minimal' })

    t.equal(first.statusCode, 207)
    t.equal(again.statusCode, 207)
    t.ok(again.rawPayload.equals(first.rawPayload))
    t.notOk('idempotency-replayed' in first.headers)
    t.equal(again.headers['idempotency-replayed'], 'true')
    for (const header of ['content-type', 'content-length', 'multi-status', 'preference-applied', 'vary']) {
      t.ok(first.headers[header], header)
      t.equal(again.headers[header], first.headers[header], header)
    }
    t.strictSame(ran, [1, 2])
  })

  t.test(`${name}: runs one of 50 concurrent requests; the others get 409 or its answer`, async t => {
    let release = () => {}
    const gate = new Promise<void>(resolve => { release = resolve })
    const { post, ran } = await buildCounting(t, { idempotency: { store: await createStore(t) }, handler: () => gate })

    let answered = 0
    const sending = Array.from({ length: 50 }, () => post('a').then(answer => {
      answered++
      return answer
    }))
    await waitFor('49 answers', () => answered === 49)
    release()
    const answers = await Promise.all(sending)

    const refused = answers.filter(({ statusCode }) => statusCode === 409)
    t.equal(refused.length, 49)
    for (const { headers, body } of refused) {
      t.equal(headers['retry-after'], '1')
      t.equal(JSON.parse(body).code, code('IN_FLIGHT'))
    }
    t.equal((await post('a')).headers['idempotency-replayed'], 'true')
    t.strictSame(ran, [1, 2])
  })

  t.test(`${name}: refuses another request under the same key, but not an equivalent one`, async t => {
    const { app, post, ran } = await buildCounting(t, { idempotency: { store: await createStore(t) } })
    const send = (payload: string, url = '/items', type = 'application/json') =>
      app.inject({ method: 'POST', url, payload, headers: { 'idempotency-key': 'a', 'content-type': type } })
    app.addContentTypeParser('text/json', { parseAs: 'string' }, (_request, body, done) => done(null, JSON.parse(body as string)))
    await post('a', [{ id: 1, b: [1, { c: 2 }], d: null }])

    t.equal((await send('[{"d":null, "b":[1,{"c":2}],"id":1}]')).statusCode, 207)
    t.equal((await send('[{"d":null, "b":[1,{"c":2}],"id":1}]', '/items', 'application/json; charset=utf-8')).statusCode, 207)
    for (const response of [
      await send('[{"id":2,"b":[1,{"c":2}],"d":null}]'),
      await send('[{"id":1,"b":[1,{"c":2}]}]'),
      await send('[{"id":1,"b":[[1],{"c":2}],"d":null}]'),
      await send('[{"id":1,"b":[1,{"c":"2"}],"d":null}]'),
      await send('[{"id":1,"b":[1,{"c":2}],"d":null}]', '/items?dry=1'),
      await send('[{"id":1,"b":[1,{"c":2}],"d":null}]', '/items', 'text/json')
    ]) {
      t.equal(response.statusCode, 422)
      t.equal(response.json().code, code('MISMATCH'))
    }
    t.strictSame(ran, [1])
  })
}

t.test('separates the keys of routes and principals', async t => {
  const { app, post, ran } = await buildCounting(t, {
    idempotency: { principal: async request => request.headers.authorization }
  })
  app.route(bulkRoute({ url: '/others', contract: generic, item: Item, handler: ({ id }) => { ran.push(-id) } }))

  for (const authorization of ['ada', 'bob', 'ada']) await post('a', items, { authorization })
  t.strictSame(ran, [1, 2, 1, 2])
  await post('a', items, { authorization: 'ada' }, '/others')
  t.strictSame(ran, [1, 2, 1, 2, -1, -2])
})

t.test('runs every hook before a replay', async t => {
  const { app, post, ran } = await buildCounting(t, {
    before: app => app.addHook('preHandler', async (request, reply) => { if (request.headers.authorization !== 'ada') return reply.code(401).send() }),
    route: { preHandler: async (request: { headers: { role?: string } }, reply: { code: (status: number) => { send: () => unknown } }) => { if (!request.headers.role) return reply.code(403).send() } } as object
  })
  t.ok(app)
  t.equal((await post('a', items, { authorization: 'ada', role: 'x' })).statusCode, 207)
  t.equal((await post('a', items, { role: 'x' })).statusCode, 401)
  t.equal((await post('a', items, { authorization: 'ada' })).statusCode, 403)
  t.equal((await post('a', items, { authorization: 'ada', role: 'x' })).headers['idempotency-replayed'], 'true')
  t.strictSame(ran, [1, 2])
})

t.test('applies onSend hooks once to each answer', async t => {
  const { post } = await buildCounting(t, {
    before: app => app.addHook('onSend', async (_request, reply, payload) => {
      reply.header('x-hook', 'seen')
      return `{"data":${String(payload)}}`
    })
  })
  const first = await post('a')
  const again = await post('a')
  t.equal(first.body, '{"data":{"results":[{"id":1,"status":"success"},{"id":2,"status":"success"}]}}')
  t.equal(again.body, first.body)
  t.equal(again.headers['x-hook'], 'seen')
})

t.test('accepts keys with or without quotes, of 1 to 255 visible characters', async t => {
  const { post, ran } = await buildCounting(t)
  for (const key of ['a', '"a"', '8e03978e-40d5-43dd-bc93-6894a57f9324', '"a b, \\"c\\" \\\\"', 'x'.repeat(255), `"${'x'.repeat(255)}"`]) {
    t.equal((await post(key)).statusCode, 207, key)
  }
  t.strictSame(ran, [1, 2, 1, 2, 1, 2, 1, 2])
  for (const key of ['', '""', 'a b', 'a, b', '"a', 'a"', '"a";x=1', '"\\a"', 'ä', 'x'.repeat(256), `"${'x'.repeat(256)}"`]) {
    const response = await post(key)
    t.equal(response.statusCode, 400, key)
    t.equal(response.json().code, code('KEY_MALFORMED'))
  }
  t.match((await post('a b')).json().message, 'Expected an Idempotency-Key of 1 to 255 visible ASCII characters; received "a b"')
  t.equal(ran.length, 8)
})

t.test('stores nothing without a key, and runs nothing if a key is required', async t => {
  const free = await buildCounting(t)
  await free.post(undefined)
  await free.post(undefined)
  t.strictSame(free.ran, [1, 2, 1, 2])

  const { post, ran } = await buildCounting(t, { idempotency: { required: true } })
  const response = await post(undefined)
  t.equal(response.statusCode, 400)
  t.strictSame(response.json(), { statusCode: 400, code: code('KEY_MISSING'), error: 'Bad Request', message: 'Expected a header Idempotency-Key; received none' })
  t.strictSame(ran, [])
})

t.test('frees the key of a request that ran nothing', async t => {
  let isBroken = true
  const { app, post, ran } = await buildCounting(t, {})
  app.post('/plain', { schema: { body: Type.Array(Item) }, config: { multiStatus: generic } }, async (request, reply) => {
    if (isBroken) throw Object.assign(new Error('Not now'), { statusCode: 503 })
    ran.push(0)
    return reply.multiStatus((request.body as object[]).map(item => ({ ...item, status: 'success' })))
  })

  t.equal((await post('a', items, {}, '/plain')).statusCode, 503)
  isBroken = false
  const good = await post('a', items, {}, '/plain')
  t.equal(good.statusCode, 207)
  t.notOk('idempotency-replayed' in good.headers)
  t.equal((await post('a', items, {}, '/plain')).headers['idempotency-replayed'], 'true')

  t.equal((await post('b', [])).statusCode, 400)
  t.equal((await app.inject({ method: 'POST', url: '/items', payload: 'null', headers: { 'idempotency-key': 'b', 'content-type': 'application/json' } })).statusCode, 400)
  t.equal((await post('b', [{ id: 'x' }], { prefer: 'handling=strict' })).statusCode, 422)
  t.equal((await post('b')).statusCode, 207)
  t.strictSame(ran, [0, 1, 2])
})

t.test('takes options from the route, and ignores other routes', async t => {
  const own = memoryIdempotency()
  const { app, post, ran } = await buildCounting(t, { route: { idempotency: false } })
  app.route(bulkRoute({ url: '/own', contract: generic, item: Item, handler: ({ id }) => { ran.push(-id) }, idempotency: { store: own, required: true } }))
  app.post('/plain', async () => { ran.push(0) })
  app.get('/listed', { config: { multiStatus: generic } }, async (_request, reply) => { ran.push(9); return reply.multiStatus([]) })

  for (let times = 0; times < 2; times++) {
    await post('a')
    await post('a', items, {}, '/own')
    await post('a', items, {}, '/plain')
    await app.inject({ url: '/listed', headers: { 'idempotency-key': 'a' } })
  }
  t.equal((await post(undefined, items, {}, '/own')).statusCode, 400)
  t.strictSame(ran, [1, 2, -1, -2, 0, 9, 1, 2, 0, 9])

  const off = await build(t)
  let count = 0
  off.route(bulkRoute({ url: '/items', contract: generic, item: Item, handler: () => { count++ }, idempotency: { store: own } }))
  for (let times = 0; times < 2; times++) await off.inject({ method: 'POST', url: '/items', payload: items, headers: { 'idempotency-key': 'b' } })
  t.equal(count, 2)
})

t.test('covers tasks and JSON uploads, and refuses a form with a key', async t => {
  let ran = 0
  const app = await build(t, {
    plugin: {
      idempotency: { store: memoryIdempotency(), required: true },
      tasks: { handlers: { count: { handler: () => ++ran } } },
      upload: { storage: { open: async () => ({ write: async () => {}, publish: async () => ({ key: `k${++ran}` }), discard: async () => {} }) } }
    }
  })
  const send = (url: string, payload: object | string, headers = {}) => app.inject({ method: 'POST', url, payload, headers })
  const form = { 'content-type': 'multipart/form-data; boundary=x' }
  const file = '--x\r\ncontent-disposition: form-data; name="f"; filename="a.txt"\r\n\r\na\r\n--x--\r\n'
  const key = { 'idempotency-key': 'a' }

  for (const [url, payload] of [['/tasks', { tasks: [{ taskId: 1, type: 'count' }] }], ['/upload', { files: ['a.txt'] }]] as const) {
    const first = await send(url, payload, key)
    const again = await send(url, payload, key)
    t.equal(first.statusCode, 207)
    t.equal(again.body, first.body)
    t.equal(again.headers['idempotency-replayed'], 'true')
    t.equal((await send(url, payload)).statusCode, 400)
  }
  t.equal(ran, 2)

  t.equal((await send('/upload', file, form)).statusCode, 207)
  t.equal(ran, 3)
  const refused = await send('/upload', file, { ...form, ...key })
  t.equal(refused.statusCode, 400)
  t.equal(refused.json().code, code('KEY_UNUSABLE'))
  t.equal(ran, 3)
})

t.test('refuses a stream with a key', async t => {
  for (const [where, setup] of Object.entries({
    'the plugin': { route: { stream: true } },
    'the route': { plugin: { idempotency: false }, route: { stream: true, idempotency: { store: memoryIdempotency(), required: true } } }
  } satisfies Record<string, Setup>)) {
    await t.test(`by the option of ${where}`, async t => {
      const { app, ran } = await buildCounting(t, setup)
      const stream = (headers: Record<string, string>) =>
        app.inject({ method: 'POST', url: '/items/stream', payload: '{"id":1}\n', headers: { 'content-type': 'application/x-ndjson', ...headers } })

      const refused = await stream({ 'idempotency-key': 'a' })
      t.equal(refused.statusCode, 400)
      t.equal(refused.json().code, code('KEY_UNUSABLE'))
      t.equal((await stream({ 'idempotency-key': '' })).json().code, code('KEY_MALFORMED'))
      t.strictSame(ran, [])
      t.equal((await stream({})).statusCode, 207)
      t.strictSame(ran, [1])
    })
  }
})

t.test('ignores the key of a stream without idempotency', async t => {
  const { app, ran } = await buildCounting(t, { route: { stream: true, idempotency: false } })
  const headers = { 'content-type': 'application/x-ndjson', 'idempotency-key': 'a' }
  t.equal((await app.inject({ method: 'POST', url: '/items/stream', payload: '{"id":1}\n', headers })).statusCode, 207)
  t.strictSame(ran, [1])
})

t.test('runs the hooks of a stream before it refuses the key', async t => {
  const { app, ran } = await buildCounting(t, {
    route: { stream: true, preHandler: async (_request: unknown, reply: FastifyReply) => reply.code(401).send({}) } as Setup['route']
  })
  const headers = { 'content-type': 'application/x-ndjson', 'idempotency-key': 'a' }
  t.equal((await app.inject({ method: 'POST', url: '/items/stream', payload: '{"id":1}\n', headers })).statusCode, 401)
  t.strictSame(ran, [])
})

t.test('answers 503 and runs nothing if the store fails or hangs', async t => {
  const lines: LogLine[] = []
  const broken = await buildCounting(t, {
    idempotency: { store: withMethods({ claim: async () => { throw new Error('redis://secret') } }) }, onLog: line => lines.push(line)
  })
  const response = await broken.post('a')
  t.equal(response.statusCode, 503)
  t.equal(response.json().code, code('UNAVAILABLE'))
  t.notMatch(response.body, 'secret')
  t.match(JSON.stringify(lines), 'redis://secret')

  const sync = await buildCounting(t, { idempotency: { store: withMethods({ claim: () => { throw new Error('at once') } }) } })
  t.equal((await sync.post('a')).statusCode, 503)

  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const released: string[] = []
  let answerLate = (_: undefined) => {}
  const hanging = await buildCounting(t, {
    idempotency: {
      store: withMethods({
        claim: () => new Promise<undefined>(resolve => { answerLate = resolve }),
        release: async (_key, token) => { released.push(token) }
      })
    }
  })
  const waiting = hanging.post('a')
  const ticking = setInterval(() => mock.timers.tick(1_000), 1)
  t.equal((await waiting).statusCode, 503)
  clearInterval(ticking)
  answerLate(undefined)
  await new Promise(resolve => setImmediate(resolve))
  t.equal(released.length, 1)
  t.strictSame([broken.ran, sync.ran, hanging.ran], [[], [], []])
})

t.test('sends an answer that cannot be stored, and does not run it again', async t => {
  const lines: LogLine[] = []
  let failures = 1
  const memory = memoryIdempotency()
  const { post, ran } = await buildCounting(t, {
    idempotency: {
      store: withMethods({
        ...memory,
        complete: async (...given) => {
          if (failures-- > 0) throw new Error('disk full')
          return memory.complete(...given)
        }
      })
    },
    onLog: line => lines.push(line)
  })

  const first = await post('a')
  t.equal(first.statusCode, 207)
  t.match(lines.filter(({ level }) => level >= 50), [{ msg: 'idempotency: the answer could not be kept', err: { message: 'disk full' } }])
  const again = await post('a')
  t.equal(again.statusCode, 409)
  t.equal(again.json().code, code('ANSWER_LOST'))

  failures = 2
  t.equal((await post('b')).statusCode, 207)
  t.equal((await post('b')).json().code, code('IN_FLIGHT'), 'until the claim expires')
  t.strictSame(ran, [1, 2, 1, 2])
})

t.test("logs a claim that another request has taken over, and keeps that one's answer", async t => {
  const lines: LogLine[] = []
  const { post } = await buildCounting(t, { idempotency: { store: withMethods({ complete: async () => false }) }, onLog: line => lines.push(line) })
  t.equal((await post('a')).statusCode, 207)
  t.match(lines.find(({ level }) => level >= 50), { msg: 'idempotency: the answer could not be kept, because somebody else has it' })
})

t.test('logs a key that cannot be released, and still answers the error', async t => {
  const lines: LogLine[] = []
  const { app, post } = await buildCounting(t, { idempotency: { store: withMethods({ release: async () => { throw new Error('gone') } }) }, onLog: line => lines.push(line) })
  app.post('/plain', { config: { multiStatus: generic } }, async () => { throw Object.assign(new Error('Not now'), { statusCode: 503 }) })
  t.equal((await post('a', items, {}, '/plain')).statusCode, 503)
  t.match(lines.find(({ msg }) => msg.startsWith('idempotency')), { msg: 'idempotency: the key could not be given back', err: { message: 'gone' } })
})

/** Replaces setInterval, and returns the callbacks of the intervals that are set from now on. */
function holdIntervals (t: Test): { ms: number, act: () => void, timer: NodeJS.Timeout }[] {
  const { setInterval } = globalThis
  const held: ReturnType<typeof holdIntervals> = []
  t.teardown(() => { globalThis.setInterval = setInterval })
  globalThis.setInterval = ((act: () => void, ms: number) => {
    const timer = setInterval(() => {}, 2 ** 31 - 1)
    held.push({ ms, act, timer })
    return timer
  }) as typeof setInterval
  return held
}

const isCleared = (timer: NodeJS.Timeout) => (timer as unknown as { _destroyed: boolean })._destroyed

t.test('renews a claim while its request runs, up to the ttl', async t => {
  const intervals = holdIntervals(t)
  const lines: LogLine[] = []
  let renewed = 0
  let release = () => {}
  const gate = new Promise<void>(resolve => { release = resolve })
  const renew = async () => {
    if (++renewed === 2) throw new Error('a hiccup')
    return true
  }
  const { post } = await buildCounting(t, { idempotency: { store: withMethods({ renew }) }, handler: () => gate, onLog: line => lines.push(line) })
  const sending = post('a')
  await waitFor('the request to run', () => intervals.length === 1)

  t.equal(intervals[0]!.ms, 10_000)
  for (let times = 0; times < 3; times++) intervals[0]!.act()
  t.equal(renewed, 3)
  t.notOk(isCleared(intervals[0]!.timer))
  release()
  t.equal((await sending).statusCode, 207)
  t.ok(isCleared(intervals[0]!.timer))
  t.match(lines.filter(({ level }) => level >= 50), [{ msg: 'idempotency: the claim could not be renewed', err: { message: 'a hiccup' } }])

  const short = await buildCounting(t, { idempotency: { ttl: 1, store: withMethods({ renew }) }, handler: () => new Promise(() => {}), route: { timeout: 200 } })
  const shortly = short.post('b')
  await waitFor('the request to run', () => intervals.length === 2)
  const begin = Date.now()
  await waitFor('the time to be over that an answer would be kept', () => Date.now() > begin + 1)
  intervals[1]!.act()
  t.equal(renewed, 3)
  t.ok(isCleared(intervals[1]!.timer))
  await shortly
})

/** Sends a request whose client disconnects when `isTime` resolves. */
async function sendAndGo (app: FastifyInstance, url: string, isTime: Promise<unknown>): Promise<void> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const client = httpRequest({ port, method: 'POST', path: url, headers: { 'content-type': 'application/json', 'idempotency-key': 'a' } })
  client.on('error', () => {})
  client.end(JSON.stringify(items))
  await isTime
  client.destroy()
}

t.test('replays the answer to a client that was disconnected', async t => {
  let started = () => {}
  const isStarted = new Promise<void>(resolve => { started = resolve })
  const { app, post, ran } = await buildCounting(t, { route: { concurrency: 1 }, handler: () => { started(); return new Promise(() => {}) } })

  await sendAndGo(app, '/items', isStarted)
  await waitFor('the answer to be kept', async () => (await post('a')).statusCode === 207)

  const again = await post('a')
  t.equal(again.headers['idempotency-replayed'], 'true')
  t.match(again.json(), { results: [{ id: 1, code: 'CANCELLED', retryable: true }, { id: 2, code: 'NOT_RUN', retryable: true }] })
  t.strictSame(ran, [1])
})

/** An app that answers each request with a new stream of these chunks. */
async function buildStreaming (t: Test, create: () => Readable, onLog?: BuildOptions['onLog']) {
  let ran = 0
  const app = await build(t, { plugin: { idempotency: { store: memoryIdempotency({ maxBytes: 100 * 1024 * 1024 }) } }, ...(onLog && { onLog }) })
  app.post('/stream', { config: { multiStatus: generic } }, async (_request, reply) => {
    ran++
    return reply.code(207).type('application/x-ndjson').send(create())
  })
  const post = () => app.inject({ method: 'POST', url: '/stream', payload: items, headers: { 'idempotency-key': 'a' } })
  return { app, post, ran: () => ran }
}

t.test('streams the first answer, and replays it whole', async t => {
  const { post, ran } = await buildStreaming(t, () => Readable.from(['{"index":0}\n', Buffer.from('{"summary":{}}\n')], { objectMode: false }))
  const first = await post()
  const again = await post()
  t.equal(first.body, '{"index":0}\n{"summary":{}}\n')
  t.equal(again.body, first.body)
  t.equal(again.headers['content-type'], 'application/x-ndjson')
  t.equal(again.headers['idempotency-replayed'], 'true')
  t.equal(ran(), 1)
})

t.test('stores a streamed answer also if its client disconnects', async t => {
  for (const piecesBefore of [0, 1]) {
    let goOn = () => {}
    let isReading = () => {}
    const reading = new Promise<void>(resolve => { isReading = resolve })
    const { app, post, ran } = await buildStreaming(t, () => Readable.from((async function * () {
      for (let piece = 0; piece < piecesBefore; piece++) yield 'x'.repeat(1_000_000)
      isReading()
      await new Promise<void>(resolve => { goOn = resolve })
      yield 'the rest'
    })(), { objectMode: false }))

    await sendAndGo(app, '/stream', reading)
    const connections = async () => new Promise<number>(resolve => app.server.getConnections((_error, count) => resolve(count)))
    await waitFor('the connection to be closed', async () => await connections() === 0)
    goOn()
    await waitFor('the answer to be kept', async () => (await post()).statusCode === 207)
    t.equal((await post()).body.length, piecesBefore * 1_000_000 + 8)
    t.equal(ran(), 1)
  }
})

t.test('does not run a request again whose stream failed or was too long', async t => {
  const broken = await buildStreaming(t, () => Readable.from((async function * () {
    yield 'x'
    throw new Error('it broke')
  })(), { objectMode: false }))
  await t.rejects(broken.post())
  const again = await broken.post()
  t.equal(again.statusCode, 409)
  t.equal(again.json().code, code('ANSWER_LOST'))
  t.equal(broken.ran(), 1)

  const long = await buildStreaming(t, () => Readable.from(Array.from({ length: 17 }, () => Buffer.alloc(1024 * 1024)), { objectMode: false }))
  t.equal((await long.post()).rawPayload.length, 17 * 1024 * 1024)
  t.equal((await long.post()).json().code, code('ANSWER_LOST'))
  t.equal(long.ran(), 1)
})

t.test('handles empty, too long and unreadable answers, and hijacked replies', async t => {
  let ran = 0
  const app = await build(t, { plugin: { idempotency: { store: memoryIdempotency() } } })
  const config = { multiStatus: generic }
  app.post('/none', { config }, async (_request, reply) => { ran++; return reply.code(202).header('location', '/there').send() })
  app.post('/long', { config }, async (_request, reply) => { ran++; return reply.send(Buffer.alloc(17 * 1024 * 1024)) })
  app.post('/web', { config }, async () => { ran++; return new Response('hi') })
  app.post('/own', { config }, (_request, reply) => { ran++; reply.hijack(); reply.raw.end('mine') })
  app.post('/callback', { config }, (_request, reply) => { ran++; reply.send('called') })
  const post = (url: string) => app.inject({ method: 'POST', url, payload: items, headers: { 'idempotency-key': 'a' } })

  t.equal((await app.inject({ method: 'POST', url: '/none', headers: { 'idempotency-key': 'b' } })).statusCode, 202)
  ran = 0
  t.equal((await post('/none')).statusCode, 202)
  const none = await post('/none')
  t.equal(none.statusCode, 202)
  t.equal(none.headers.location, '/there')
  t.equal(none.body, '')
  for (const url of ['/long', '/web']) {
    t.equal((await post(url)).statusCode, 200)
    t.equal((await post(url)).json().code, code('ANSWER_LOST'))
  }
  t.equal((await post('/callback')).body, 'called')
  t.equal((await post('/callback')).headers['idempotency-replayed'], 'true')
  t.equal(ran, 4)

  const intervals = holdIntervals(t)
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const own = await fetch(`${address}/own`, { method: 'POST', headers: { 'idempotency-key': 'a' } })
  t.equal(await own.text(), 'mine')
  await waitFor('the claim to be let go', () => isCleared(intervals[0]!.timer))
})

t.test('compares other bodies byte by byte', async t => {
  const app = await build(t, { plugin: { idempotency: { store: memoryIdempotency() } } })
  app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.post('/bytes', { config: { multiStatus: generic } }, async (_request, reply) => reply.multiStatus([{ id: 1, status: 'success' }]))
  const send = (payload: Buffer | string, type = 'application/octet-stream') =>
    app.inject({ method: 'POST', url: '/bytes', payload, headers: { 'idempotency-key': type.replace('/', '-'), 'content-type': type } })

  for (const [type, one, other] of [['application/octet-stream', Buffer.from([1, 2]), Buffer.from([1, 3])], ['text/plain', 'one', 'other']] as const) {
    t.equal((await send(one, type)).statusCode, 207)
    t.equal((await send(one, type)).headers['idempotency-replayed'], 'true')
    t.equal((await send(other, type)).statusCode, 422)
  }
})

t.test('documents the header on the routes that accept it', async t => {
  const app = await build(t, { plugin: { docs: {}, idempotency: { store: memoryIdempotency(), required: true } } })
  app.route(bulkRoute({ url: '/items', contract: generic, item: Item, handler: () => {}, status: 'collapse', stream: true }))
  app.route(bulkRoute({ url: '/without', contract: generic, item: Item, handler: () => {}, idempotency: false }))
  app.post('/plain', { schema: { headers: Type.Object({ 'x-mine': Type.String() }), response: { 409: Type.Object({}) } }, config: { multiStatus: generic } }, async () => {})

  const { paths } = (await app.inject('/documentation/json')).json()
  const { parameters, responses } = paths['/items'].post

  t.match(parameters.find(({ name }: { name: string }) => name === 'Idempotency-Key'), { in: 'header', required: true, schema: { type: 'string', maxLength: 255 } })
  t.strictSame(parameters.map(({ name }: { name: string }) => name), ['Prefer', 'Idempotency-Key'])
  for (const status of ['200', '207']) t.match(responses[status].headers, { 'Idempotency-Replayed': { schema: { type: 'string' } } })
  t.match(responses['409'], { description: /still running/, content: { 'application/json': { examples: { [code('IN_FLIGHT')]: { value: { code: code('IN_FLIGHT') } } } } } })
  t.strictSame(Object.keys(responses['422'].content['application/json'].examples), ['strict', code('MISMATCH')])
  t.match(responses['422'].description, /invalid.*another request/)

  const stream = paths['/items/stream'].post
  t.strictSame(stream.parameters.map(({ name }: { name: string }) => name), ['Prefer'])
  t.strictSame(Object.keys(stream.responses['400'].content['application/json'].examples), ['malformed', code('KEY_UNUSABLE')])

  t.notOk('409' in paths['/without'].post.responses)
  t.strictSame(paths['/without'].post.parameters.map(({ name }: { name: string }) => name), ['Prefer'])
  t.strictSame(paths['/plain'].post.parameters.map(({ name }: { name: string }) => name), ['x-mine', 'Idempotency-Key'])
})

t.test('rejects invalid options at registration', async t => {
  const store = memoryIdempotency()
  const wrong: [unknown, RegExp][] = [
    [true, /idempotency must be an object of options, or false; received true/],
    [{}, /idempotency\.store must be a store, as memoryIdempotency\(\) makes; received undefined/],
    [{ store, ttl: 0 }, /idempotency\.ttl must be an integer from 1/],
    [{ store, required: 'yes' }, /idempotency\.required must be true or false; received "yes"/],
    [{ store, principal: 'me' }, /idempotency\.principal must be a function of the request; received "me"/],
    [{ store, tll: 1 }, /an option in idempotency must be one of "store", "ttl", "required", "principal"; received "tll"/]
  ]
  for (const [idempotency, message] of wrong) {
    await t.rejects(build(t, { plugin: { idempotency } as FastifyMultiStatusOptions }), { code: 'FST_MULTI_STATUS_INVALID_OPTION', message })
    if (idempotency === true) continue
    const app = await build(t)
    t.throws(() => app.route(bulkRoute({ url: '/items', contract: generic, item: Item, handler: () => {}, idempotency: idempotency as IdempotencyOptions })), { message })
  }
})

t.test('runs nothing while Redis is down, and runs again when it is back', { skip }, async t => {
  const server = await startRedisServer()
  const client = new Redis(server.port, { maxRetriesPerRequest: 1, enableOfflineQueue: false })
  client.on('error', () => {})
  t.teardown(async () => {
    client.disconnect()
    await server.kill()
  })
  await waitFor('the client to be ready', () => client.status === 'ready')
  const { post, ran } = await buildCounting(t, { idempotency: { store: redisIdempotency({ client }) } })
  t.equal((await post('a')).statusCode, 207)

  await server.kill()
  await waitFor('the client to notice', () => client.status !== 'ready')
  const refused = await post('b')
  t.equal(refused.statusCode, 503)
  t.equal(refused.json().code, code('UNAVAILABLE'))
  t.strictSame(ran, [1, 2])

  await server.restart()
  await waitFor('the client to be back', () => client.status === 'ready')
  t.equal((await post('b')).statusCode, 207)
})

t.test('accepts a body that is nested deeper than the stack', async t => {
  const { app } = await buildCounting(t, { plugin: { idempotency: { store: memoryIdempotency() } } })
  const depth = 200_000
  await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  const body = `[{"id":1,"deep":${'['.repeat(depth)}${']'.repeat(depth)}}]`
  socket.write(`POST /items HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  const [head] = await once(socket, 'data') as [Buffer]
  t.match(head.toString(), /^HTTP\/1\.1 207/)
  socket.destroy()
})
