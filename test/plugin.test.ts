// Registering: into apps with hooks, error handlers, prefixes, compilers and plugins of their own; and with wrong options.
import { mkdtemp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import multipart from '@fastify/multipart'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import multiStatus, { bulkRoute, disk, fastifyMultiStatus, generic, type FastifyMultiStatusOptions } from '../lib/index.js'
import { build, type LogLine } from './fixtures/build.js'

const handlers = { echo: { handler: (payload: unknown) => payload } }
const tasks = { tasks: [{ taskId: 1, type: 'echo', payload: 'hi' }] }
const completed = { tasks: [{ taskId: 1, status: 'completed', output: 'hi' }] }

const Item = Type.Object({ id: Type.Integer() })
const itemsRoute = () => bulkRoute({ url: '/items', contract: generic, item: Item, handler: () => {} })

const form = (name: string, content: string) => ({
  headers: { 'content-type': 'multipart/form-data; boundary=x' },
  payload: `--x\r\ncontent-disposition: form-data; name="f"; filename="${name}"\r\n\r\n${content}\r\n--x--\r\n`
})

async function storageIn (t: Test) {
  const dir = await mkdtemp(join(t.testdir(), 'files-'))
  return { dir, upload: { storage: disk({ dir }) } }
}

t.test("the app's own hooks decide first: without a right nothing runs", async t => {
  let ran = 0
  const app = await build(t, {
    before: app => {
      for (const name of ['onRequest', 'preHandler'] as const) {
        app.addHook(name, async (request, reply) => {
          if (request.headers.authorization !== name && request.headers.authorization !== 'all') return reply.code(401).send({ no: name })
        })
      }
    },
    plugin: { tasks: { handlers: { count: { handler: () => { ran++ } } } }, upload: (await storageIn(t)).upload, docs: {} }
  })
  const post = (url: string, authorization: string) =>
    app.inject({ method: 'POST', url, headers: { authorization }, payload: { tasks: [{ taskId: 1, type: 'count' }], files: ['a.txt'] } })

  for (const url of ['/tasks', '/upload']) {
    for (const [authorization, refusedBy] of [['', 'onRequest'], ['preHandler', 'onRequest'], ['onRequest', 'preHandler']]) {
      const response = await post(url, authorization!)
      t.equal(response.statusCode, 401)
      t.strictSame(response.json(), { no: refusedBy })
      t.notOk(response.headers['multi-status'])
    }
  }
  t.equal((await app.inject('/documentation/json')).statusCode, 401)
  t.equal(ran, 0)
  t.equal((await post('/tasks', 'all')).statusCode, 207)
  t.equal((await post('/upload', 'all')).statusCode, 207)
  t.equal(ran, 1)
})

t.test("whole-request errors go through the app's own error handler, failed items do not", async t => {
  const seen: string[] = []
  const app = await build(t, {
    before: app => app.setErrorHandler(async (error: FastifyError, _request, reply) => {
      seen.push(error.code)
      return reply.code(error.statusCode!).send({ mine: error.message })
    }),
    plugin: { tasks: { handlers }, upload: (await storageIn(t)).upload }
  })

  const empty = await app.inject({ method: 'POST', url: '/tasks', payload: { tasks: [] } })
  const noFiles = await app.inject({ method: 'POST', url: '/upload', payload: { files: [] } })
  const strict = await app.inject({
    method: 'POST', url: '/tasks', headers: { prefer: 'handling=strict' }, payload: { tasks: [{ taskId: 1, type: 'none' }] }
  })
  const failed = await app.inject({ method: 'POST', url: '/tasks', payload: { tasks: [{ taskId: 1, type: 'none' }] } })

  t.equal(empty.statusCode, 400)
  t.strictSame(empty.json(), { mine: 'Expected at least 1 item in tasks; received 0' })
  t.equal(noFiles.statusCode, 400)
  t.strictSame(noFiles.json(), { mine: 'Expected at least 1 item in "files"; received 0' })
  t.equal(strict.statusCode, 422)
  t.strictSame(strict.json(), { mine: 'Expected only valid items (Prefer: handling=strict); received 1 invalid of 1, so nothing ran' })
  t.equal(failed.statusCode, 207)
  t.match(failed.json().tasks, [{ taskId: 1, code: 'INVALID_ITEM' }])
  t.strictSame(seen, ['BATCH_EMPTY', 'BATCH_EMPTY', 'INVALID_ITEMS'].map(code => `FST_MULTI_STATUS_${code}`))
})

t.test('an error handler that the app sets only after the plugin is asked too, and may pass on', async t => {
  const app = await build(t, { plugin: { tasks: { handlers }, upload: (await storageIn(t)).upload } })
  app.setErrorHandler((error: FastifyError, request, reply) => {
    if (request.headers['x-pass'] !== undefined) throw error
    return reply.code(418).send({ mine: error.code })
  })

  for (const [url, code] of [['/tasks', 'FST_MULTI_STATUS_BODY_NOT_BATCH'], ['/upload', 'FST_MULTI_STATUS_BODY_NOT_BATCH']] as const) {
    const mine = await app.inject({ method: 'POST', url, payload: {} })
    const passed = await app.inject({ method: 'POST', url, payload: {}, headers: { 'x-pass': '1' } })

    t.equal(mine.statusCode, 418)
    t.strictSame(mine.json(), { mine: code })
    t.equal(passed.statusCode, 400)
    t.match(passed.json(), { statusCode: 400, code, error: 'Bad Request', message: /^Expected/ })
  }
})

t.test('an error that nobody handles is logged once', async t => {
  const lines: LogLine[] = []
  const app = await build(t, { plugin: { tasks: { handlers } }, onLog: line => lines.push(line) })
  app.addHook('preHandler', async () => { throw new Error('Out of order') })
  const response = await app.inject({ method: 'POST', url: '/tasks', payload: tasks })

  t.equal(response.statusCode, 500)
  t.equal(lines.filter(({ msg }) => msg === 'Out of order').length, 1)
})

t.test('a prefix, and that of the context it is registered in, come before the paths', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(async api => {
    await api.register(multiStatus, { tasks: { handlers }, upload: false, docs: false })
  }, { prefix: '/v1' })
  await app.register(async api => {
    await api.register(multiStatus, { tasks: { url: '/jobs', handlers }, upload: false, docs: false, prefix: '/bulk' })
  }, { prefix: '/v2' })

  for (const url of ['/v1/tasks', '/v2/bulk/jobs']) {
    const response = await app.inject({ method: 'POST', url, payload: tasks })
    t.equal(response.statusCode, 207)
    t.strictSame(response.json(), completed)
  }
  for (const url of ['/tasks', '/v1/upload', '/v2/tasks', '/v2/jobs']) {
    t.equal((await app.inject({ method: 'POST', url, payload: tasks })).statusCode, 404)
  }
})

