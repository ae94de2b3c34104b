// The streaming operation of a bulk route: NDJSON in, NDJSON out, in the order in which items are done.
import { once } from 'node:events'
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { bulkRoute, defineContract, ItemError, settleEach } from '../../lib/index.js'
import { build, type BuildOptions, type LogLine } from '../fixtures/build.js'
import { contract, Job, vocabulary, buildJobs as buildRoute, type JobsOptions } from '../fixtures/jobs.js'
import { waitFor } from '../fixtures/wait.js'

const buildJobs = (t: Test, handler: JobsOptions['handler'], options: Partial<JobsOptions> = {}, setup?: BuildOptions) =>
  buildRoute(t, handler, { stream: true, ...options }, setup)
const job = (n: number) => ({ id: n, n })
const linesOf = (...items: unknown[]) => items.map(item => `${JSON.stringify(item)}\n`).join('')
const parse = (body: string): Record<string, unknown>[] => body.trim().split('\n').map(line => JSON.parse(line))
const post = (app: FastifyInstance, payload: string, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url: '/jobs/stream', payload, headers: { 'content-type': 'application/x-ndjson', ...headers } })
const never = () => new Promise<never>(() => {})

/** Begins a request over a real socket; its answer begins while it is still being written. */
async function begin (t: Test, app: FastifyInstance): Promise<{ outgoing: ClientRequest, answered: Promise<IncomingMessage> }> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const outgoing = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: '/jobs/stream', headers: { 'content-type': 'application/x-ndjson' } })
  outgoing.on('error', () => {})
  t.teardown(() => outgoing.destroy())
  return { outgoing, answered: new Promise(resolve => outgoing.once('response', resolve)) }
}

t.test('every line has its own result with its index, and the last line is a summary', async t => {
  const errors: LogLine[] = []
  const app = await buildJobs(t, async ({ id, n }) => {
    if (id === 2) throw new ItemError('No such job', { code: 'NO_JOB', statusCode: 404 })
    if (id === 3) throw new Error('secret')
    if (id === 4) return { n: 'text' as never }
    return { n: n * 10 }
  }, { concurrency: 1 }, { onLog: line => { if (line.level >= 50) errors.push(line) } })

  for (const type of ['application/x-ndjson', 'application/jsonl']) {
    const response = await post(app, linesOf(job(1), job(2), job(3), job(4), { id: 5 }), { 'content-type': type })
    t.equal(response.statusCode, 207)
    t.equal(response.headers['content-type'], 'application/x-ndjson')
    t.equal(response.headers.vary, 'Prefer')
    const internal = { statusCode: 500, retryable: false }
    t.strictSame(parse(response.body), [
      { index: 0, id: 1, status: 'done', n: 10 },
      { index: 1, id: 2, status: 'failed', why: 'No such job', code: 'NO_JOB', statusCode: 404, retryable: false },
      { index: 2, id: 3, status: 'failed', why: 'Internal error', code: 'INTERNAL_ERROR', ...internal },
      { index: 3, id: 4, status: 'failed', why: 'Invalid result', code: 'INVALID_RESULT', ...internal },
      { index: 4, id: 5, status: 'failed', why: 'Invalid data', code: 'INVALID_ITEM', statusCode: 422, retryable: false, errors: [{ pointer: '#/n', detail: "must have required property 'n'" }] },
      { summary: { total: 5, succeeded: 1, failed: 4 } }
    ])
  }
  t.match(errors.slice(0, 2), [{ index: 2, key: 3, err: { message: 'secret' } }, { index: 3, key: 4, code: 'INVALID_RESULT' }])
})

t.test('results come in the order in which they are done', async t => {
  const app = await buildJobs(t, async ({ n }) => {
    if (n === 1) await setTimeout(20)
    return { n }
  })
  const lines = parse((await post(app, linesOf(job(1), job(2), job(3)))).body)

  t.strictSame(lines.map(({ index }) => index), [1, 2, 0, undefined])
})

