// What a client may try: to get out of its place, into logs and headers, at prototypes, and to cost more than it sends.
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { isSafe } from 'redos-detector'
import t, { type Test } from 'tap'
import ts from 'typescript'
import { bulkRoute, defineTask, disk, generic, inProcess, memoryIdempotency, type TasksOptions } from '../lib/index.js'
import { buildBatch, post } from './fixtures/batch.js'
import { build, type LogLine } from './fixtures/build.js'
import { root } from './fixtures/root.js'
import { buildUpload, fieldPart, filePart, FORM, form } from './fixtures/upload.js'

const MEGABYTE = 1024 * 1024

/** Every pattern in the code: literals, and the `pattern` of schemas. */
async function patternsIn (dir: string): Promise<{ where: string, pattern: RegExp }[]> {
  const folder = join(root, dir)
  const files = (await readdir(folder, { recursive: true })).filter(name => name.endsWith('.ts'))
  const found = await Promise.all(files.map(async name => {
    const source = ts.createSourceFile(name, await readFile(join(folder, name), 'utf8'), ts.ScriptTarget.Latest, true)
    const patterns: RegExp[] = []
    const visit = (node: ts.Node) => {
      if (ts.isRegularExpressionLiteral(node)) {
        const end = node.text.lastIndexOf('/')
        patterns.push(new RegExp(node.text.slice(1, end), node.text.slice(end + 1)))
      }
      if (ts.isPropertyAssignment(node) && node.name.getText() === 'pattern' && ts.isStringLiteral(node.initializer)) {
        patterns.push(new RegExp(node.initializer.text, 'u'))
      }
      ts.forEachChild(node, visit)
    }
    visit(source)
    return patterns.map(pattern => ({ where: `${dir}/${name}`, pattern }))
  }))
  return found.flat()
}

/** What no client can reach: the routes of the app itself, printed once when it starts. */
const OUT_OF_REACH = ['lib/batch/guard.ts']

t.test('no pattern takes longer than its text, whatever the text is', async t => {
  const patterns = [...await patternsIn('lib'), ...await patternsIn('schemas')].filter(({ where }) => !OUT_OF_REACH.includes(where))
  t.ok(patterns.length > 40, `${patterns.length} patterns`)
  const unsafe = patterns.filter(({ pattern: { source, flags } }) =>
    // A sticky pattern begins in one place, as one with ^ does.
    !isSafe(new RegExp(flags.includes('y') ? `^(?:${source})` : source, flags.replace('y', ''))).safe)
  t.strictSame(unsafe, [])
  t.equal(isSafe(/^(a+)+$/).safe, false, 'one that does is found')
})

/** What ends a line, moves the cursor, colours, rings or reverses; for headers, logs and whoever shows them. */
const TREACHEROUS = ['a\r\nset-cookie: x=1', '\u001b[2J\u001b]0;x\u0007', '\u009b31m', 'a\u2028b\u2029c', '\u202egnp.exe', '\u0000', '%0d%0a', '"}\n{"level":60}', '\ud800', '__proto__', 'constructor', 'toString']

t.test('no key gets into a header, or out of its line of the log', async t => {
  const lines: string[] = []
  const app = await build(t, { fastify: { logger: { level: 'debug', stream: { write: (line: string) => lines.push(line) } } } })
  app.route(bulkRoute({
    url: '/jobs',
    contract: generic,
    item: Type.Object({ id: Type.String() }),
    handler: (_, { log }) => { log.warn('at work'); throw new Error('secret') }
  }))

  const response = await app.inject({ method: 'POST', url: '/jobs', payload: TREACHEROUS.map(id => ({ id })) })

  t.strictSame(response.json().results.map(({ id }: { id: string }) => id), TREACHEROUS)
  t.strictSame(Object.keys(response.headers).sort(), ['connection', 'content-length', 'content-type', 'date', 'multi-status', 'vary'])
  t.equal(response.headers['multi-status'], `total=${TREACHEROUS.length}, succeeded=0, failed=${TREACHEROUS.length}`)
  const about = lines.filter(line => line.includes('item failed') || line.includes('at work'))
  t.equal(about.length, 2 * TREACHEROUS.length)
  // eslint-disable-next-line no-control-regex
  t.notOk(about.some(line => /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202e]|\n./.test(line)))
  const keys = about.map(line => (JSON.parse(line) as LogLine).key)
  t.ok(keys.includes('\\u202egnp.exe') && keys.includes('a\\u2028b\\u2029c') && keys.includes(TREACHEROUS[0]), 'and the log still says which')
})