t.test('the decorators are there for routes of the app itself, also in contexts of their own', async t => {
  const app = await build(t)
  await app.register(async api => {
    api.get('/plain', async (_request, reply) => reply.multiStatus([{ any: 'thing' }]))
    api.route(itemsRoute())
  }, { prefix: '/api' })

  const plain = await app.inject('/api/plain')
  const items = await app.inject({ method: 'POST', url: '/api/items', payload: [{ id: 1 }, { id: 'x' }] })

  t.equal(plain.statusCode, 207)
  t.equal(plain.body, '{"results":[{"any":"thing"}]}')
  t.equal(items.headers['multi-status'], 'total=2, succeeded=1, failed=1')
})

t.test('the Ajv options of the app hold for its own routes and change no item', async t => {
  const app = await build(t, { fastify: { ajv: { customOptions: { coerceTypes: 'array', removeAdditional: 'all', allErrors: true } } } })
  const Own = Type.Object({ list: Type.Array(Type.Integer()) })
  app.post('/own', { schema: { body: Own } }, async request => request.body)
  const seen: unknown[] = []
  app.route(bulkRoute({ url: '/items', contract: generic, item: Item, handler: item => { seen.push(item) } }))

  const own = await app.inject({ method: 'POST', url: '/own', payload: { list: '1', more: true } })
  const items = await app.inject({ method: 'POST', url: '/items', payload: [{ id: '1' }, { id: 2, more: true }, [{ id: 3 }]] })

  t.strictSame(own.json(), { list: [1] })
  t.strictSame(seen, [{ id: 2, more: true }])
  t.match(items.json().results, [{ id: '1', code: 'INVALID_ITEM' }, { id: 2, status: 'success' }, { id: null, code: 'INVALID_ITEM' }])
})

