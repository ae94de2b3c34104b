// The memory of what was read is given back as soon as it is stored, and never while somebody else may look at it.
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { disk, type Storage } from '../lib/index.js'
import { buildUpload, checkAnswer, filePart, FORM, form, uploaded, type Answer } from './fixtures/upload.js'

const MB = 1024 * 1024
const TYPE = 'application/octet-stream'

/** The disk, and every piece that it was given. */
function watchPieces (dir: string, handsOnRelease: boolean): { storage: Storage, pieces: Buffer[] } {
  const pieces: Buffer[] = []
  const inner = disk({ dir })
  const storage: Storage = {
    start: () => inner.start!(),
    async open (file) {
      const sink = await inner.open(file)
      return {
        ...sink,
        write (piece, release) {
          pieces.push(piece)
          return handsOnRelease ? sink.write(piece, release) : sink.write(piece)
        }
      }
    }
  }
  return { storage, pieces }
}

interface Upload { dir: string, storage: Storage, before?: (request: FastifyRequest) => void }

/** Sends two files over a socket, and looks at them on the disk. */
async function upload (t: Test, { dir, storage, before = () => {} }: Upload): Promise<Buffer[]> {
  const contents = [randomBytes(4 * MB), randomBytes(3 * MB)]
  const { app } = await buildUpload(t, { storage })
  // With a callback, as the handler would come too late after a promise.
  app.addHook('preHandler', (request, _reply, done) => {
    before(request)
    done()
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const body = new FormData()
  for (const [index, content] of contents.entries()) body.append('files', new Blob([content]), `${index}.bin`)
  const response = await fetch(`${address}/upload`, { method: 'POST', body })
  const answer: Answer = { statusCode: response.status, headers: Object.fromEntries(response.headers), body: await response.text() }
  await checkAnswer(t, dir, answer, contents.map((content, index) => uploaded(`${index}.bin`, content, TYPE)))
  return contents
}

const lengthOf = (pieces: readonly Buffer[]) => pieces.reduce((sum, { length }) => sum + length, 0)

t.test('most of the memory of a large file is given back when it is written, and the file is what was sent', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  const contents = await upload(t, { dir, storage })
  t.ok(lengthOf(pieces) < lengthOf(contents) / 2, `${lengthOf(pieces)} bytes are left`)
})

t.test('a storage that does not hand on the release keeps every piece', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, false)
  const contents = await upload(t, { dir, storage })
  t.ok(Buffer.concat(pieces).equals(Buffer.concat(contents)))
})

t.test('nothing is given back when somebody else was there before to read along', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  const contents = await upload(t, { dir, storage, before: ({ raw }) => { raw.once('data', () => {}).pause() } })
  t.ok(Buffer.concat(pieces).equals(Buffer.concat(contents)))
})

t.test('nothing is given back when somebody else comes to read along, also after he has gone', async t => {
  const dir = t.testdir()
  const { storage, pieces } = watchPieces(dir, true)
  const contents = await upload(t, { dir, storage, before: ({ raw }) => { raw.once('resume', () => raw.once('data', () => {})) } })
  t.ok(Buffer.concat(pieces).equals(Buffer.concat(contents)))
})

t.test('what is sent by inject stays the property of who sends it', async t => {
  const pieces = Array.from({ length: 20 }, () => randomBytes(64 * 1024))
  const content = Buffer.concat(pieces)
  const [head, end] = [filePart('a.bin', '', TYPE).subarray(0, -2), Buffer.concat([Buffer.from('\r\n'), form()])]
  const { app, dir } = await buildUpload(t)
  const payload = Readable.from([head, ...pieces, end])
  const answer = await app.inject({ method: 'POST', url: '/upload', headers: { 'content-type': FORM }, payload })
  await checkAnswer(t, dir, answer, [uploaded('a.bin', content, TYPE)])
  t.ok(Buffer.concat(pieces).equals(content))
})
