// The memory of what was read is given back as soon as it is stored, and never while somebody else may look at it.
import { createHash, randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { disk, type Sink, type Storage } from '../../lib/index.js'
import type { BuildOptions } from '../fixtures/build.js'
import { buildUpload, checkAnswer, fieldPart, filePart, FORM, form, sendOverSocket, uploaded } from '../fixtures/upload.js'
import { waitFor } from '../fixtures/wait.js'

const MB = 1024 * 1024
const TYPE = 'application/octet-stream'

/** The disk, but for what is done with each piece. */
function diskThat (dir: string, write: (sink: Sink, ...piece: Parameters<Sink['write']>) => void | Promise<void>): Storage {
  const inner = disk({ dir })
  return {
    ...inner,
    async open (file) {
      const sink = await inner.open(file)
      return { ...sink, write: (...piece) => write(sink, ...piece) }
    }
  }
}

/** The disk, and every piece that it was given. */
function watchPieces (dir: string, handsOnRelease: boolean): { storage: Storage, pieces: Buffer[] } {
  const pieces: Buffer[] = []
  const storage = diskThat(dir, (sink, piece, release) => {
    pieces.push(piece)
    return handsOnRelease ? sink.write(piece, release) : sink.write(piece)
  })
  return { storage, pieces }
}

interface Upload { dir: string, storage: Storage, before?: (request: FastifyRequest) => void, fastify?: BuildOptions['fastify'] }

/** Sends two files over a socket, and looks at them on the disk. */
async function upload (t: Test, { dir, storage, before = () => {}, fastify = {} }: Upload): Promise<Buffer[]> {
  const contents = [randomBytes(4 * MB), randomBytes(3 * MB)]
  const { app } = await buildUpload(t, { storage }, { fastify })
  // With a callback, as the handler would come too late after a promise.
  app.addHook('preHandler', (request, _reply, done) => {
    before(request)
    done()
  })
  const body = new FormData()
  for (const [index, content] of contents.entries()) body.append('files', new Blob([content]), `${index}.bin`)
  await checkAnswer(t, dir, await sendOverSocket(app, body), contents.map((content, index) => uploaded(`${index}.bin`, content, TYPE)))
  return contents
}

const lengthOf = (pieces: readonly Buffer[]) => pieces.reduce((sum, { length }) => sum + length, 0)

t.test('most of the memory of a large file is given back when it is written, and the file is what was sent', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  const contents = await upload(t, { dir, storage })
  t.ok(lengthOf(pieces) < lengthOf(contents) / 2, `${lengthOf(pieces)} bytes are left`)
})

/** Of no type that is known, as some random bytes are. */
function makeUnknown (): Buffer {
  return Buffer.concat([Buffer.from('content '), randomBytes(9992)])
}

/** Sends files of 10 KB, several of which come in one piece of the request. */
async function uploadSmall (
  t: Test, dir: string, storage: Storage, before: (index: number, content: Buffer) => Buffer[] = () => [], make = makeUnknown
): Promise<void> {
  const contents = Array.from({ length: 200 }, make)
  const { app } = await buildUpload(t, { storage, limits: { files: 200 } })
  const parts = contents.flatMap((content, index) => [...before(index, content), filePart(`${index}.bin`, content, TYPE)])
  const answer = await sendOverSocket(app, new Uint8Array(form(...parts)), { 'content-type': FORM })
  await checkAnswer(t, dir, answer, contents.map((content, index) => uploaded(`${index}.bin`, content, TYPE)))
}

t.test('most of the memory that small files share is given back, and they are what was sent', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  await uploadSmall(t, dir, storage)
  t.ok(pieces[0]!.length > 0, 'the first may have the end of another request in it')
  await waitFor('it to be given back', async () => lengthOf(pieces) < 1_000_000)
})

t.test('so it is when there are fields between them, which are read later than files', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  await uploadSmall(t, dir, storage, () => [fieldPart('note', 'x'.repeat(2000))])
  await waitFor('it to be given back', async () => lengthOf(pieces) < 1_000_000)
})

t.test('pieces of files that are put together again from several are not taken for what the request has brought', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  // What ends as a delimiter begins is kept back, and comes with what follows.
  await uploadSmall(t, dir, storage, undefined, () => Buffer.alloc(10_000, 'content\r'))
  await waitFor('it to be given back', async () => lengthOf(pieces) < 1_000_000)
})

t.test('what checksums share with files is kept', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  await uploadSmall(t, dir, storage, (_, content) => [fieldPart('sha256', createHash('sha256').update(content).digest('hex'))])
  t.ok(lengthOf(pieces) > 1_900_000)
})

