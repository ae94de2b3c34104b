// Uploads that would never end: a storage that hangs, a client that stops sending, a body without end.
import { once } from 'node:events'
import { connect as connectHttp2, type ClientHttp2Stream } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { Dicer } from '@fastify/busboy'
import type { FastifyInstance, preHandlerAsyncHookHandler } from 'fastify'
import t from 'tap'
import { disk, type Sink, type Storage } from '../../lib/index.js'
import { createGate } from '../fixtures/gate.js'
import { noteUnhandled, timers, turns } from '../fixtures/leaks.js'
import { replace } from '../fixtures/replace.js'
import { buildUpload, checkAnswer, checkRefusal, failed, filePart, form, FORM, temporaries, uploaded } from '../fixtures/upload.js'
import { waitFor } from '../fixtures/wait.js'

const MEGABYTE = 1024 * 1024
const stalled = failed('stalled.txt', 'Storage timeout', 'STORAGE_TIMEOUT', 504, true)

for (const step of ['open', 'write', 'publish'] as const) {
  t.test(`a storage that stalls in ${step} fails the one file when its time is up`, async t => {
    const dir = t.testdir()
    const { send } = await buildUpload(t, { storage: stalling(dir, step), storageTimeout: 500 })

    const answer = await send(form(filePart('a.txt'), filePart('stalled.txt'), filePart('b.txt')))

    await checkAnswer(t, dir, answer, [uploaded('a.txt'), stalled, uploaded('b.txt')])
  })
}

t.test('a file that a storage opens too late is removed', async t => {
  const dir = t.testdir()
  let release = () => {}
  const late = new Promise<void>(resolve => { release = resolve })
  const storage = disk({ dir })
  const { send } = await buildUpload(t, {
    storage: { ...storage, open: async file => { await late; return storage.open(file) } },
    storageTimeout: 500
  })

  const answer = await send(form(filePart('stalled.txt')))
  release()

  await checkAnswer(t, dir, answer, [stalled])
  await waitFor('the late file to come', async () => (await temporaries(dir)).length === 0)
})

t.test('a client that says no more gets the results so far, and its connection is closed', async t => {
  const { app, dir } = await buildUpload(t, { idleTimeout: 100 })
  const socket = await open(app, 100_000)
  socket.write(Buffer.concat([filePart('a.txt'), filePart('cut.txt', 'begin')]))

  const answer = await read(socket)

  await checkAnswer(t, dir, answer, [
    uploaded('a.txt'),
    failed('cut.txt', 'Upload incomplete', 'UPLOAD_INCOMPLETE', 400, true)
  ])
  t.equal(answer.headers.connection, 'close')
})

t.test('with HTTP/2, a client that stops sending gets the results so far, and its stream is closed', async t => {
  const warnings: Error[] = []
  const note = (warning: Error) => { warnings.push(warning) }
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))
  const { app } = await buildUpload(t, { idleTimeout: 100 }, { plugin: { maxInFlight: 1 }, fastify: { http2: true } as object })
  const session = connectHttp2(await app.listen({ host: '127.0.0.1', port: 0 }))

  for (let requests = 0; requests < 2; requests++) {
    const stream = session.request({ ':method': 'POST', ':path': '/upload', 'content-type': FORM })
    stream.write(Buffer.concat([filePart('a.txt'), filePart('cut.txt', 'begin')]))
    t.match(JSON.parse(await readHttp2(stream)), { results: [{ file: 'a.txt', status: 'uploaded' }, { file: 'cut.txt', code: 'UPLOAD_INCOMPLETE' }] })
  }

  session.close()
  await app.close()
  t.strictSame(warnings, [])
})

t.test('with HTTP/2, the stream of a client that keeps sending after its answer is closed', async t => {
  const { app } = await buildUpload(t, { limits: { total: MEGABYTE, fileSize: MEGABYTE } }, { fastify: { http2: true } as object })
  const session = connectHttp2(await app.listen({ host: '127.0.0.1', port: 0 }))
  t.teardown(() => session.destroy())
  const stream = session.request({ ':method': 'POST', ':path': '/upload', 'content-type': FORM })
  stream.write(filePart('endless.txt', 'x').subarray(0, -2))
  const sending = setInterval(() => stream.write(Buffer.alloc(MEGABYTE / 4)), 20)
  t.teardown(() => clearInterval(sending))
  stream.once('aborted', () => clearInterval(sending))

  const isClosed = once(stream, 'aborted')
  t.match(JSON.parse(await readHttp2(stream, 'end')), { results: [{ code: 'FILE_TOO_LARGE' }] })
  await isClosed
})