t.test('keywords and formats of the app are known to item schemas, however the app came to them', async t => {
  const fastify: FastifyServerOptions = {
    ajv: {
      customOptions: { keywords: [{ keyword: 'isEven', validate: (_: boolean, value: number) => value % 2 === 0 }], formats: { shout: /^[A-Z]+$/ } },
      plugins: [ajv => ajv.addKeyword({ keyword: 'isSmall', validate: (_: boolean, value: number) => value < 10 })],
      onCreate: ajv => { ajv.addFormat('whisper', /^[a-z]+$/) }
    }
  }
  const app = await build(t, { fastify })
  const Own = Type.Object({
    id: Type.Integer({ isEven: true, isSmall: true }), a: Type.String({ format: 'shout' }), b: Type.String({ format: 'whisper' })
  })
  await app.register(async child => {
    child.route(bulkRoute({ url: '/items', contract: generic, item: Own, handler: () => {} }))
  })

  const items = [{ id: 2, a: 'A', b: 'b' }, { id: 3, a: 'A', b: 'b' }, { id: 12, a: 'A', b: 'b' }, { id: 4, a: 'a', b: 'b' }, { id: 6, a: 'A', b: 'B' }]
  const { results } = (await app.inject({ method: 'POST', url: '/items', payload: items })).json()

  t.match(results, [
    { id: 2, status: 'success' },
    { id: 3, errors: [{ pointer: '#/id', detail: 'must pass "isEven" keyword validation' }] },
    { id: 12, errors: [{ pointer: '#/id', detail: 'must pass "isSmall" keyword validation' }] },
    { id: 4, errors: [{ pointer: '#/a', detail: 'must match format "shout"' }] },
    { id: 6, errors: [{ pointer: '#/b', detail: 'must match format "whisper"' }] }
  ])
})

t.test('compilers of the app that know no JSON schema, as those of Zod, are not shown any', async t => {
  interface Parser { safeParse (value: unknown): boolean }
  const expectParser = (schema: unknown): Parser => {
    if (!('safeParse' in Object(schema))) throw new Error('Expected a parser')
    return schema as Parser
  }
  const app = await build(t, {
    before: app => {
      app.setValidatorCompiler(({ schema }) => { const parser = expectParser(schema); return value => parser.safeParse(value) })
      app.setSerializerCompiler(({ schema }) => { expectParser(schema); return value => JSON.stringify({ mine: value }) })
    },
    plugin: { tasks: { handlers }, upload: (await storageIn(t)).upload, docs: {} }
  })
  const parser: Parser = { safeParse: value => Array.isArray(value) }
  app.post('/own', { schema: { body: parser, response: { 200: parser } } }, async request => request.body)
  app.route(itemsRoute())

  const own = await app.inject({ method: 'POST', url: '/own', payload: [1] })
  const ran = await app.inject({ method: 'POST', url: '/tasks', payload: tasks })
  const strict = await app.inject({
    method: 'POST', url: '/tasks', headers: { prefer: 'handling=strict' }, payload: { tasks: [{ taskId: 1, type: 'none' }] }
  })
  const uploaded = await app.inject({ method: 'POST', url: '/upload', payload: { files: ['a.txt'] } })
  const items = await app.inject({ method: 'POST', url: '/items', payload: [{ id: 1 }, { id: 'x' }] })

  t.strictSame(own.json(), { mine: [1] })
  t.equal(items.headers['multi-status'], 'total=2, succeeded=1, failed=1')
  t.equal(ran.statusCode, 207)
  t.strictSame(ran.json(), completed)
  t.equal(strict.statusCode, 422)
  t.strictSame(strict.json(), {
    statusCode: 422,
    code: 'FST_MULTI_STATUS_INVALID_ITEMS',
    error: 'Unprocessable Entity',
    message: 'Expected only valid items (Prefer: handling=strict); received 1 invalid of 1, so nothing ran',
    errors: [{ pointer: '#/tasks/0/type', detail: 'must be "echo"' }]
  })
  t.equal(uploaded.statusCode, 207)
})

for (const order of ['before', 'after'] as const) {
  t.test(`@fastify/multipart registered ${order} it keeps working, and so does /upload`, async t => {
    const { dir, upload } = await storageIn(t)
    const app = await build(t, {
      before: app => order === 'before' && app.register(multipart),
      plugin: { upload }
    })
    if (order === 'after') await app.register(multipart)
    app.post('/own', async request => {
      const file = await request.file()
      return { name: file!.filename, text: (await file!.toBuffer()).toString() }
    })

    const own = await app.inject({ method: 'POST', url: '/own', ...form('own.txt', 'mine') })
    const uploaded = await app.inject({ method: 'POST', url: '/upload', ...form('a.txt', 'hello') })

    t.strictSame(own.json(), { name: 'own.txt', text: 'mine' })
    t.equal(uploaded.statusCode, 207)
    t.match(uploaded.json(), { results: [{ file: 'a.txt', status: 'uploaded', size: 5 }] })
    t.equal((await readdir(dir)).length, 1)
  })
}