t.test('files that are done with before others do not take away what those share with them, also when given back twice', async t => {
  const dir = t.testdir()
  const storage = diskThat(dir, async (sink, piece, release) => {
    // Some are done with at once, and others not before those behind them.
    const isQuick = piece[20]! < 128
    if (!isQuick) await setTimeout(20)
    await sink.write(piece, () => {
      release!()
      release!()
    })
  })
  await uploadSmall(t, dir, storage)
})

t.test('what somebody else has transferred is gone already', async t => {
  const dir = t.testdir()
  const storage = diskThat(dir, async (sink, piece, release) => {
    await sink.write(Buffer.from(piece))
    release!()
    if (piece.length === piece.buffer.byteLength) structuredClone(null, { transfer: [piece.buffer as ArrayBuffer] })
  })
  await upload(t, { dir, storage })
})

t.test('a storage that does not hand on the release keeps every piece', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, false)
  const contents = await upload(t, { dir, storage })
  t.ok(Buffer.concat(pieces).equals(Buffer.concat(contents)))
})

t.test('a storage that does not say that it releases is given nothing but the piece', async t => {
  const given: unknown[][] = []
  const storage: Storage = {
    open: async () => ({ async write (...all) { given.push(all) }, async discard () {}, publish: async () => ({ key: 'key' }) })
  }
  const { send } = await buildUpload(t, { storage })
  await send(form(filePart('a.txt', 'content')))
  t.strictSame(given, [[Buffer.from('content')]])
})

const readAll = (raw: IncomingMessage) => () => { while (raw.read() !== null); }

/** Ways to read along, and so perhaps to keep what is read. */
const readers: Record<string, (raw: IncomingMessage) => void> = {
  'was there for one piece': raw => raw.once('data', () => {}).pause(),
  'comes for one piece': raw => raw.once('resume', () => raw.once('data', () => {})),
  'reads by itself': raw => raw.on('readable', readAll(raw)),
  'comes to read by itself': raw => raw.once('resume', () => raw.on('readable', readAll(raw))),
  'listens to all events': raw => Object.assign(raw, { emit: IncomingMessage.prototype.emit })
}

for (const [name, readAlong] of Object.entries(readers)) {
  t.test(`nothing is given back when somebody else ${name}`, async t => {
    const dir = t.testdir()
    const { storage, pieces } = watchPieces(dir, true)
    const contents = await upload(t, { dir, storage, before: ({ raw }) => readAlong(raw) })
    t.ok(Buffer.concat(pieces).equals(Buffer.concat(contents)))
  })
}

t.test('nothing is given back where requests are of a class that the app has made itself', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  class OwnMessage extends IncomingMessage {}
  const contents = await upload(t, { dir, storage, fastify: { http: { IncomingMessage: OwnMessage } } as BuildOptions['fastify'] })
  t.ok(Buffer.concat(pieces).equals(Buffer.concat(contents)))
})

/** A file in pieces that have their memory for themselves, as those of a request have. */
function makeFile (): { pieces: Buffer[], content: Buffer, body: Buffer[] } {
  const pieces = Array.from({ length: 20 }, () => randomBytes(64 * 1024))
  const body = [filePart('a.bin', '', TYPE).subarray(0, -2), ...pieces, Buffer.from('\r\n'), form()]
  return { pieces, content: Buffer.concat(pieces), body }
}

t.test('what is sent by inject stays the property of who sends it', async t => {
  const { pieces, content, body } = makeFile()
  const { app, dir } = await buildUpload(t)
  const answer = await app.inject({ method: 'POST', url: '/upload', headers: { 'content-type': FORM }, payload: Readable.from(body) })
  await checkAnswer(t, dir, answer, [uploaded('a.bin', content, TYPE)])
  t.ok(Buffer.concat(pieces).equals(content))
})

t.test('so does what is sent by a request that no server has received', async t => {
  const { pieces, content, body } = makeFile()
  const { app, dir } = await buildUpload(t)
  await app.ready()
  const request = Object.assign(new IncomingMessage(new Socket()), { method: 'POST', url: '/upload', headers: { 'content-type': FORM } })
  const response = new ServerResponse(request)
  app.routing(request, response)
  for (const piece of [...body, null]) request.push(piece)
  await waitFor('the file to be stored', async () => (await readdir(dir)).some(name => !name.startsWith('.')))
  t.ok(Buffer.concat(pieces).equals(content))
  response.emit('close')
})