/** Reads an answer until the stream is closed, or only to its end. */
async function readHttp2 (stream: ClientHttp2Stream, end = 'close'): Promise<string> {
  let text = ''
  stream.on('data', chunk => { text += String(chunk) })
  await once(stream, end)
  return text
}

for (const [where, rest, expected] of [
  ['in a file', filePart('cut.txt', 'begin'), [failed('cut.txt', 'Upload incomplete', 'UPLOAD_INCOMPLETE', 400, true)]],
  ['between two files', form().subarray(0, -4), []]
] as const) {
  t.test(`a form that is cut ${where} is answered also when the parser reports nothing`, async t => {
    const { app, dir } = await buildUpload(t, { idleTimeout: 100 })
    replace(t, Dicer.prototype, 'end', () => {})
    const socket = await open(app, 100_000)
    socket.write(Buffer.concat([filePart('a.txt'), rest]))

    await checkAnswer(t, dir, await read(socket), [uploaded('a.txt'), ...expected])
  })
}

t.test('no timer stays when a client has disconnected before its form is read', async t => {
  let isAnswered = false
  const leave: preHandlerAsyncHookHandler = async ({ raw }, reply) => {
    raw.socket.destroy()
    await once(reply.raw, 'close')
  }
  const { app } = await buildUpload(t, {}, { before: app => app.addHook('preHandler', leave).addHook('onSend', async () => { isAnswered = true }) })
  const before = timers()
  const socket = await open(app, 100_000)
  socket.write(filePart('a.txt'))

  await waitFor('the answer that nobody reads', () => isAnswered)
  await turns()
  t.equal(timers(), before)
})

for (const [step, size] of [['open', 10], ['open', 10_000], ['write', 10], ['write', 10_000]] as const) {
  t.test(`a client that goes while the storage is in ${step} leaves nothing of its file of ${size} bytes, and harms nobody`, async t => {
    const unhandled = noteUnhandled(t)
    const gate = createGate()
    const steps: string[] = []
    const take = async (name: string) => {
      steps.push(name)
      if (name === step) await gate.opened
    }
    const sink: Sink = { write: () => take('write'), discard: () => take('discard'), publish: () => Promise.reject(new Error('published')) }
    let isAnswered = false
    const { app } = await buildUpload(t, { storage: { open: () => take('open').then(() => sink) } }, {
      before: app => app.addHook('onSend', async () => { isAnswered = true })
    })
    const body = form(filePart('a.txt', Buffer.alloc(size, 'x')))
    const socket = await open(app, body.length)
    socket.write(body)
    await waitFor('the step', () => steps.includes(step))
    socket.destroy()
    await waitFor('the answer that nobody reads', () => isAnswered)

    gate.open()
    await waitFor('the file to be discarded', () => steps.includes('discard'))
    await turns()
    t.strictSame(steps, step === 'open' ? ['open', 'discard'] : ['open', 'write', 'discard'])
    t.strictSame(unhandled, [])
  })
}

t.test('a storage that is slower than the client is patient is not the fault of the client', async t => {
  const dir = t.testdir()
  const content = Buffer.alloc(4 * MEGABYTE, 'x')
  const { app } = await buildUpload(t, { storage: slow(dir, 900), idleTimeout: 300 })
  const body = form(filePart('a.txt', content))
  const socket = await open(app, body.length)
  socket.write(body)

  await checkAnswer(t, dir, await read(socket), [uploaded('a.txt', content)])
})

t.test('bytes that arrive while the process is busy are not late', async t => {
  const dir = t.testdir()
  const storage = disk({ dir })
  let tell = () => {}
  const isReading = new Promise<void>(resolve => { tell = resolve })
  const { app } = await buildUpload(t, { storage: { ...storage, open: file => { tell(); return storage.open(file) } }, idleTimeout: 200 })
  const body = form(filePart('a.txt'), filePart('b.txt'))
  const socket = await open(app, body.length)
  socket.write(body.subarray(0, -10))
  await isReading

  socket.write(body.subarray(-10))
  for (const end = performance.now() + 400; performance.now() < end;);

  await checkAnswer(t, dir, await read(socket), [uploaded('a.txt'), uploaded('b.txt')])
})