t.test('what the answer already varies by is kept', async t => {
  const app = await build(t, {
    before: app => app.addHook('onRequest', async (_request, reply) => { reply.header('vary', 'Origin').header('x-mine', 'yes') }),
    plugin: { tasks: { handlers } }
  })

  const { headers } = await app.inject({ method: 'POST', url: '/tasks', payload: tasks })

  t.equal(headers.vary, 'Origin, Prefer')
  t.equal(headers['x-mine'], 'yes')
})

t.test('upload, tasks and docs can each be left out', async t => {
  const all = { upload: (await storageIn(t)).upload, tasks: { handlers }, docs: {} }
  const paths = { upload: '/upload', tasks: '/tasks', docs: '/documentation/json' }
  const statusOf = async (app: FastifyInstance, name: keyof typeof paths) =>
    (await app.inject({ method: name === 'docs' ? 'GET' : 'POST', url: paths[name] })).statusCode

  for (const off of ['upload', 'tasks', 'docs'] as const) {
    const options: FastifyMultiStatusOptions = { ...all, [off]: false }
    const app = await build(t, { plugin: options })
    for (const name of ['upload', 'tasks', 'docs'] as const) {
      t.equal(await statusOf(app, name) === 404, name === off, `${name} with ${off}: false`)
    }
  }
})

t.test('without options there are /upload, /tasks and the documentation', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const home = process.cwd()
  process.chdir(await mkdtemp(join(tmpdir(), 'multi-status-')))
  t.teardown(() => process.chdir(home))
  await app.register(fastifyMultiStatus)

  const uploaded = await app.inject({ method: 'POST', url: '/upload', payload: { files: ['a.txt'] } })

  t.equal(uploaded.statusCode, 207)
  t.equal((await readdir('uploads')).length, 1)
  t.equal((await app.inject({ method: 'POST', url: '/tasks', payload: tasks })).statusCode, 207)
  t.equal((await app.inject('/documentation/json')).statusCode, 200)
})

t.test('registering twice says that once is enough; two contexts side by side may have one each', async t => {
  const message = 'fastify-multi-status must be registered once per application; this application has it already'
  const twice = await build(t)
  await t.rejects(async () => await twice.register(multiStatus, {}), { code: 'FST_MULTI_STATUS_ALREADY_REGISTERED', message })

  const inner = await build(t)
  await t.rejects(async () => await inner.register(async api => { await api.register(multiStatus, {}) }), { message })

  const apart = Fastify()
  t.teardown(() => apart.close())
  for (const prefix of ['/a', '/b']) {
    await apart.register(async api => { await api.register(multiStatus, { upload: false, tasks: { handlers } }) }, { prefix })
  }
  for (const prefix of ['/a', '/b']) {
    t.strictSame((await apart.inject({ method: 'POST', url: `${prefix}/tasks`, payload: tasks })).json(), completed)
    const { paths } = (await apart.inject(`${prefix}/documentation/json`)).json()
    t.strictSame(Object.keys(paths), ['', '/{batchId}', '/{batchId}/events'].map(path => `${prefix}/tasks${path}`))
  }
})

const handler = () => {}
const integer = (min: number) => `an integer from ${min} to 2147483647`
const objectOrFalse = 'an object of options, or false'

const taskOptions = [
  'url', 'handlers', 'maxItems', 'concurrency', 'maxRunning', 'maxQueued', 'timeout', 'retries', 'ttl', 'engine', 'owner',
  'authorize', 'maxFollowers', 'heartbeat'
]

type Wrong = [options: unknown, name: string, expected: string, received: string]

