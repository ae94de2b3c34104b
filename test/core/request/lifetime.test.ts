// The life of a batch: it ends when its client is gone, or when the app closes and the grace period is over.
import { once } from 'node:events'
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { ItemError } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { buildJobs } from '../../fixtures/jobs.js'

const jobs = (...ids: number[]) => ids.map(id => ({ id, n: id }))
const done = (id: unknown, n: number) => ({ id, status: 'done', n })
const failed = (id: unknown, why: string, code: string, statusCode: number, retryable: boolean) =>
  ({ id, status: 'failed', why, code, statusCode, retryable })
const cancelled = (id: unknown) => failed(id, 'Cancelled', 'CANCELLED', 424, true)
const never = () => new Promise<never>(() => {})

/** A promise, and the function that resolves it. */
function signalOnce<T = void> () {
  let resolve!: (value: T) => void
  const promise = new Promise<T>(_resolve => { resolve = _resolve })
  return { promise, resolve }
}

/** Listens on loopback, and connects a client that speaks for itself. */
async function listen (t: Test, app: FastifyInstance): Promise<() => Promise<Socket>> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return async () => {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    return socket
  }
}

/** Sends the head of a request and the first byte of its body; what it returns sends the rest. */
function begin (socket: Socket, payload: object): () => void {
  const body = JSON.stringify(payload)
  socket.write('POST /jobs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n' +
    `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body.slice(0, 1)}`)
  return () => { socket.write(body.slice(1)) }
}

function write (socket: Socket, payload: object): void {
  begin(socket, payload)()
}

/** Reads one answer; the server must close the connection after it. */
async function readAnswer (socket: Socket): Promise<{ head: string, body: { jobs: unknown[] } }> {
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  const [head, body] = text.split('\r\n\r\n') as [string, string]
  return { head, body: JSON.parse(body) }
}

t.test('when the client disconnects, what runs is aborted and the rest is not started', async t => {
  const started: unknown[] = []
  const bothStarted = signalOnce()
  const reasons: unknown[] = []
  const answered = signalOnce<string>()
  const app = await buildJobs(t, async ({ id }, { signal }) => {
    signal.addEventListener('abort', () => reasons.push([id, (signal.reason as ItemError).code]))
    if (started.push(id) === 2) bothStarted.resolve()
    return never()
  }, { concurrency: 2, preSerialization: async (_request, _reply, payload) => { answered.resolve(JSON.stringify(payload)); return payload } })
  const socket = await (await listen(t, app))()

  write(socket, jobs(1, 2, 3, 4))
  await bothStarted.promise
  socket.destroy()
  const answer = await answered.promise

  t.strictSame(reasons, [[1, 'CANCELLED'], [2, 'CANCELLED']])
  t.strictSame(started, [1, 2])
  const notRun = (id: unknown) => failed(id, 'Client disconnected', 'NOT_RUN', 424, true)
  t.strictSame(JSON.parse(answer), { jobs: [cancelled(1), cancelled(2), notRun(3), notRun(4)] })
})

t.test('a client that is gone before the first item begins has none run', async t => {
  const ran: unknown[] = []
  const reached = signalOnce()
  const gone = signalOnce()
  const answered = signalOnce<string>()
  const app = await buildJobs(t, ({ id, n }) => { ran.push(id); return { n } }, {
    preHandler: async (_request, reply) => {
      reached.resolve()
      await once(reply.raw, 'close')
      gone.resolve()
    },
    preSerialization: async (_request, _reply, payload) => { answered.resolve(JSON.stringify(payload)); return payload }
  })
  const socket = await (await listen(t, app))()

  write(socket, jobs(1))
  await reached.promise
  socket.destroy()
  await gone.promise

  t.strictSame(JSON.parse(await answered.promise), { jobs: [failed(1, 'Client disconnected', 'NOT_RUN', 424, true)] })
  t.strictSame(ran, [])
})

