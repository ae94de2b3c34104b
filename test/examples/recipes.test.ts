// The recipes of the README, and the libraries it compares with.
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { context, ROOT_CONTEXT, trace, type Context, type ContextManager } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { initTRPC, TRPCError } from '@trpc/server'
import { fetchRequestHandler } from '@trpc/server/adapters/fetch'
import express, { type ErrorRequestHandler } from 'express'

import multer from 'multer'
import t from 'tap'
import type { Document } from '../fixtures/openapi.js'
import { post } from '../fixtures/post.js'
import { runSnippet } from '../fixtures/readme.js'
import { FORM, filePart, form } from '../fixtures/upload.js'

t.test('authorization: refuses strangers, and shows a batch only to its owner', async t => {
  const app = await runSnippet(t, 'authorization')
  const ada = { authorization: 'Bearer s3cret' }
  const tasks = { tasks: [{ taskId: 1, type: 'report' }] }

  t.equal((await post(app, '/tasks', tasks)).statusCode, 401)
  t.match((await post(app, '/tasks', tasks, ada)).json(), { tasks: [{ taskId: 1, status: 'completed' }] })
  const { headers: { location } } = await post(app, '/tasks', tasks, { ...ada, prefer: 'respond-async' })
  t.equal((await app.inject({ url: location!, headers: { authorization: 'Bearer other' } })).statusCode, 404)
  t.ok((await app.inject({ url: location!, headers: ada })).statusCode < 300)
  const document = (await app.inject({ url: '/documentation/json', headers: ada })).json()
  t.strictSame(document.security, [{ token: [] }])
  t.match(document.components.securitySchemes.token, { type: 'http' })
})

t.test('publishes discriminators with the app\'s own swagger', async t => {
  const app = await runSnippet(t, 'An app with a @fastify/swagger')
  await app.ready()
  const document = app.swagger() as unknown as Document

  t.match(document.openapi, /^3\.1/)
  t.match(JSON.stringify(document.paths), '"discriminator":{"propertyName":"status"')
})

t.test('reads other forms with the app\'s own multipart, beside /upload', async t => {
  const dir = join(t.testdirName, 'uploads')
  const app = await runSnippet(t, 'An app with a @fastify/multipart', code => code.replace('./uploads', dir))
  const send = (url: string) => app.inject({ method: 'POST', url, headers: { 'content-type': FORM }, payload: form(filePart('a.txt')) })

  t.strictSame((await send('/avatar')).json(), { name: 'a.txt' })
  t.match((await send('/upload')).json(), { results: [{ file: 'a.txt', status: 'uploaded' }] })
  t.equal((await readdir(dir)).length, 1)
})

t.test('runs one statement for all items, and fails only those that exist already', async t => {
  const app = await runSnippet(t, 'PostgreSQL or Prisma')
  await post(app, '/contacts', [{ email: 'ada@example.org' }])
  const response = await post(app, '/contacts', [{ email: 'bob@example.org' }, { email: 'ada@example.org' }, { email: 'nonsense' }])

  t.match(response.json().results, [
    { email: 'bob@example.org', status: 'created', contactId: Number },
    { email: 'ada@example.org', status: 'rejected', code: 'EMAIL_TAKEN', statusCode: 409 },
    { email: 'nonsense', status: 'rejected', code: 'INVALID_ITEM' }
  ])
})

t.test('counts requests against a rate limit, also those of a batch', async t => {
  const app = await runSnippet(t, 'Rate limits')
  const response = await post(app, '/batch', { requests: ['1', '2', '3'].map(id => ({ id, url: `/contacts/${id}` })) })

  t.strictSame(response.json().results.map(({ statusCode }: { statusCode: number }) => statusCode).sort(), [200, 200, 429])
  t.equal((await post(app, '/batch', { requests: [{ id: '1', url: '/contacts/1' }] })).statusCode, 429)
})

/** A context manager like that of @opentelemetry/context-async-hooks. */
function followContext (): ContextManager {
  const storage = new AsyncLocalStorage<Context>()
  return {
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (active, fn, self, ...args) => storage.run(active, () => fn.apply(self, args)),
    bind: (_, target) => target,
    enable () { return this },
    disable () { return this }
  }
}

t.test('OpenTelemetry: records a span for each attempt, and counts on the span of the request', async t => {
  const exporter = new InMemorySpanExporter()
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
  context.setGlobalContextManager(followContext())
  t.teardown(() => { trace.disable(); context.disable() })
  const app = await runSnippet(t, 'OpenTelemetry')
  await app.ready()

  const request = trace.getTracer('test').startSpan('request')
  await context.with(trace.setSpan(ROOT_CONTEXT, request), () => post(app, '/numbers', [{ id: 1 }, { id: 3 }]).then(() => {}))
  request.end()

  const spans = exporter.getFinishedSpans()
  const items = spans.filter(({ name }) => name === 'number').map(({ attributes, status, parentSpanContext }) =>
    [attributes.index, attributes.attempt, status.code, parentSpanContext?.spanId === request.spanContext().spanId])
  t.strictSame(items.sort(), [[0, 1, 0, true], [1, 1, 2, true], [1, 2, 2, true]])
  t.equal(spans.find(({ name }) => name === 'request')?.attributes['http.response.header.multi-status'], 'total=2, succeeded=1, failed=1')
})

t.test('replaces Promise.allSettled with the same results, without leaking errors', async t => {
  const app = await runSnippet(t, 'From a handler')
  const [before, ...after] = await Promise.all(['/before', '/after', '/bounded'].map(url => post(app, url, [{ id: 1 }, { id: 2 }])))

  t.match(before!.json().results, [{ id: 1, status: 'success' }, { id: 2, status: 'error', message: /db\.internal/ }])
  for (const response of after) {
    t.equal(response.statusCode, 207)
    t.match(response.json().results, [{ id: 1, status: 'success' }, { id: 2, status: 'error', message: 'Internal error', statusCode: 500 }])
  }
})

t.test('shows that tRPC answers 207 only if statuses differ', async t => {
  const { router, procedure } = initTRPC.create()
  const routes = router({ good: procedure.query(() => 1), taken: procedure.query(() => { throw new TRPCError({ code: 'CONFLICT' }) }) })
  const statusOf = async (calls: string) =>
    (await fetchRequestHandler({ endpoint: '/trpc', req: new Request(`http://localhost/trpc/${calls}?batch=1&input={}`), router: routes })).status

  t.equal(await statusOf('good,taken'), 207)
  t.equal(await statusOf('good,good'), 200)
  t.equal(await statusOf('taken,taken'), 409)
})

t.test('shows that multer removes all files if one is too large', async t => {
  const dir = t.testdir()
  const app = express()
  app.post('/upload', multer({ dest: dir, limits: { fileSize: 10 } }).array('files'), (_, response) => { response.end() })
  const onError: ErrorRequestHandler = (error, _request, response, _next) => { response.status(413).send(error.code) }
  app.use(onError)
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const body = new FormData()
  for (const size of [1, 11, 1]) body.append('files', new Blob(['x'.repeat(size)]), `${size}.txt`)

  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/upload`, { method: 'POST', body })

  t.equal(await response.text(), 'LIMIT_FILE_SIZE')
  t.strictSame(await readdir(dir), [])
})