t.test('a line that is not JSON or too long fails alone, wherever it is cut, and empty lines are none', async t => {
  const ran: unknown[] = []
  const payload = Buffer.from(`{"id":"ä","n":1}\r\n\n  \nnonsense\n{"id":2,"n":2,"x":"${'x'.repeat(100)}"}\n{"id":3,"n":3}\n${'y'.repeat(31)}\n"text"\n{"id":4,"n":4}`)
  for (const size of [1, 7, 1000]) {
    ran.length = 0
    const app = await buildJobs(t, ({ id, n }) => { ran.push(id); return { n } }, { stream: { maxLineBytes: 30 }, concurrency: 1 })
    const { outgoing, answered } = await begin(t, app)
    for (let at = 0; at < payload.length; at += size) {
      outgoing.write(payload.subarray(at, at + size))
      await setImmediate()
    }
    outgoing.end()
    const lines = parse(await text(await answered))

    const tooLong = { id: null, status: 'failed', why: 'Expected a line of at most 30 bytes', code: 'LINE_TOO_LONG', statusCode: 413, retryable: false }
    t.match(lines, [
      { index: 0, id: 'ä', status: 'done' },
      { index: 1, id: null, status: 'failed', why: 'Invalid line', code: 'INVALID_LINE', statusCode: 400, retryable: false, errors: [{ pointer: '#', detail: 'must be JSON' }] },
      { index: 2, ...tooLong },
      { index: 3, id: 3, status: 'done' },
      { index: 4, ...tooLong },
      { index: 5, id: null, code: 'INVALID_ITEM' },
      { index: 6, id: 4, status: 'done' },
      { summary: { total: 7, succeeded: 3, failed: 4 } }
    ])
    t.strictSame(ran, ['ä', 3, 4])
  }
})

t.test('a stream without items has nothing but a summary', async t => {
  const app = await buildJobs(t, ({ n }) => ({ n }))

  t.strictSame(parse((await post(app, '\n')).body), [{ summary: { total: 0, succeeded: 0, failed: 0 } }])
})

t.test('a request without a body is a stream without items', async t => {
  const app = await buildJobs(t, () => ({ n: 1 }))
  const response = await app.inject({ method: 'POST', url: '/jobs/stream' })
  t.equal(response.statusCode, 207)
  t.strictSame(parse(response.body), [{ summary: { total: 0, succeeded: 0, failed: 0 } }])
})

t.test('the first result is out before the last item is in', async t => {
  const app = await buildJobs(t, ({ n }) => ({ n }))
  const { outgoing, answered } = await begin(t, app)

  outgoing.write(linesOf(job(1)))
  const response = await answered
  const [first] = await once(response, 'data')
  t.strictSame(parse(String(first)), [{ index: 0, id: 1, status: 'done', n: 1 }])
  outgoing.end(linesOf(job(2)))
  t.strictSame(parse(await text(response)), [{ index: 1, id: 2, status: 'done', n: 2 }, { summary: { total: 2, succeeded: 2, failed: 0 } }])
})

t.test('items are read no faster than results are', async t => {
  let ran = 0
  const filler = 'x'.repeat(1000)
  const words = defineContract({ ...vocabulary, data: Type.Object({ filler: Type.String() }) })
  const app = await build(t)
  app.route(bulkRoute({ url: '/jobs', contract: words, item: Job, stream: true, handler: () => { ran++; return { filler } } }))
  const { outgoing, answered } = await begin(t, app)
  const total = 20_000
  let written = 0
  const writing = (async () => {
    while (written < total) {
      const more = Array.from({ length: 100 }, () => ({ ...job(written++), filler }))
      if (!outgoing.write(linesOf(...more))) await once(outgoing, 'drain')
    }
    outgoing.end()
  })()
  const response = await answered

  // Nothing is read here, until the server does not go on any more.
  let before = -1
  await waitFor('the server to wait', async () => {
    const isStill = before === ran
    before = ran
    await setTimeout(200)
    return isStill && ran === before
  })
  t.ok(ran < total / 2, `${ran} of ${total} have run`)
  t.ok(written < total, `${written} of ${total} could be written`)

  let lines = 0
  let end = ''
  for await (const chunk of response) {
    lines += String(chunk).split('\n').length - 1
    end = (end + String(chunk)).slice(-100)
  }
  await writing
  t.equal(lines, total + 1)
  t.match(end, `{"summary":{"total":${total},"succeeded":${total},"failed":0}}\n`)
})

t.test('when the client is gone everything stops', async t => {
  const reasons: unknown[] = []
  let started = 0
  const app = await buildJobs(t, ({ id }, { signal }) => {
    started++
    signal.addEventListener('abort', () => reasons.push([id, (signal.reason as ItemError).code]))
    return never()
  }, { concurrency: 2 })
  const { outgoing } = await begin(t, app)

  outgoing.write(linesOf(job(1), job(2), job(3)))
  await waitFor('two items to run', () => started === 2)
  outgoing.destroy()
  await waitFor('both to be aborted', () => reasons.length === 2)

  t.strictSame(reasons, [[1, 'CANCELLED'], [2, 'CANCELLED']])
  t.equal(started, 2)
  await app.close()
})