t.test('a client that stays is not mistaken for one that left, and nothing is kept of it', async t => {
  const signals: AbortSignal[] = []
  const app = await buildJobs(t, ({ n }, { signal }) => { signals.push(signal); return { n } }, {
    preHandler: async (_request, reply) => { signals.push(reply.batchSignal()) }
  })
  const socket = await (await listen(t, app))()

  write(socket, jobs(1))
  const [chunk] = await once(socket, 'data')
  t.match(String(chunk), 'HTTP/1.1 207 Multi-Status')
  await app.close()

  t.strictSame(signals.map(signal => signal.aborted), [false, false])
})

t.test('a closing app waits for its batches within closeGrace', async t => {
  const started = signalOnce()
  const finish = signalOnce()
  const app = await buildJobs(t, async ({ n }) => {
    started.resolve()
    await finish.promise
    return { n }
  }, {}, { plugin: { closeGrace: 60_000 } })
  const socket = await (await listen(t, app))()

  write(socket, jobs(1, 2))
  await started.promise
  const closed = app.close()
  setTimeout(20).then(finish.resolve)
  const [{ head, body }] = await Promise.all([readAnswer(socket), closed])

  t.match(head, 'HTTP/1.1 207 Multi-Status')
  t.strictSame(body, { jobs: [done(1, 1), done(2, 2)] })
})

t.test('when closeGrace is over the batches are aborted, and their clients still get a 207', async t => {
  const started = signalOnce()
  const reasons: unknown[] = []
  const app = await buildJobs(t, async ({ id, n }, { signal }) => {
    if (id === 1) return { n }
    signal.addEventListener('abort', () => reasons.push((signal.reason as ItemError).code))
    started.resolve()
    return never()
  }, { concurrency: 1 }, { plugin: { closeGrace: 20 } })
  const socket = await (await listen(t, app))()

  write(socket, jobs(1, 2, 3))
  await started.promise
  const [{ head, body }] = await Promise.all([readAnswer(socket), app.close()])

  t.match(head, /^HTTP\/1\.1 207 Multi-Status\r\n/)
  t.match(head, /\r\nmulti-status: total=3, succeeded=1, failed=2\r\n/)
  t.strictSame(body, { jobs: [done(1, 1), cancelled(2), failed(3, 'Server closing', 'NOT_RUN', 424, true)] })
  t.strictSame(reasons, ['CANCELLED'])
})

t.test('a batch whose body comes in while the app closes is answered too', async t => {
  const arrived = signalOnce()
  const ran: unknown[] = []
  const app = await buildJobs(t, ({ id }) => { ran.push(id); return never() }, {
    onRequest: async () => { arrived.resolve() }
  }, { plugin: { closeGrace: 20 } })
  const closing = signalOnce()
  app.addHook('preClose', async () => { closing.resolve() })
  const socket = await (await listen(t, app))()

  const finish = begin(socket, jobs(1, 2))
  await arrived.promise
  const closed = app.close()
  await closing.promise
  finish()
  const [{ head, body }] = await Promise.all([readAnswer(socket), closed])

  t.match(head, 'HTTP/1.1 207 Multi-Status')
  t.strictSame(body, { jobs: [1, 2].map(id => failed(id, 'Server closing', 'NOT_RUN', 424, true)) })
  t.strictSame(ran, [])
})

t.test('a batch that begins within closeGrace may use what is left of it', async t => {
  const arrived = signalOnce()
  const first = signalOnce()
  const second = signalOnce()
  const finish = signalOnce()
  const app = await buildJobs(t, async ({ id, n }) => {
    if (id === 1) {
      first.resolve()
      await second.promise
    } else {
      second.resolve()
      await finish.promise
    }
    return { n }
  }, { onRequest: async () => { arrived.resolve() } }, { plugin: { closeGrace: 60_000 } })
  const client = await listen(t, app)
  const [early, late] = [await client(), await client()]

  const finishLate = begin(late, jobs(2))
  await arrived.promise
  write(early, jobs(1))
  await first.promise
  const closed = app.close()
  finishLate()
  const [chunk] = await once(early, 'data')
  t.match(String(chunk), JSON.stringify({ jobs: [done(1, 1)] }))
  finish.resolve()
  t.strictSame((await readAnswer(late)).body, { jobs: [done(2, 2)] })
  await closed
})