t.test('what a task is called, and its type, are data in every place', async t => {
  const { app, run } = await buildTasks(t)
  const tasks = TREACHEROUS.flatMap((name, index) => [{ taskId: name, type: 'echo', payload: name }, { taskId: index, type: name, payload: 1 }])

  const now = await run(tasks)
  const { headers: { location } } = await run(tasks, 'respond-async')
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const events = await (await fetch(`${origin}${location as string}/events`)).text()

  t.equal(now.headers['multi-status'], `total=${tasks.length}, succeeded=${TREACHEROUS.length}, failed=${TREACHEROUS.length}`)
  t.strictSame(now.json().tasks.map(({ taskId }: { taskId: unknown }) => taskId), tasks.map(({ taskId }) => taskId))
  t.match(location as string, /^\/tasks\/[0-9a-f-]{36}$/)
  const fields = events.split('\n').map(line => line.split(': ', 1)[0])
  t.strictSame([...new Set(fields)].sort(), ['', ':', 'data', 'event', 'id'])
  t.equal(fields.filter(field => field === 'data').length, tasks.length + 1)
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
})

t.test('the Location of a batch leads to this host, however its path was asked for', async t => {
  const { app } = await buildTasks(t, {}, { routerOptions: { ignoreDuplicateSlashes: true } })
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
  const body = '{"tasks":[{"taskId":1,"type":"echo"}]}'
  for (const target of ['/tasks', '//tasks', '///tasks?x=//y', 'http://example.org/tasks', 'HTTP://example.org//tasks']) {
    const socket = connect(Number(port), '127.0.0.1')
    socket.write(`POST ${target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nprefer: respond-async\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    const answer = await read(socket)
    t.match(answer, /\r\nlocation: \/tasks\/[0-9a-f-]{36}\r\n/, target)
  }
})

const Tree = Type.Recursive(This => Type.Object({ id: Type.Integer(), child: Type.Optional(This) }), { $id: 'Tree' })
const nest = (depth: number) => `${'{"id":1,"child":'.repeat(depth)}{"id":1}${'}'.repeat(depth)}`
const brackets = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`

t.test('an item that is deeper than any stack fails alone', async t => {
  const app = await build(t)
  app.route(bulkRoute({ url: '/trees', contract: generic, item: Tree as TSchema, stream: true, handler: () => {} }))
  const send = (url: string, type: string, payload: string) => app.inject({ method: 'POST', url, headers: { 'content-type': type }, payload })
  const tooDeep = { id: 1, status: 'error', code: 'INVALID_ITEM', errors: [{ pointer: '#', detail: 'must not be so deep' }] }

  const once = await send('/trees', 'application/json', `[${nest(50_000)},{"id":2}]`)
  const lines = (await send('/trees/stream', 'application/x-ndjson', `${nest(50_000)}\n{"id":2}`)).body.split('\n')

  t.match(once.json().results, [tooDeep, { id: 2, status: 'success' }])
  t.match(JSON.parse(lines[0]!), tooDeep)
  t.match(JSON.parse(lines[1]!), { id: 2, status: 'success' })
})

t.test('what is wrong with a keyword of the app, and not with an item, is an error as ever', async t => {
  const ajv = { customOptions: { keywords: [{ keyword: 'breaks', validate: (_: unknown, { id }: { id: number }) => { if (id === 13) throw new Error('broken keyword'); return true } }] } }
  const app = await build(t, { fastify: { ajv } })
  app.route(bulkRoute({ url: '/jobs', contract: generic, item: Type.Object({ id: Type.Integer() }, { breaks: true }), handler: () => {} }))

  t.match((await app.inject({ method: 'POST', url: '/jobs', payload: [{ id: 13 }] })).json(), { statusCode: 500, message: 'broken keyword' })
})

/** From Node 26 on, JSON may be as deep as it likes, so that there is nothing to fail. */
const isNeverTooDeep = canWrite(JSON.parse(brackets(200_000)))

function canWrite (value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined
  } catch {
    return false
  }
}

t.test('a payload that is deeper than any stack costs no other task anything, now or later', async t => {
  const { app, send } = await buildTasks(t)
  const payload = `{"tasks":[{"taskId":0,"type":"none"},{"taskId":1,"type":"echo","payload":${brackets(200_000)}},{"taskId":2,"type":"echo","payload":2}]}`

  const now = await send(payload)
  const later = await send(payload, 'respond-async, wait=10')
  const accepted = await send(payload, 'respond-async')

  const given = async () => (await app.inject(accepted.headers.location as string)).json()
  for (const { tasks } of [now.json(), later.json(), await given()]) {
    // Not compared as a whole, as a difference could not be shown.
    t.equal(tasks[1].status, isNeverTooDeep ? 'completed' : 'failed')
    t.match([tasks[0], tasks[2]], [{ code: 'INVALID_ITEM' }, { taskId: 2, status: 'completed', output: 2 }])
  }
  if (!isNeverTooDeep) t.match(later.json().tasks[1], { taskId: 1, code: 'INVALID_ITEM', errors: [{ pointer: '#/payload' }] })
})

t.test('a RangeError that no task is the cause of is an error as ever', async t => {
  const { engine } = await buildTasks(t)
  const app = await build(t, { plugin: { tasks: { engine: { ...engine, submit: async () => { throw new RangeError('broken engine') } }, handlers: { echo: echoTask } } } })

  const response = await app.inject({ method: 'POST', url: '/tasks', payload: { tasks: [{ taskId: 1, type: 'echo' }] } })

  t.match(response.json(), { statusCode: 500, code: 'FST_MULTI_STATUS_ENGINE_FAILED' })
})

t.test('a line takes no more liberties with prototypes than a body of the app', async t => {
  for (const [action, codes] of [['error', ['INVALID_LINE', 'INVALID_LINE', undefined]], ['remove', [undefined, undefined, undefined]]] as const) {
    const seen: string[] = []
    const app = await build(t, { fastify: { onProtoPoisoning: action, onConstructorPoisoning: action } })
    app.route(bulkRoute({
      url: '/jobs', contract: generic, item: Type.Object({ id: Type.Integer() }), stream: true, handler: item => { seen.push(...Object.keys(item)) }
    }))
    const payload = '{"id":1,"__proto__":{"polluted":true}}\n{"id":2,"constructor":{"prototype":{"polluted":true}}}\n{"id":3}'
    const response = await app.inject({ method: 'POST', url: '/jobs/stream', headers: { 'content-type': 'application/x-ndjson' }, payload })
    t.strictSame(response.body.split('\n').slice(0, 3).map(line => JSON.parse(line).code), codes)
    t.notOk(seen.some(name => name !== 'id'))
    t.equal(({} as { polluted?: unknown }).polluted, undefined)
  }
})

t.test('references bring no more into a request than an answer may have', async t => {
  const app = await buildBatch(t, { limits: { response: '100kb' } })
  let received = 0
  app.post('/echo', async ({ body }) => { received++; return body })
  const text = 'x'.repeat(50_000)
  const bomb = (count: number) => Array(count).fill({ $from: 'text' })

  const { statusCode, results } = await post(app, [
    { id: 'text', method: 'POST', url: '/echo', body: [text] },
    { id: 'few', method: 'POST', url: '/echo', body: bomb(1) },
    { id: 'many', method: 'POST', url: '/echo', body: bomb(20_000) },
    { id: 'url', url: `/contacts/${'{text/0}'.repeat(1000)}` },
    { id: 'long', url: '/contacts/{text/0}' }
  ])

  const tooMuch = { code: 'BAD_REFERENCE', errors: [{ detail: 'must bring no more than 102400 characters, with all other references together' }] }
  t.equal(statusCode, 207)
  t.match(results[1], { status: 'success', body: [[text]] })
  t.match(results[2], tooMuch)
  t.match(results[3], tooMuch)
  t.match(results[4], { code: 'INVALID_URL', message: /one of 50010 characters, which is more than 8192/ })
  t.equal(received, 2)
})

t.test('a value that is too deep to be written is no reference', async t => {
  const app = await buildBatch(t)
  app.get('/deep', async (_request, reply) => reply.type('application/json').send(brackets(200_000)))
  app.post('/echo', async ({ body }) => body)

  const { results } = await post(app, [{ id: 'deep', url: '/deep' }, { id: 'b', method: 'POST', url: '/echo', body: [{ $from: 'deep' }] }])

  t.equal(results[1]!.code, isNeverTooDeep ? undefined : 'BAD_REFERENCE')
})

t.test('a short list of nothings is no long answer', async t => {
  const { dir, send } = await buildUpload(t, { limits: { files: 10 } })
  const entries = (count: number) => send(Buffer.from(`{"files":[${Array(count).fill(0).join()}]}`), 'application/json')

  const some = await entries(1010)
  const many = await entries(500_000)

  t.equal(JSON.parse(some.body).results.length, 1010)
  t.match(JSON.parse(many.body), { statusCode: 413, code: 'FST_MULTI_STATUS_BATCH_TOO_LARGE', message: 'Expected at most 10 items in one request; received 500000' })
  t.strictSame(await readdir(dir), [])
})

t.test('a form of nothing but fields is read no further than it could have files', async t => {
  for (const [before, check] of [
    [[], (answer: string) => t.match(answer, /^HTTP\/1\.1 413 [^]*"code":"FST_MULTI_STATUS_UPLOAD_TOO_LARGE","error":"Payload Too Large","message":"Expected at most 1000 bytes of files in one request; received a request of /)],
    [[filePart('a.txt')], (answer: string) => t.match(answer, /^HTTP\/1\.1 207 [^]*total=1, succeeded=1, failed=0/)]
  ] as const) {
    const { app } = await buildUpload(t, { limits: { total: 1000, fileSize: 1000 } })
    const socket = await open(app)
    const chunk = (content: Buffer) => socket.write(Buffer.concat([Buffer.from(`${content.length.toString(16)}\r\n`), content, Buffer.from('\r\n')]))
    for (const part of before) chunk(part)
    const flood = Buffer.concat(Array(1000).fill(fieldPart('a')) as Buffer[])
    const sending = setInterval(() => chunk(flood), 1)
    t.teardown(() => { clearInterval(sending); socket.destroy() })
    const [answer] = await once(socket, 'data') as [Buffer]
    check(String(answer))
  }
})

t.test('a form of a hundred thousand files has as many results as one of a thousand and some', async t => {
  const { dir, send } = await buildUpload(t, { limits: { files: 1 } })
  const before = process.memoryUsage().heapUsed

  const answer = await send(form(filePart('a.txt'), ...Array(100_000).fill(filePart('b.txt', '')) as Buffer[]))

  t.equal(JSON.parse(answer.body).results.length, 1002)
  t.equal((await readdir(dir)).length, 1)
  t.ok(process.memoryUsage().heapUsed - before < 300 * MEGABYTE, 'beside the form itself, which is in this process too')
})

t.test('what is packed is not unpacked', async t => {
  const app = await build(t)
  app.route(bulkRoute({ url: '/jobs', contract: generic, item: Type.Object({ id: Type.Integer() }), handler: () => {} }))
  const payload = gzipSync(Buffer.alloc(100 * MEGABYTE, '['))

  const response = await app.inject({ method: 'POST', url: '/jobs', headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' }, payload })

  t.equal(response.statusCode, 400)
})

t.test('whatever is too long, too large or too many is refused, and the next request is served', async t => {
  const app = await buildBatch(t, {}, { plugin: { upload: { storage: disk({ dir: t.testdir() }) }, tasks: { handlers: { echo: echoTask } }, idempotency: { store: memoryIdempotency() } } })
  const long = 'x'.repeat(900_000)
  const task = (more: object) => ({ url: '/tasks', payload: { tasks: [{ taskId: 1, type: 'echo', ...more }] } })
  const request = (more: object) => ({ url: '/batch', payload: { requests: [{ id: 'a', url: '/contacts/1', ...more }] } })
  const cases: [what: string, sent: { url: string, payload: object, headers?: Record<string, string> }, status: number, code: unknown][] = [
    ['a task id', task({ taskId: long }), 207, 'INVALID_ITEM'],
    ['a task type', task({ type: long }), 207, 'INVALID_ITEM'],
    ['a body', task({ payload: long.repeat(2) }), 413, 'FST_ERR_CTP_BODY_TOO_LARGE'],
    ['a request id', request({ id: long }), 207, 'INVALID_ITEM'],
    ['a url', request({ url: `/${long}` }), 207, 'INVALID_ITEM'],
    ['a method', request({ method: long }), 207, 'METHOD_NOT_ALLOWED'],
    ['a header', request({ headers: { [long]: '1' } }), 207, 'HEADER_NOT_ALLOWED'],
    ['a file name', { url: '/upload', payload: { files: [long] } }, 207, 'FILE_NAME_TOO_LONG'],
    ['base64 that is none', { url: '/upload', payload: { files: [{ file: 'a', content: `${long}=x` }] } }, 207, 'INVALID_ITEM'],
    ['a checksum', { url: '/upload', payload: { files: [{ file: 'a', content: '', sha256: long }] } }, 207, 'CHECKSUM_INVALID'],
    ['an idempotency key', { ...task({}), headers: { 'idempotency-key': 'x'.repeat(10_000) } }, 400, 'FST_MULTI_STATUS_IDEMPOTENCY_KEY_MALFORMED'],
    ['a preference', { ...task({}), headers: { prefer: `respond-async, wait=${'9'.repeat(10_000)}` } }, 207, undefined]
  ]
  for (const [what, { url, payload, headers = {} }, status, code] of cases) {
    const response = await app.inject({ method: 'POST', url, payload, headers })
    const body = response.json() as Record<string, unknown>
    t.equal(response.statusCode, status, what)
    t.equal(status === 207 ? (Object.values(body)[0] as { code?: string }[])[0]!.code : body.code, code, what)
  }
  const patient = await app.inject({ method: 'POST', ...task({}), headers: { prefer: `respond-async, wait=${'9'.repeat(400)}` } })
  t.equal(patient.headers['preference-applied'], 'wait=600', 'what is applied is what is said')
})

t.test('numbers that JSON can say and JavaScript cannot hold are no keys', async t => {
  const { send } = await buildTasks(t)
  const answer = await send('{"tasks":[{"taskId":1e400,"type":"echo"},{"taskId":-1e400,"type":"echo"},{"taskId":1.5,"type":"echo"},{"taskId":1,"type":"echo"}]}')
  t.strictSame(answer.json().tasks.map(({ taskId, code }: { taskId: unknown, code?: string }) => [taskId, code]),
    [[null, 'INVALID_ITEM'], [null, 'INVALID_ITEM'], [null, 'INVALID_ITEM'], [1, undefined]])
})

t.test('no name leads out of the directory', async t => {
  const { dir, send } = await buildUpload(t)
  const names = ['../up.txt', '..%2fup.txt', '/tmp/up.txt', '....//up.txt', '..\\\\up.txt', 'file:///etc/passwd', 'a\u0000.txt']
  const answer = await send(form(...names.map(name => filePart(name)), filePart('good.txt')))
  const { results } = JSON.parse(answer.body) as { results: { file: string, code?: string, key?: string }[] }

  // Encoded or not, a name is a name and never a path.
  t.strictSame(results.filter(({ code }) => code === undefined).map(({ file }) => file), ['..%2fup.txt', 'good.txt'])
  t.strictSame((await readdir(dir)).sort(), results.flatMap(({ key }) => key ?? []).sort())
})

const echoTask = defineTask({ handler: payload => payload })

async function buildTasks (t: Test, tasks: TasksOptions = {}, fastify = {}) {
  const engine = inProcess()
  const app = await build(t, { plugin: { tasks: { engine, handlers: { echo: echoTask }, ...tasks } }, fastify })
  const send = (payload: string, prefer = 'x') =>
    app.inject({ method: 'POST', url: '/tasks', headers: { prefer, 'content-type': 'application/json' }, payload })
  return { app, engine, send, run: (given: object[], prefer?: string) => send(JSON.stringify({ tasks: given }), prefer) }
}

/** Begins an upload that does not say how long it is. */
async function open (app: FastifyInstance): Promise<Socket> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  socket.write(`POST /upload HTTP/1.1\r\nhost: a\r\ncontent-type: ${FORM}\r\ntransfer-encoding: chunked\r\n\r\n`)
  return socket
}

async function read (socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}