t.test('a client that is gone while it has read nothing leaves nobody waiting', async t => {
  let ran = 0
  const app = await buildJobs(t, ({ n }) => { ran++; return { n } })
  const { outgoing } = await begin(t, app)
  const more = linesOf(...Array.from({ length: 1000 }, (_, n) => job(n)))
  let isFlowing = true
  while (isFlowing) {
    if (!outgoing.write(more)) isFlowing = await Promise.race([once(outgoing, 'drain').then(() => true), setTimeout(500, false)])
  }
  const before = ran
  outgoing.destroy()
  await app.close()

  t.ok(before > 1000)
})

t.test('a closing app cuts a stream when its grace is over: no summary, and the connection does not stay', async t => {
  const app = await buildJobs(t, ({ id, n }) => id === 1 ? { n } : never(), { concurrency: 2 }, { plugin: { closeGrace: 20 } })
  const { outgoing, answered } = await begin(t, app)
  outgoing.write(linesOf(job(1), job(2)))
  const response = await answered
  const body = text(response)
  await app.close()

  t.strictSame(parse(await body).map(({ id, status, code }) => [id, status, code]), [[1, 'done', undefined], [2, 'failed', 'CANCELLED']])
})

t.test('what comes after a closing app has cut a stream is not run', async t => {
  const seen: unknown[] = []
  const app = await buildJobs(t, ({ id, n }) => { seen.push(id); return id === 1 ? { n } : never() }, { concurrency: 2 }, { plugin: { closeGrace: 20 } })
  const { outgoing, answered } = await begin(t, app)
  outgoing.write(linesOf(job(1), job(2)))
  const response = await answered
  response.on('data', () => {}).on('error', () => {})
  const closed = app.close()
  await once(response, 'end')
  outgoing.write(linesOf(job(3)))
  await closed

  t.strictSame(seen, [1, 2])
})

t.test('a client that has sent everything and reads nothing does not keep the server from closing', async t => {
  const text = 'x'.repeat(5 * 1024 * 1024)
  let ran = 0
  const app = await buildJobs(t, ({ n }) => { ran++; return { n, text } }, {
    contract: defineContract({ ...vocabulary, data: Type.Object({ n: Type.Integer(), text: Type.String() }) }) as never
  }, { plugin: { closeGrace: 0 } })
  const { outgoing, answered } = await begin(t, app)
  outgoing.end(linesOf(job(1), job(2), job(3), job(4)))
  const response = await answered
  await waitFor('all jobs', () => ran === 4)
  await app.close()

  t.equal(response.complete, false)
})

t.test('a stream that breaks has no summary', async t => {
  const lines: LogLine[] = []
  const app = await buildJobs(t, ({ n }) => ({ n }), {
    preParsing: async () => {
      const broken = new PassThrough()
      broken.write(linesOf(job(1)))
      setTimeout(20).then(() => broken.destroy(new Error('bad gzip')))
      return broken
    }
  }, { onLog: line => lines.push(line) })
  const response = await post(app, '')

  t.strictSame(parse(response.body), [{ index: 0, id: 1, status: 'done', n: 1 }])
  t.match(lines.find(({ msg }) => msg === 'the stream was not read to its end'), { err: { message: 'bad gzip' } })
})

t.test('items beyond maxItems fail alone, each without being run', async t => {
  const ran: unknown[] = []
  const app = await buildJobs(t, ({ id, n }) => { ran.push(id); return { n } }, { stream: { maxItems: 2 } })
  const lines = parse((await post(app, linesOf(job(1), job(2), job(3)))).body)

  t.strictSame(lines[2], { index: 2, id: 3, status: 'failed', why: 'Expected at most 2 items in one stream', code: 'TOO_MANY_ITEMS', statusCode: 413, retryable: false })
  t.strictSame(lines[3], { summary: { total: 3, succeeded: 2, failed: 1 } })
  t.strictSame(ran, [1, 2])
})