t.test('a batchSignal is the same however often it is asked for', async t => {
  const app = await build(t)
  const signals = new Set<AbortSignal>()
  app.get('/', async (_request, reply) => {
    for (let count = 0; count < 20; count++) signals.add(reply.batchSignal())
    return reply.multiStatus([{ listeners: reply.raw.listenerCount('close') }])
  })

  const { results: [{ listeners }] } = (await app.inject('/')).json()
  t.equal(signals.size, 1)
  t.ok(listeners < 10, `${listeners} listeners`)
})

t.test('a batchSignal can be had in any route', async t => {
  const app = await build(t)
  app.get('/', async (_request, reply) => reply.multiStatus([{ aborted: reply.batchSignal().aborted }]))

  t.equal((await app.inject('/')).body, '{"results":[{"aborted":false}]}')
})

/** Makes an app that speaks HTTP/2, and a client that is connected to it. */
async function connectOverHttp2 (t: Test, handler: Parameters<typeof buildJobs>[1], options: Parameters<typeof buildJobs>[2] = {}) {
  const app = await buildJobs(t, handler, options, { fastify: { http2: true } as FastifyServerOptions })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  t.teardown(() => client.destroy())
  return { app, client }
}

function sendOverHttp2 (client: ClientHttp2Session, payload: object) {
  const stream = client.request({ ':method': 'POST', ':path': '/jobs', 'content-type': 'application/json' })
  stream.end(JSON.stringify(payload))
  return stream
}

t.test('over HTTP/2, when the client cancels, what runs is aborted and the rest is not started', async t => {
  const started: unknown[] = []
  const bothStarted = signalOnce()
  const answered = signalOnce<string>()
  const { client } = await connectOverHttp2(t, ({ id }) => {
    started.push(id)
    if (started.length === 2) bothStarted.resolve()
    return never()
  }, { concurrency: 2, preSerialization: async (_request, _reply, payload) => { answered.resolve(JSON.stringify(payload)); return payload } })

  const stream = sendOverHttp2(client, jobs(1, 2, 3))
  await bothStarted.promise
  stream.close(constants.NGHTTP2_CANCEL)

  t.strictSame(JSON.parse(await answered.promise), { jobs: [cancelled(1), cancelled(2), failed(3, 'Client disconnected', 'NOT_RUN', 424, true)] })
  t.strictSame(started, [1, 2])
})

t.test('over HTTP/2, a client that has cancelled before the first item begins has none run', async t => {
  const ran: unknown[] = []
  const reached = signalOnce()
  const answered = signalOnce<string>()
  const { client } = await connectOverHttp2(t, ({ id, n }) => { ran.push(id); return { n } }, {
    preHandler: async (_request, reply) => {
      reached.resolve()
      await once(reply.raw, 'close')
    },
    preSerialization: async (_request, _reply, payload) => { answered.resolve(JSON.stringify(payload)); return payload }
  })

  const stream = sendOverHttp2(client, jobs(1))
  await reached.promise
  stream.close(constants.NGHTTP2_CANCEL)

  t.strictSame(JSON.parse(await answered.promise), { jobs: [failed(1, 'Client disconnected', 'NOT_RUN', 424, true)] })
  t.strictSame(ran, [])
})

t.test('over HTTP/2, a client that has its answer is not mistaken for one that left', async t => {
  const signals: AbortSignal[] = []
  const { app, client } = await connectOverHttp2(t, ({ n }) => ({ n }), {
    preHandler: async (_request, reply) => { signals.push(reply.batchSignal()) }
  })

  const stream = sendOverHttp2(client, jobs(1))
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  client.close()
  await app.close()

  t.strictSame(JSON.parse(text), { jobs: [done(1, 1)] })
  t.strictSame(signals.map(({ aborted }) => aborted), [false])
})
