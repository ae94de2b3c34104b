// watchBatch: follows a batch by events, or by polling.
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { watchBatch, type BatchEvent, type WatchOptions } from '../../lib/client/index.js'
import { startHttpServer } from '../fixtures/http-server.js'

type TaskResult = { taskId: number, status: 'completed' } | { taskId: number, status: 'failed', reason: string, retryable?: boolean }
interface Body { tasks: TaskResult[] }

const body: Body = { tasks: [{ taskId: 101, status: 'completed' }, { taskId: 102, status: 'failed', reason: 'Timeout' }, { taskId: 103, status: 'completed' }] }
const done = { total: 3, succeeded: 2, failed: 1, pending: 0 }

const summaryAfter = (settled: number) => ({ total: 3, succeeded: settled - Number(settled > 1), failed: Number(settled > 1), pending: 3 - settled })

/** The Server-Sent Event of the settled task at this index. */
function resultEvent (index: number): string {
  return `id: ${index + 1}\nevent: result\ndata: ${JSON.stringify({ index, result: body.tasks[index], summary: summaryAfter(index + 1) })}\n\n`
}

const doneEvent = `event: done\ndata: ${JSON.stringify({ summary: done })}\n\n`

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown

const answer = (status: number, json: unknown, headers = {}): Answer => (_request, response) =>
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(json))
const running = (settled: number, headers = {}) => answer(202, { batchId: 'b', summary: summaryAfter(settled) }, headers)
const finished = answer(207, body)

/** A stream of chunks, each sent after the one before; then its end, or what the test does instead. */
const events = (pieces: string[], end: (response: ServerResponse) => unknown = response => response.end()): Answer =>
  async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const piece of pieces) await new Promise(resolve => response.write(piece, resolve))
    end(response)
  }
const cut = (response: ServerResponse) => response.destroy()

/** Answers requests for the batch and for its events from two lists; the last answer of each is repeated. */
async function startBatchServer (t: Test, batch: Answer[], stream: Answer[]) {
  const asked: { path: string, headers: IncomingMessage['headers'] }[] = []
  const url = await startHttpServer(t, (request, response) => {
    const answers = request.url!.includes('/events') ? stream : batch
    const count = asked.filter(({ path }) => path === request.url).length
    asked.push({ path: request.url!, headers: request.headers })
    answers[Math.min(count, answers.length - 1)]!(request, response)
  })
  return { url: `${url}/tasks/b`, asked, paths: () => asked.map(({ path }) => path) }
}

/** One word for each event, and the last event. */
async function watch (url: string, options?: WatchOptions) {
  const told: BatchEvent<Body>[] = []
  let error: unknown
  try {
    for await (const event of watchBatch<Body>(url, { backoff: 1, ...options })) told.push(event)
  } catch (thrown) {
    error = thrown
  }
  const words = told.map(event => event.type === 'result' ? event.index : event.type)
  return { told, words, last: told.at(-1), error }
}

t.test('yields results from events, and the whole body at the end', async t => {
  const { url, paths, asked } = await startBatchServer(t, [finished], [events([': heartbeat\n\n', resultEvent(0), 'id: ', '2', resultEvent(1).slice(5), resultEvent(2), doneEvent])])

  const { told } = await watch(url, { headers: { authorization: 'Bearer x' } })

  t.strictSame(told, [
    ...body.tasks.map((result, index) => ({ type: 'result', index, result, summary: summaryAfter(index + 1) })),
    { type: 'done', body, summary: done }
  ])
  t.strictSame(paths(), ['/tasks/b/events', '/tasks/b'])
  for (const { headers } of asked) t.equal(headers.authorization, 'Bearer x')
  t.equal(asked[0]!.headers.accept, 'text/event-stream')
  t.notOk('last-event-id' in asked[0]!.headers)
})

t.test('resumes broken events, and yields no result twice', async t => {
  const cuts: Record<string, Answer> = {
    'between events': events([resultEvent(0)]),
    'within a line': events([resultEvent(0), resultEvent(1).slice(0, 40)], cut),
    'before the blank line': events([resultEvent(0), resultEvent(1).trimEnd() + '\n']),
    'by garbage': events([resultEvent(0), 'event: result\ndata: {"ind\n\n']),
    'in CRLF': events([resultEvent(0).replaceAll('\n', '\r\n')])
  }
  for (const [what, first] of Object.entries(cuts)) {
    const { url, asked } = await startBatchServer(t, [running(1, { 'retry-after': '0.01' }), finished], [first, events([resultEvent(0), resultEvent(1), resultEvent(2), doneEvent])])

    const { words, error } = await watch(url)

    t.equal(error, undefined, what)
    t.strictSame(words, [0, 'progress', 1, 2, 'done'], what)
    t.equal(asked[2]!.headers['last-event-id'], '1', what)
  }
})

t.test('reads events with any raw character of JSON', async t => {
  const odd = `id: 1\nevent: result\ndata: ${JSON.stringify({ index: 0, result: { taskId: 101, status: 'completed', note: 'a\u2028b\u2029c\u0085d' }, summary: summaryAfter(1) })}\n\n`
  for (const end of ['\n', '\r\n']) {
    const pieces = [odd, resultEvent(1), resultEvent(2), doneEvent].map(event => event.replaceAll('\n', end))
    for (const sent of [pieces, pieces.join('').split('')]) {
      const { url, asked } = await startBatchServer(t, [running(3, { 'retry-after': '0.01' }), finished], [events(sent), events([])])

      const { told } = await watch(url)

      t.match(told.filter(({ type }) => type === 'result'), [
        { index: 0, result: { note: 'a\u2028b\u2029c\u0085d' } }, { index: 1, summary: summaryAfter(2) }, { index: 2, summary: summaryAfter(3) }
      ], `lines that end in ${JSON.stringify(end)}`)
      t.equal(asked[2]!.headers['last-event-id'], '3')
    }
  }
})