t.test('return=minimal is honoured, handling=strict cannot be', async t => {
  const app = await buildJobs(t, ({ n }) => ({ n }))
  const response = await post(app, linesOf(job(1), { id: 2 }), { prefer: 'handling=strict, return=minimal' })

  t.equal(response.headers['preference-applied'], 'return=minimal')
  t.match(parse(response.body), [{ index: 0, id: 1, status: 'done' }, { index: 1, id: 2, code: 'INVALID_ITEM' }, {}])
  t.notMatch(response.body.split('\n')[0], '"n"')
})

t.test('timeouts, retries and what a handler is told are those of the JSON operation', async t => {
  const contexts: unknown[] = []
  const asked: unknown[] = []
  const app = await buildJobs(t, ({ id, n }, { index, key, attempt, request }) => {
    contexts.push([index, key, attempt, (request.params as { by: string }).by])
    if (id === 1 && attempt === 1) throw new Error('again')
    return id === 2 ? never() : { n }
  }, {
    url: '/jobs/:by',
    schema: { params: Type.Object({ by: Type.String() }) },
    timeout: item => { asked.push(item); return 20 },
    retries: 1,
    backoff: 0,
    concurrency: 1
  })
  const response = await app.inject({
    method: 'POST', url: '/jobs/me/stream', payload: linesOf({ id: 0 }, job(1), job(2)), headers: { 'content-type': 'application/x-ndjson' }
  })

  t.match(parse(response.body), [{ index: 0, code: 'INVALID_ITEM' }, { index: 1, status: 'done' }, { index: 2, code: 'TIMEOUT' }, {}])
  t.strictSame(contexts, [[1, 1, 1, 'me'], [1, 1, 2, 'me'], [2, 2, 1, 'me'], [2, 2, 2, 'me']])
  t.notOk(asked.includes(undefined))
})

t.test('the JSON operation stays as it is, and both are documented under their own names', async t => {
  const app = await buildJobs(t, ({ n }) => ({ n }), {
    schema: { operationId: 'runJobs', summary: 'Run jobs', tags: ['jobs'] }
  }, { plugin: { docs: {} } })
  t.strictSame((await app.inject({ method: 'POST', url: '/jobs', payload: [job(1)] })).json(), { jobs: [{ id: 1, status: 'done', n: 1 }] })

  interface Operation { operationId: string, tags: string[], requestBody: { content: object }, responses: Record<string, { content: object }> }
  const { paths } = (await app.inject('/documentation/json')).json<{ paths: Record<string, { post: Operation }> }>()
  const [json, stream] = [paths['/jobs']!.post, paths['/jobs/stream']!.post]
  t.strictSame([json.operationId, Object.keys(json.responses[207]!.content)], ['runJobs', ['application/json']])
  t.strictSame([stream.operationId, stream.tags, Object.keys(stream.requestBody.content), Object.keys(stream.responses[207]!.content)],
    ['runJobsStream', ['jobs'], ['application/x-ndjson'], ['application/x-ndjson']])
})

t.test('a stream goes with a prefix, without documentation, and where the app reads NDJSON itself', async t => {
  const app = await build(t, {
    plugin: { docs: {} },
    before: app => app.addContentTypeParser('application/x-ndjson', { parseAs: 'string' }, (_request, _body, done) => done(null, 'mine'))
  })
  app.register(async child => {
    child.route(bulkRoute({ url: '/jobs/', contract, item: Job, stream: true, handler: ({ n }) => ({ n }) }))
    child.post('/own', async request => request.body)
  }, { prefix: '/v1' })
  const ask = (url: string) => app.inject({ method: 'POST', url, payload: linesOf(job(1)), headers: { 'content-type': 'application/x-ndjson' } })

  t.match((await ask('/v1/jobs/stream')).body, '{"index":0,"id":1,"status":"done","n":1}\n')
  t.equal((await ask('/v1/own')).body, 'mine')
  const json = await app.inject({ method: 'POST', url: '/v1/jobs/stream', payload: [job(1)] })
  t.equal(json.statusCode, 415)
})

t.test('a contract whose results have a member of the name that every line has already is refused', t => {
  const words = { name: 'Row', success: 'ok', failure: 'bad', reason: 'why' } as const
  const item = Type.Object({ index: Type.Integer(), id: Type.Integer() })
  for (const contract of [
    defineContract({ ...words, key: 'index' }), defineContract({ ...words, key: 'id', reason: 'index' }),
    defineContract({ ...words, key: 'id', data: Type.Object({ index: Type.Integer() }) })
  ]) {
    const options = { url: '/rows', contract, item, handler: () => ({ index: 1 }) }
    t.throws(() => bulkRoute({ ...options, stream: true } as never), { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: /without a member "index"/ })
    t.doesNotThrow(() => bulkRoute(options as never))
  }
  t.end()
})