const wrong: Wrong[] = [
  [{ uplaod: {} }, 'an option in the options', 'one of "upload", "tasks", "batch", "docs", "status", "closeGrace", "maxInFlight", "idempotency", "onItemError", "prefix"', '"uplaod"'],
  [{ upload: true }, 'upload', objectOrFalse, 'true'],
  [{ upload: null }, 'upload', objectOrFalse, 'null'],
  [{ tasks: [] }, 'tasks', objectOrFalse, '[]'],
  [{ docs: '/docs' }, 'docs', objectOrFalse, '"/docs"'],
  [{ status: 200 }, 'status', 'one of "multi-status", "collapse"', '200'],
  [{ closeGrace: -1 }, 'closeGrace', integer(0), '-1'],
  [{ closeGrace: 2 ** 31 }, 'closeGrace', integer(0), '2147483648'],
  [{ closeGrace: '10' }, 'closeGrace', integer(0), '"10"'],
  [{ maxInFlight: 0 }, 'maxInFlight', integer(1), '0'],
  [{ prefix: 5 }, 'prefix', 'text as "/v1"', '5'],
  [{ docs: { title: 'Mine' } }, 'an option in docs', 'one of "routePrefix", "info", "openapi"', '"title"'],
  [{ docs: { openapi: '3.1.0' as never } }, 'docs.openapi', "OpenAPI's members, as { security, servers, tags }", '"3.1.0"'],
  [{ docs: { routePrefix: 'docs' } }, 'docs.routePrefix', 'a path as "/bulk"', '"docs"'],
  [{ docs: { info: { title: 'Mine' } } }, 'docs.info', "OpenAPI's info, an object with a title and a version", "{ title: 'Mine' }"],
  [{ docs: { info: 'Mine' } }, 'docs.info', "OpenAPI's info, an object with a title and a version", '"Mine"'],
  [{ upload: { dir: '/tmp' } }, 'an option in upload', 'one of "url", "storage", "limits", "accept", "storageTimeout", "idleTimeout"', '"dir"'],
  [{ upload: { url: 5 } }, 'upload.url', 'a path as "/bulk"', '5'],
  [{ upload: { storage: '/tmp' } }, 'upload.storage', 'a storage, as disk({ dir }) makes', '"/tmp"'],
  [{ upload: { limits: null } }, 'upload.limits', 'an object of options', 'null'],
  [{ upload: { limits: { size: 1 } } }, 'an option in upload.limits', 'one of "fileSize", "files", "total", "nameBytes"', '"size"'],
  [{ upload: { limits: { fileSize: 'big' } } }, 'upload.limits.fileSize', 'a number of bytes or text as "10mb"', '"big"'],
  [{ upload: { limits: { total: 0 } } }, 'upload.limits.total', 'a number of bytes or text as "10mb"', '0'],
  [{ upload: { limits: { files: 1.5 } } }, 'upload.limits.files', integer(1), '1.5'],
  [{ upload: { limits: { nameBytes: 0 } } }, 'upload.limits.nameBytes', integer(1), '0'],
  [{ upload: { accept: 'image/*' } }, 'upload.accept', 'an array of media types as "image/png" or "image/*"', '"image/*"'],
  [{ tasks: { handler } }, 'an option in tasks', `one of ${taskOptions.map(name => `"${name}"`).join(', ')}`, '"handler"'],
  [{ tasks: { url: '' } }, 'tasks.url', 'a path as "/bulk"', '""'],
  [{ tasks: { maxItems: 0 } }, 'tasks.maxItems', integer(1), '0'],
  [{ tasks: { concurrency: 0 } }, 'tasks.concurrency', integer(1), '0'],
  [{ tasks: { timeout: NaN } }, 'tasks.timeout', integer(1), 'NaN'],
  [{ tasks: { retries: -1 } }, 'tasks.retries', integer(0), '-1'],
  ...['maxRunning', 'maxQueued', 'ttl', 'maxFollowers', 'heartbeat'].map((name): Wrong => [{ tasks: { [name]: 0 } }, `tasks.${name}`, integer(1), '0']),
  [{ tasks: { maxItems: 20, maxQueued: 19 } }, 'tasks.maxQueued', 'an integer from 20, which is maxItems', '19'],
  [{ tasks: { engine: {} } }, 'tasks.engine', 'an engine, as inProcess() makes', '{}'],
  [{ tasks: { owner: 'me' } }, 'tasks.owner', 'a function', '"me"'],
  [{ tasks: { authorize: true } }, 'tasks.authorize', 'a function', 'true'],
  [{ tasks: { handlers: [] } }, 'tasks.handlers', 'an object with one member for each type of task', '[]'],
  [{ tasks: { handlers: null } }, 'tasks.handlers', 'an object with one member for each type of task', 'null'],
  [{ tasks: { handlers: { a: null } } }, 'tasks.handlers.a', 'an object with a function "handler"', 'null'],
  [{ tasks: { handlers: { a: {} } } }, 'tasks.handlers.a', 'an object with a function "handler"', '{}'],
  [{ tasks: { handlers: { a: { handler, retries: 1 } } } }, 'an option in tasks.handlers.a', 'one of "payload", "output", "timeout", "handler"', '"retries"'],
  [{ tasks: { handlers: { a: { handler, payload: 'text' } } } }, 'tasks.handlers.a.payload', 'a schema', '"text"'],
  [{ tasks: { handlers: { a: { handler, output: [] } } } }, 'tasks.handlers.a.output', 'a schema', '[]'],
  [{ tasks: { handlers: { a: { handler, timeout: 0 } } } }, 'tasks.handlers.a.timeout', integer(1), '0']
]