t.test('yields results that no event had when the batch is done', async t => {
  const { url } = await startBatchServer(t, [finished], [events([resultEvent(1)], cut)])

  const { told } = await watch(url)

  t.strictSame(told, [
    { type: 'result', index: 1, result: body.tasks[1], summary: summaryAfter(2) },
    { type: 'result', index: 0, result: body.tasks[0], summary: done },
    { type: 'result', index: 2, result: body.tasks[2], summary: done },
    { type: 'done', body, summary: done }
  ])
})

t.test('polls as often as Retry-After allows if there are no events', async t => {
  for (const [what, none] of Object.entries({
    'not found': answer(404, {}), 'not acceptable': answer(406, {}), 'no events': answer(200, {}), 'over already': (_: unknown, response: ServerResponse) => response.writeHead(204).end()
  })) {
    const { url, paths } = await startBatchServer(t, [running(0, { 'retry-after': '1' }), running(2), finished], [none])
    const begin = performance.now()

    const { words, last } = await watch(url)

    t.ok(performance.now() - begin >= 1998, 'one second because the server says so, another because it says nothing')
    t.strictSame(words, ['progress', 'progress', 0, 1, 2, 'done'], what)
    t.strictSame(last, { type: 'done', body, summary: done })
    t.strictSame(paths(), ['/tasks/b/events', '/tasks/b', '/tasks/b', '/tasks/b'], 'asked for events once only')
  }
})

t.test('polls if a proxy buffers the events', async t => {
  const closed: Promise<unknown>[] = []
  const silent = (head: boolean): Answer => (_request, response) => {
    closed.push(once(response, 'close'))
    if (head) response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  }
  for (const head of [true, false]) {
    const { url, paths } = await startBatchServer(t, [running(0, { 'retry-after': '0.01' }), finished], [silent(head)])

    const { words, error } = await watch(url, { silence: 50 })

    t.equal(error, undefined)
    t.strictSame(words, ['progress', 0, 1, 2, 'done'])
    t.strictSame(paths(), ['/tasks/b/events', '/tasks/b', '/tasks/b'])
  }
  await Promise.all(closed)
})

t.test('keeps listening while heartbeats arrive', async t => {
  const beating: Answer = async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const timer = setInterval(() => response.write(': heartbeat\n\n'), 50)
    setTimeout(() => response.write(resultEvent(0) + doneEvent), 1_500)
    response.once('close', () => clearInterval(timer))
  }
  const { url, paths } = await startBatchServer(t, [finished], [beating])

  await watch(url, { silence: 1_000 })

  t.strictSame(paths(), ['/tasks/b/events', '/tasks/b'])
})

t.test('retries a server that is unreachable or busy, up to maxAttempts', async t => {
  const hangUp: Answer = request => request.socket.destroy()
  const bad = [hangUp, answer(503, {}, { 'retry-after': '0.01' }), answer(500, {}), events(['<html>'])]
  const back = await startBatchServer(t, [...bad, finished], [hangUp])
  const { words } = await watch(back.url)
  t.strictSame(words, [0, 1, 2, 'done'])

  const gone = await startBatchServer(t, [hangUp], [hangUp])
  const { error, told } = await watch(gone.url, { maxAttempts: 3 })
  t.equal((error as Error).message, 'fetch failed')
  t.strictSame(told, [])
  t.strictSame(gone.paths(), ['/tasks/b/events', '/tasks/b', '/tasks/b', '/tasks/b'])
})

t.test('throws for a batch that is unknown, expired or forbidden', async t => {
  for (const status of [404, 410, 401]) {
    const { url } = await startBatchServer(t, [answer(status, { message: 'No' })], [answer(status, {})])
    const { error, told } = await watch(url)
    t.match(error, { name: 'ResponseError', status, message: `Received ${status} No`, body: { message: 'No' } })
    t.strictSame(told, [])
  }
})

t.test('ends the requests on an abort and when the loop is left', async t => {
  const closed: Promise<unknown>[] = []
  const endless: Answer = (_request, response) => {
    closed.push(once(response, 'close'))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(resultEvent(0))
  }
  const { url } = await startBatchServer(t, [running(0)], [endless])

  let told = 0
  for await (const event of watchBatch<Body>(url)) {
    told++
    if (event.type === 'result') break
  }
  t.equal(told, 1)

  const controller = new AbortController()
  const aborted = watch(url, { signal: controller.signal })
  while (closed.length < 2) await new Promise(resolve => setImmediate(resolve))
  controller.abort(new Error('Enough'))
  t.match((await aborted).error, { message: 'Enough' })

  const polled = await startBatchServer(t, [running(0, { 'retry-after': '100' })], [answer(404, {})])
  const later = new AbortController()
  const waiting = watchBatch<Body>(polled.url, { signal: later.signal })
  t.match(await waiting.next(), { value: { type: 'progress' } })
  const rest = waiting.next()
  later.abort(new Error('Enough'))
  await t.rejects(rest, { message: 'Enough' })
  t.match((await watch(polled.url, { signal: later.signal })).error, { message: 'Enough' })
  await Promise.all(closed)
})

t.test('accepts a URL object and a query', async t => {
  const { url, paths } = await startBatchServer(t, [finished], [events([doneEvent])])
  const told: unknown[] = []
  for await (const event of watchBatch(new URL(`${url}?token=x`))) told.push(event.type)
  t.strictSame(told, ['result', 'result', 'result', 'done'])
  t.strictSame(paths(), ['/tasks/b/events?token=x', '/tasks/b?token=x'])
})