t.test('one route in two contexts follows the shared schemas of each, also as a stream', async t => {
  const app = await build(t)
  const contract = defineContract({ name: 'Row', key: 'id', success: 'ok', failure: 'bad', reason: 'why', data: Type.Object({ user: Type.Unsafe<object>({ $ref: 'User#' }) }) })
  const route = bulkRoute({
    url: '/rows', contract, stream: true, item: Type.Object({ id: Type.Unsafe<number>({ $ref: 'Id#' }) }), handler: () => ({ user: { name: 'Ada', email: 'a@b.org' } })
  })
  const text = { type: 'string' }
  for (const [prefix, id, properties] of [['/all', 'integer', { name: text, email: text }], ['/some', 'string', { name: text }]] as const) {
    app.register(async child => {
      child.addSchema({ $id: 'Id', type: id })
      child.addSchema({ $id: 'User', type: 'object', properties })
      child.route(route)
    }, { prefix })
  }
  const send = async (url: string) => {
    const lines = await app.inject({ method: 'POST', url: `${url}/stream`, payload: '{"id":1}\n{"id":"1"}\n', headers: { 'content-type': 'application/x-ndjson' } })
    const { results } = (await app.inject({ method: 'POST', url, payload: [{ id: 1 }, { id: '1' }] })).json()
    t.match(parse(lines.body).slice(0, 2).sort((a, b) => Number(a.index) - Number(b.index)), results)
    return results.map(({ status, user }: Record<string, unknown>) => user ?? status)
  }

  t.strictSame(await send('/some/rows'), ['bad', { name: 'Ada' }])
  t.strictSame(await send('/all/rows'), [{ name: 'Ada', email: 'a@b.org' }, 'bad'])
})

t.test('limits that cannot be are refused', async t => {
  for (const stream of [{ maxItems: 0 }, { maxLineBytes: 1.5 }]) {
    t.throws(() => bulkRoute({ url: '/jobs', contract, item: Job, stream, handler: ({ n }) => ({ n }) }),
      { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: /stream\.max(Items|LineBytes) must be an integer from 1/ })
  }
})

for (const [what, work] of Object.entries({
  'of items that run': () => new Promise(() => {}),
  'of items that wait to be tried again': () => { throw new ItemError('Later', { retryable: true }) }
})) {
  t.test(`settleEach hands out nothing more when the first outcome of an abort is refused: ${what}`, async t => {
    const abort = new AbortController()
    const taken: number[] = []
    const ended = settleEach([1, 2, 3], work, { concurrency: 2, retries: 1, backoff: 60_000, signal: abort.signal }, (_, index) => {
      taken.push(index)
      throw new Error('refused')
    })
    abort.abort()

    await t.rejects(ended, { message: 'refused' })
    t.strictSame(taken, [0])
  })
}

t.test('settleEach hands out outcomes as they come, and waits for who takes them', async t => {
  const seen: unknown[] = []
  let taken = 0
  function * items () {
    for (let n = 0; n < 5; n++) {
      taken++
      yield n
    }
    throw new Error('no more')
  }
  await settleEach(items(), n => { if (n === 1) throw new Error('one'); return n * 2 }, { concurrency: 1 }, async (outcome, index, item) => {
    seen.push([index, item, outcome.status, taken])
    await setImmediate()
  })

  t.strictSame(seen, [[0, 0, 'fulfilled', 1], [1, 1, 'rejected', 2], [2, 2, 'fulfilled', 3], [3, 3, 'fulfilled', 4], [4, 4, 'fulfilled', 5], [5, undefined, 'rejected', 5]])
  await t.rejects(settleEach([1], () => 1, { concurrency: 0 }, () => {}), { code: 'FST_MULTI_STATUS_INVALID_OPTION' })
})

t.test('settleEach ends with what who takes them throws, and hands out nothing after that', async t => {
  const seen: unknown[] = []
  const rejection = settleEach([1, 2, 3, 4], n => n, { concurrency: 2 }, (_, index) => {
    seen.push(index)
    if (index > 0) throw new Error(`full at ${index}`)
  })

  await t.rejects(rejection, { message: 'full at 1' })
  t.strictSame(seen, [0, 1])
})