for (const [options, name, expected, received] of wrong) {
  t.test(`${name} that is ${received} is refused: expected ${expected}`, async t => {
    const app = Fastify()
    t.teardown(() => app.close())

    const error = await Promise.resolve(app.register(multiStatus, options as FastifyMultiStatusOptions)).catch(error => error)

    t.ok(error instanceof TypeError)
    t.match(error, { code: 'FST_MULTI_STATUS_INVALID_OPTION' })
    t.equal(error.message, `fastify-multi-status: ${name} must be ${expected}; received ${received}`)
  })
}

t.test('a route that names something else than a contract is refused', async t => {
  const app = await build(t)
  for (const [multiStatus, received] of [['generic', '"generic"'], [true, 'true'], [{}, '{}']] as const) {
    t.throws(() => app.post('/bulk', { config: { multiStatus: multiStatus as never } }, async () => {}), {
      code: 'FST_MULTI_STATUS_INVALID_OPTION',
      message: `fastify-multi-status: config.multiStatus must be a contract, as defineContract makes; received ${received}`
    })
  }
})

t.test('a schema that cannot be compiled stops the app from starting', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const payload = { type: 'nonsense' }

  await t.rejects(async () => {
    await app.register(multiStatus, { upload: false, docs: false, tasks: { handlers: { a: { handler, payload: payload as never } } } })
    await app.ready()
  }, { message: /^schema is invalid: data\/properties\/payload\/type/ })
})

t.test('an app that has failed to start can be closed', async t => {
  const app = Fastify()
  await app.register(multiStatus, { upload: (await storageIn(t)).upload })
  app.register(async () => { throw new Error('db is down') })

  await t.rejects(app.listen({ port: 0 }), { message: 'db is down' })
  await app.close()
})

t.test('an app that was never started can be closed', async t => {
  const app = Fastify()
  await app.register(multiStatus, { upload: (await storageIn(t)).upload })
  let hasStarted = false
  app.addHook('onReady', async () => { hasStarted = true })

  await app.close()
  t.equal(hasStarted, false)
})

t.test('a bulk route that was there before the plugin says so at its first request, and runs nothing', async t => {
  let ran = 0
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(multiStatus, { upload: false, tasks: false, docs: false })
  app.route(bulkRoute({ url: '/bulk', contract: generic, item: Item, handler: () => { ran++ } }))
  app.post('/own', { config: { multiStatus: generic }, schema: { body: Type.Array(Item) } }, async () => { ran++ })
  app.get('/other', async () => ({ fine: true }))

  for (const url of ['/bulk', '/own']) {
    const response = await app.inject({ method: 'POST', url, payload: [{ id: 1 }, { id: 'x' }] })
    t.equal(response.statusCode, 500)
    t.match(response.json(), {
      code: 'FST_MULTI_STATUS_NOT_REGISTERED',
      message: `The bulk route ${url} needs fastify-multi-status; register the plugin before the route`
    })
  }
  t.equal(ran, 0)
  t.strictSame((await app.inject('/other')).json(), { fine: true })
  t.equal((await app.inject('/nowhere')).statusCode, 404)
})

t.test('a bulk route in an app without the plugin says what it needs', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.route(itemsRoute())

  const response = await app.inject({ method: 'POST', url: '/items', payload: [{ id: 1 }] })

  t.equal(response.statusCode, 500)
  t.match(response.json(), { message: 'The bulk route /items needs fastify-multi-status; register the plugin before the route' })
})

t.test('one config shared by a route before the plugin and one after it marks only the later one', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const config = { multiStatus: generic }
  app.get('/early', { config }, async (_request, reply) => reply.multiStatus([]))
  await app.register(multiStatus, { upload: false, tasks: false, docs: false })
  app.get('/late', { config }, async (_request, reply) => reply.multiStatus([{ id: 1, status: 'success' }]))

  t.equal((await app.inject('/early')).statusCode, 500)
  const late = await app.inject('/late')
  t.equal(late.statusCode, 207)
  t.equal(late.body, '{"results":[{"id":1,"status":"success"}]}')
})