t.test('a body without end is read no further than its budget and one file more; the answer comes nevertheless', async t => {
  const { app, dir } = await buildUpload(t, { limits: { total: 2 * MEGABYTE, fileSize: MEGABYTE } })
  const socket = await open(app)
  const chunk = (content: Buffer) => socket.write(Buffer.concat([Buffer.from(`${content.length.toString(16)}\r\n`), content, Buffer.from('\r\n')]))
  chunk(Buffer.concat([filePart('a.txt'), filePart('endless.txt', 'x')]).subarray(0, -2))
  const sending = setInterval(() => chunk(Buffer.alloc(MEGABYTE / 4)), 5)
  t.teardown(() => {
    clearInterval(sending)
    socket.destroy()
  })

  await checkAnswer(t, dir, await read(socket), [uploaded('a.txt'), failed('endless.txt', 'File too large', 'FILE_TOO_LARGE', 413)])
})

t.test('a client that keeps sending after its answer is disconnected', async t => {
  const { app } = await buildUpload(t, { limits: { total: MEGABYTE, fileSize: MEGABYTE } })
  const socket = await open(app)
  const chunk = (content: Buffer) => socket.write(Buffer.concat([Buffer.from(`${content.length.toString(16)}\r\n`), content, Buffer.from('\r\n')]))
  chunk(filePart('endless.txt', 'x').subarray(0, -2))
  const sending = setInterval(() => chunk(Buffer.alloc(MEGABYTE / 4)), 20)
  t.teardown(() => clearInterval(sending))
  let answer = ''
  socket.on('data', chunk => { answer += String(chunk) })

  // By a reset or not: once() of the events module would take a reset for a failure of the test.
  await new Promise(resolve => socket.once('close', resolve))

  t.match(answer, '"code":"FILE_TOO_LARGE"')
})

t.test('a form that announces too many bytes is refused before anything is stored', async t => {
  const { app, dir } = await buildUpload(t, { limits: { total: 10 } })
  const socket = await open(app, 50 * MEGABYTE)
  socket.write(filePart('a.txt'))

  await checkRefusal(t, dir, await read(socket), 413, 'FST_MULTI_STATUS_UPLOAD_TOO_LARGE',
    'Expected at most 10 bytes of files in one request; received a request of 52428800 bytes')
})

/** Disk, but one step of the file called stalled.txt never ends. */
function stalling (dir: string, step: 'open' | 'write' | 'publish'): Storage {
  const storage = disk({ dir })
  const never = () => new Promise<never>(() => {})
  return {
    start: () => storage.start!(),
    async open (file) {
      if (file.name !== 'stalled.txt') return storage.open(file)
      if (step === 'open') return never()
      return { ...await storage.open(file), [step]: never }
    }
  }
}

/** Disk, but each write takes its time. */
function slow (dir: string, ms: number): Storage {
  const storage = disk({ dir })
  let writes = 0
  return {
    start: () => storage.start!(),
    async open (file) {
      const sink = await storage.open(file)
      return {
        ...sink,
        async write (chunk) {
          if (writes++ < 2) await new Promise(resolve => setTimeout(resolve, ms))
          await sink.write(chunk)
        }
      }
    }
  }
}

/** Begins an upload of this many bytes; chunked where nobody says how many. */
async function open (app: FastifyInstance, length?: number): Promise<Socket> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  socket.on('error', () => {})
  const size = length === undefined ? 'transfer-encoding: chunked' : `content-length: ${length}`
  socket.write(`POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${FORM}\r\n${size}\r\n\r\n`)
  return socket
}

/** Reads an answer to its end, whether or not the connection stays. */
async function read (socket: Socket) {
  let text = ''
  for await (const chunk of socket) {
    text += (chunk as Buffer).toString()
    const [head, body] = text.split('\r\n\r\n')
    const length = Number(/content-length: (\d+)/i.exec(head!)?.[1])
    if (body === undefined || Buffer.byteLength(body) < length) continue
    const [status, ...lines] = head!.split('\r\n')
    const headers = Object.fromEntries(lines.map(line => [line.split(': ')[0]!.toLowerCase(), line.split(': ')[1]!]))
    return { statusCode: Number(status!.split(' ')[1]), headers, body }
  }
  throw new Error(`The connection was closed after: ${text}`)
}
