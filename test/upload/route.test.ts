// Tests POST /upload: every file gets its own result, and the directory holds exactly the files that were reported uploaded.
import { once } from 'node:events'
import { readdir, readFile, rm } from 'node:fs/promises'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyRequest, preHandlerHookHandler } from 'fastify'
import t, { type Test } from 'tap'
import { disk, ItemError, type Storage } from '../../lib/index.js'
import { build, type LogLine } from '../fixtures/build.js'
import { timers } from '../fixtures/leaks.js'
import {
  BOUNDARY, buildUpload, checkAnswer, checkRefusal, failed, faulty, fieldPart, filePart, FORM, form, part,
  sendOverSocket, temporaries, uploaded,
  type Answer, type Expected
} from '../fixtures/upload.js'
import { waitFor } from '../fixtures/wait.js'

const MB = 1024 * 1024
const MALFORMED_FORM = 'Expected a form in multipart/form-data; received one that cannot be read: '
const CUT = `${MALFORMED_FORM}Unexpected end of multipart data`
const tooLarge = (file: string) => failed(file, 'File too large', 'FILE_TOO_LARGE', 413)
const overBudget = (file: string) => failed(file, 'Upload too large', 'UPLOAD_TOO_LARGE', 413, true)
const incomplete = (file: string) => failed(file, 'Upload incomplete', 'UPLOAD_INCOMPLETE', 400, true)

t.test('one file that is too large fails alone, wherever it is in the form', async t => {
  const large = Buffer.alloc(12 * MB, 'large')
  for (const place of [0, 1, 2]) {
    await t.test(`12 MB as file ${place + 1} of 3`, async t => {
      const { dir, send } = await buildUpload(t, { limits: { fileSize: '1mb' } })
      const names = ['a.txt', 'b.txt', 'c.txt']
      const answer = await send(form(...names.map((name, index) => filePart(name, index === place ? large : name))))
      await checkAnswer(t, dir, answer, names.map((name, index) => index === place ? tooLarge(name) : uploaded(name, name)))
    })
  }
})

t.test('a file may have exactly as many bytes as the limit', async t => {
  const { dir, send } = await buildUpload(t, { limits: { fileSize: 1000 } })
  const answer = await send(form(
    filePart('under', Buffer.alloc(999)), filePart('at', Buffer.alloc(1000)), filePart('over', Buffer.alloc(1001)), filePart('none', '')
  ))
  await checkAnswer(t, dir, answer, [uploaded('under', Buffer.alloc(999)), uploaded('at', Buffer.alloc(1000)), tooLarge('over'), uploaded('none', '')])
})

t.test('a file larger than the memory for one piece arrives byte for byte', async t => {
  const { app, dir } = await buildUpload(t, { limits: { fileSize: '20mb' } })
  const content = Buffer.from(Array.from({ length: 3 * MB }, (_, index) => index * 7 + (index >> 8)))
  const body = form(filePart('large', content), filePart('small'))
  const answer = await app.inject({ method: 'POST', url: '/upload', headers: { 'content-type': FORM }, payload: Readable.from(slices(body, 1777)) })
  await checkAnswer(t, dir, answer, [uploaded('large', content), uploaded('small')])
})

function * slices (body: Buffer, size: number): Generator<Buffer> {
  for (let start = 0; start < body.length; start += size) yield body.subarray(start, start + size)
}

t.test('a form in pieces of any size is read completely, also with a slow storage', async t => {
  const { app } = await buildUpload(t, { storage: slowly() })
  const open = (name: string) => filePart(name).subarray(0, -'content\r\n'.length)
  const names = ['a.csv', 'b.csv', 'c.csv']
  for (const size of [100, 1000, 4000, 8000, 12_000, 16_384, 20_000]) {
    for (let rows = 1; rows <= 12; rows++) {
      const row = Buffer.from(`${'y'.repeat(size - 2)}\r\n`)
      // The delimiter comes in a piece of its own, and the header after it too.
      const files = names.flatMap((name, index) => [
        open(name).subarray(`--${BOUNDARY}\r\n`.length), ...Array.from({ length: rows + index }, () => row), Buffer.from(`\r\n--${BOUNDARY}\r\n`)
      ])
      const pieces = [Buffer.from(`--${BOUNDARY}\r\n`), ...files, Buffer.from('Content-Disposition: form-data; name="last"\r\n\r\n'), row, row, row, Buffer.from(`\r\n--${BOUNDARY}--\r\n`)]
      const answer = await app.inject({
        method: 'POST', url: '/upload', headers: { 'content-type': FORM }, payload: Readable.from(pieces)
      })
      const results = names.map((name, index) => ({ key: name, ...uploaded(name, Buffer.concat(Array.from({ length: rows + index }, () => row))).result, type: 'text/plain' }))
      if (!isDeepStrictEqual(answer.json().results, results)) t.fail(`${rows} rows of ${size} bytes`, { found: answer.json() })
    }
  }
})

/** A storage that keeps nothing, and takes some time for it. */
function slowly (): Storage {
  return {
    open: async ({ name }) => ({
      async write () { await setTimeout(1) },
      async publish () { return { key: name } },
      async discard () {}
    })
  }
}

t.test('every surplus file has a result of its own', async t => {
  const { dir, send } = await buildUpload(t, { limits: { files: 2 } })
  const answer = await send(form(...['1', '2', '3', '4'].map(name => filePart(name))))
  const tooMany = (file: string) => failed(file, 'Too many files', 'TOO_MANY_FILES', 413, true)
  await checkAnswer(t, dir, answer, [uploaded('1'), uploaded('2'), tooMany('3'), tooMany('4')])
})

t.test('in a flood of files one last result stands for all that are not named', async t => {
  const { dir, send } = await buildUpload(t, { limits: { files: 1 } })
  const answer = await send(form(...Array.from({ length: 1500 }, (_, index) => filePart(String(index)))))
  const tooMany = Array.from({ length: 1000 }, (_, index) => failed(String(index + 1), 'Too many files', 'TOO_MANY_FILES', 413, true))
  await checkAnswer(t, dir, answer, [uploaded('0'), ...tooMany, failed(null, 'Too many files', 'TOO_MANY_FILES', 413, true)])
})

t.test('many and large fields between files are skipped', async t => {
  const { dir, send } = await buildUpload(t)
  const flood = Array.from({ length: 3000 }, () => fieldPart('flood'))
  const answer = await send(form(...flood, filePart('a'), ...flood, fieldPart('large', 'x'.repeat(2 * MB)), filePart('b')))
  await checkAnswer(t, dir, answer, [uploaded('a'), uploaded('b')])
})

t.test('files beyond the total of a request fail, and those before them stay', async t => {
  const { dir, send } = await buildUpload(t, { limits: { total: 10 } })
  const answer = await send(form(filePart('a', '12345'), filePart('b', '67890'), filePart('c', '!'), filePart('d', '!')))
  await checkAnswer(t, dir, answer, [uploaded('a', '12345'), uploaded('b', '67890'), overBudget('c'), overBudget('d')])
})

t.test('every file of a JSON request has its own result, also beyond the total', async t => {
  const { app, dir } = await buildUpload(t, { limits: { total: 3, fileSize: 2 } })
  const files = ['a', 'b', 'c', 'd'].map(file => ({ file, content: 'MTI=', type: 'text/plain' }))
  const answer = await app.inject({ method: 'POST', url: '/upload', payload: { files } })
  await checkAnswer(t, dir, answer, [uploaded('a', '12'), overBudget('b'), overBudget('c'), overBudget('d')])
})

t.test('the bytes of a refused file count for the total', async t => {
  const { dir, send } = await buildUpload(t, { limits: { total: 10, fileSize: 4 } })
  const answer = await send(form(filePart('a', '12345678'), filePart('b', '12'), filePart('c', '1')))
  await checkAnswer(t, dir, answer, [tooLarge('a'), uploaded('b', '12'), overBudget('c')])
})

t.test('only accepted types are stored; case and parameters do not matter', async t => {
  const { dir, send } = await buildUpload(t, { accept: ['image/*', 'Text/CSV'] })
  const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')
  const parts: [Buffer, string | undefined][] = [
    [filePart('a.png', png, 'image/png'), undefined],
    [filePart('b.png', png, 'Image/PNG; x=1'), undefined],
    [filePart('c.csv', 'content', 'text/csv; charset=utf-8'), undefined],
    [filePart('d', 'content', 'text/plain'), 'text/plain'],
    [filePart('e', 'content', 'imagex/png'), 'imagex/png'],
    [filePart('f', 'content', 'image'), 'image'],
    [part('Content-Disposition: form-data; name="files"; filename="g"'), 'text/plain']
  ]
  const refused = (file: string, type: string): Expected => ({
    result: {
      ...failed(file, 'File type not allowed', 'FILE_TYPE_NOT_ALLOWED', 415).result,
      errors: [{ pointer: '#/type', detail: `declared ${type}, found nothing known; allowed: image/*, text/csv` }]
    }
  })
  await checkAnswer(t, dir, await send(form(...parts.map(([bytes]) => bytes))), [
    uploaded('a.png', png, 'image/png'), uploaded('b.png', png, 'image/png'), uploaded('c.csv', 'content', 'text/csv'),
    refused('d', 'text/plain'), refused('e', 'imagex/png'), refused('f', 'image'), refused('g', 'text/plain')
  ])
})

t.test('an error of the storage fails one file, and its message stays in the log', async t => {
  for (const step of ['open', 'write', 'publish'] as const) {
    await t.test(`on ${step}`, async t => {
      const lines: LogLine[] = []
      const dir = t.testdir()
      const storage = faulty(dir, 'bad', step, () => new Error('secret of the storage'))
      const app = await build(t, { plugin: { upload: { storage, limits: { fileSize: '20mb' } } }, onLog: line => lines.push(line) })
      const large = Buffer.alloc(12 * MB, 'x')
      const payload = form(filePart('a'), filePart('bad', large), filePart('b', large), filePart('c'))
      const answer = await app.inject({ method: 'POST', url: '/upload', headers: { 'content-type': FORM }, payload })

      await checkAnswer(t, dir, answer, [uploaded('a'), failed('bad', 'Internal error', 'INTERNAL_ERROR', 500), uploaded('b', large), uploaded('c')])
      const [line, ...others] = lines.filter(({ msg }) => msg === 'item failed')
      t.match(line, { index: 1, key: 'bad', code: 'INTERNAL_ERROR', err: { message: 'secret of the storage' } })
      t.strictSame(others, [])
    })
  }
})

t.test('an ItemError of the storage reaches the client; a storage may also throw undefined', async t => {
  const dir = t.testdir()
  const full = () => new ItemError('Quota used up', { code: 'QUOTA', statusCode: 507, retryable: true })
  for (const [fault, expected] of [
    [full, failed('bad', 'Quota used up', 'QUOTA', 507, true)],
    [() => undefined, failed('bad', 'Internal error', 'INTERNAL_ERROR', 500)]
  ] as const) {
    const app = await build(t, { plugin: { upload: { storage: faulty(dir, 'bad', 'publish', fault) } } })
    const answer = await app.inject({ method: 'POST', url: '/upload', headers: { 'content-type': FORM }, payload: form(filePart('bad')) })
    await checkAnswer(t, dir, answer, [expected])
  }
})

t.test('an error at the start of the storage stops the app from starting', async t => {
  const storage: Storage = { ...disk({ dir: t.testdir() }), start: () => Promise.reject(new Error('no such bucket')) }
  const app = await build(t, { plugin: { upload: { storage } } })
  await t.rejects(async () => app.ready(), { message: 'no such bucket' })
})

t.test('a file of a refused type that is also cut fails because of its type', async t => {
  const { dir, send } = await buildUpload(t, { accept: ['image/png'] })
  const payload = form(filePart('a.txt', 'x'.repeat(4500)))
  const type = { file: 'a.txt', status: 'failed', error: 'File type not allowed', code: 'FILE_TYPE_NOT_ALLOWED', statusCode: 415, retryable: false }
  const cut = JSON.parse((await send(payload.subarray(0, -40))).body)
  t.match(cut.results, [type])
  t.strictSame(await readdir(dir), [])
})

t.test('the methods of a storage may return or throw synchronously', async t => {
  const stored: string[] = []
  const storage: Storage = {
    open ({ name }) {
      if (name === 'unopened') throw new Error('secret of the storage')
      let content = ''
      return {
        write (chunk) {
          if (name === 'unwritten') throw new Error('secret of the storage')
          content += chunk
        },
        async publish () {
          stored.push(content)
          return { key: name }
        },
        async discard () {}
      }
    }
  }
  const { dir, send } = await buildUpload(t, { storage })
  const large = 'x'.repeat(2 * MB)

  const answer = await send(form(filePart('a', 'one'), filePart('unopened'), filePart('unwritten'), filePart('unwritten', large), filePart('b', large)))

  const internal = (file: string) => failed(file, 'Internal error', 'INTERNAL_ERROR', 500).result
  const { results } = JSON.parse(answer.body)
  t.strictSame(results, [
    { ...uploaded('a', 'one').result, key: 'a' }, internal('unopened'), internal('unwritten'), internal('unwritten'), { ...uploaded('b', large).result, key: 'b' }
  ])
  t.strictSame(stored, ['one', large])
  t.strictSame(await readdir(dir), [])
})

t.test('the method start of a storage is optional', async t => {
  const { open } = disk({ dir: t.testdir() })
  const { app } = await buildUpload(t, { storage: { open } })
  await app.ready()
})

t.test('files are published in parallel, at most eight at once, and answered in order', async t => {
  let publishing = 0
  let most = 0
  let isFull = () => {}
  const full = new Promise<void>(resolve => { isFull = resolve })
  const storage: Storage = {
    open: async ({ name }) => ({
      async write () {},
      async discard () {},
      async publish () {
        most = Math.max(most, ++publishing)
        if (publishing === 8) isFull()
        await full
        publishing--
        return { key: name }
      }
    })
  }
  const { send } = await buildUpload(t, { storage })
  const names = Array.from({ length: 40 }, (_, index) => String(index))
  const { results } = JSON.parse((await send(form(...names.map(name => filePart(name))))).body)
  t.strictSame(results.map(({ key }: { key: string }) => key), names)
  t.equal(most, 8)
})

t.test('the storage cannot overwrite the size, type or checksum of a result', async t => {
  const storage: Storage = {
    open: async () => ({ async write () {}, async discard () {}, publish: async () => ({ key: 'k', size: 1, sha256: 'x' }) })
  }
  const { send } = await buildUpload(t, { storage })
  t.strictSame(JSON.parse((await send(form(filePart('a')))).body), { results: [{ key: 'k', ...uploaded('a').result }] })
})

t.test('fields and files may have any field name, before and after files', async t => {
  const { dir, send } = await buildUpload(t)
  const odd = ['__proto__', 'toString', 'constructor', '']
  const fields = odd.map(name => fieldPart(name))
  const answer = await send(form(...fields, filePart('first'), ...fields, ...odd.map(name => filePart(`in ${name}!`, name, 'text/plain', name)), ...fields, filePart('last')))
  await checkAnswer(t, dir, answer, [uploaded('first'), ...odd.map(name => uploaded(`in ${name}!`, name)), uploaded('last')])
})

t.test('a part whose header cannot be read gets a failed result, and costs no other file', async t => {
  const { app, dir, send } = await buildUpload(t)
  const missing = failed('', 'File name missing', 'FILE_NAME_MISSING', 422)
  // Without the empty line that ends a header, or with spaces after the delimiter.
  const bare = (header: string) => Buffer.from(`--${BOUNDARY}\r\n${header}\r\n`)
  const spaced = Buffer.from(filePart('spaced.txt').toString().replace(`--${BOUNDARY}`, `--${BOUNDARY} \t `))
  const file = 'Content-Disposition: form-data; name="files"; filename="a.txt"'
  const body = form(bare(file), bare('Content-Disp'), filePart('full.txt'), spaced, bare(file), bare(''), filePart('also.txt'), bare(file))
  const expected = [missing, missing, uploaded('full.txt'), missing, missing, missing, uploaded('also.txt'), missing]
  await checkAnswer(t, dir, await send(body), expected)
  for (const size of [1, 7, 100]) {
    const answer = await app.inject({ method: 'POST', url: '/upload', headers: { 'content-type': FORM }, payload: Readable.from(slices(body, size)) })
    t.match(answer.json(), { results: expected.map(({ result }) => result) })
  }
})

t.test('the longest boundary that can be read is read', async t => {
  const { dir, send } = await buildUpload(t)
  const boundary = 'b'.repeat(252)
  await checkAnswer(t, dir, await send(Buffer.from(form(filePart('a')).toString().replaceAll(BOUNDARY, boundary)), `multipart/form-data; boundary=${boundary}`), [uploaded('a')])
})

t.test('text before and after the form is ignored', async t => {
  const { dir, send } = await buildUpload(t)
  const body = Buffer.concat([Buffer.from('preamble\r\n'), form(filePart('a')), Buffer.from('epilogue'.repeat(20_000))])
  await checkAnswer(t, dir, await send(body), [uploaded('a')])
})

t.test('a request that is no form is refused as a whole', async t => {
  const MALFORMED = 'FST_MULTI_STATUS_MALFORMED_FORM'
  const EMPTY = 'FST_MULTI_STATUS_BATCH_EMPTY'
  const nothing = 'Expected at least 1 item in the form; received 0'
  const noBoundary = `${MALFORMED_FORM}it names no boundary`
  const cases: [string, string | Buffer, string, number, string, string][] = [
    ['no boundary', form(filePart('a')), 'multipart/form-data', 400, MALFORMED, noBoundary],
    ['an empty boundary', form(filePart('a')), 'multipart/form-data; boundary=', 400, MALFORMED, noBoundary],
    ['a boundary that is too long', form(filePart('a')), `multipart/form-data; boundary=${'a'.repeat(253)}`, 400, MALFORMED, `${MALFORMED_FORM}its boundary is too long`],
    ['another boundary', form(filePart('a')), 'multipart/form-data; boundary=other', 400, MALFORMED, CUT],
    ['garbage', 'this is no form', FORM, 400, MALFORMED, CUT],
    ['nothing at all', '', FORM, 400, MALFORMED, CUT],
    ['a cut field', `--${BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\nval`, FORM, 400, MALFORMED, CUT],
    ['no parts', form(), FORM, 400, EMPTY, nothing],
    ['only fields', form(fieldPart('a')), FORM, 400, EMPTY, nothing],
    ['another type', 'content', 'text/plain+x', 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE', 'Unsupported Media Type'],
    ['another kind of multipart', form(filePart('a')), `multipart/mixed; boundary=${BOUNDARY}`, 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE', 'Unsupported Media Type']
  ]
  for (const [what, body, type, ...refusal] of cases) {
    await t.test(what, async t => {
      const { dir, send } = await buildUpload(t)
      await checkRefusal(t, dir, await send(Buffer.from(body), type), ...refusal)
    })
  }
})

t.test('the boundary may be quoted, and the type in any case', async t => {
  const { dir, send } = await buildUpload(t)
  await checkAnswer(t, dir, await send(form(filePart('a')), `Multipart/Form-Data; charset=utf-8; Boundary="${BOUNDARY}"`), [uploaded('a')])
})

t.test('a body that is cut at any byte keeps the finished files only', async t => {
  const contents = { a: 'first', b: '', c: 'third' }
  const parts = Object.entries(contents).map(([name, content]) => ({ name, content, bytes: filePart(name, content) }))
  const body = form(...parts.map(({ bytes }) => bytes))

  for (let length = 0; length < body.length; length++) {
    const { dir, send } = await buildUpload(t)
    const answer = await send(body.subarray(0, length))
    const expected = expectCut(parts, length)
    // The line break before an empty file's content may begin the delimiter, so that the file is seen some bytes later.
    if (expected.at(-1)?.result.file === 'b' && countResults(answer) < expected.length) expected.pop()
    if (expected.length > 0) await checkAnswer(t, dir, answer, expected)
    else await checkRefusal(t, dir, answer, 400, 'FST_MULTI_STATUS_MALFORMED_FORM', CUT)
    await rm(dir, { recursive: true })
  }
})

/** What becomes of the files of a form of which this many bytes come: a file is whole once the next delimiter has come. */
function expectCut (parts: { name: string, content: string, bytes: Buffer }[], length: number): Expected[] {
  let end = 0
  return parts.flatMap(({ name, content, bytes }) => {
    end += bytes.length
    if (length >= end + `--${BOUNDARY}`.length) return uploaded(name, content)
    const begin = end - content.length - '\r\n'.length
    return length > begin ? incomplete(name) : []
  })
}

function countResults ({ statusCode, body }: Answer): number {
  return statusCode === 207 ? JSON.parse(body).results.length : 0
}

t.test('files that fetch sends over a socket arrive', async t => {
  const { app, dir } = await buildUpload(t)
  const body = new FormData()
  body.append('field', 'value')
  body.append('files', new Blob(['one'], { type: 'text/plain' }), 'a.txt')
  body.append('files', new Blob([Buffer.alloc(12 * MB)]), 'large.bin')
  body.append('files', new Blob(['two']), 'größe 1.txt')
  await checkAnswer(t, dir, await sendOverSocket(app, body), [
    uploaded('a.txt', 'one'), tooLarge('large.bin'), uploaded('größe 1.txt', 'two', 'application/octet-stream')
  ])
})

t.test('uploads on one connection come one after the other, also after one that failed', async t => {
  const { app, dir } = await buildUpload(t, { limits: { fileSize: 1000 } })
  const socket = await connectTo(t, app)
  const first = await exchange(socket, request(form(filePart('a'), filePart('large', Buffer.alloc(2 * MB)))))
  t.match(first, /^HTTP\/1.1 207 /)
  const malformed = await exchange(socket, request(form(filePart('a')), 'multipart/form-data'))
  t.match(malformed, /^HTTP\/1.1 400 /)
  const epilogue = await exchange(socket, request(Buffer.concat([form(filePart('b')), Buffer.alloc(2 * MB)])))
  t.match(epilogue, /^HTTP\/1.1 207 /)
  const last = await exchange(socket, request(form(filePart('c'))))
  t.match(last, /^HTTP\/1.1 207 /)
  const results = [first, epilogue, last].flatMap(answer => parseAnswer(answer).results)
  t.strictSame(results.map(({ file, status }) => `${file} ${status}`), ['a uploaded', 'large failed', 'b uploaded', 'c uploaded'])
  t.strictSame(await readdir(dir).then(names => names.sort()), results.flatMap(({ key }) => key ?? []).sort())
})

t.test('a client that goes in the middle of a file leaves nothing of it', async t => {
  for (const end of ['destroy', 'resetAndDestroy', 'end'] as const) {
    await t.test(end, async t => {
      const { app, dir } = await buildUpload(t)
      const socket = await connectTo(t, app)
      socket.write(request(form(filePart('a', Buffer.alloc(4 * MB)))).subarray(0, 3 * MB))
      await waitFor('a temporary file', async () => (await temporaries(dir)).length === 1)
      socket[end]()
      await waitFor('an empty directory', async () => (await readdir(dir)).length === 0)
    })
  }
})

t.test('a client that disconnects between two files leaves only whole ones', async t => {
  const { app, dir } = await buildUpload(t)
  const socket = await connectTo(t, app)
  const files = [filePart('a'), filePart('b')]
  socket.write(request(form(...files, filePart('c', Buffer.alloc(4 * MB)))).subarray(0, 2 * MB))
  await waitFor('two files and a temporary one', async () => (await readdir(dir)).length === 3 && (await temporaries(dir)).length === 1)
  socket.destroy()
  await waitFor('two files', async () => (await readdir(dir)).length === 2)
  t.strictSame(await Promise.all((await readdir(dir)).map(name => readFile(join(dir, name), 'utf8'))), ['content', 'content'])
})

t.test('an app that closes answers for the file that is on its way, and leaves nothing of it', async t => {
  const dir = t.testdir()
  const { open } = disk({ dir })
  const storage: Storage = {
    async open (file) {
      const sink = await open(file)
      return { ...sink, discard: () => setTimeout(200).then(sink.discard) }
    }
  }
  const app = await build(t, { plugin: { upload: { storage }, closeGrace: 50 } })
  const socket = await connectTo(t, app)
  const answer = exchange(socket, request(form(filePart('a'), filePart('b', Buffer.alloc(4 * MB)))).subarray(0, 3 * MB))
  await waitFor('a file and a temporary one', async () => (await readdir(dir)).length === 2 && (await temporaries(dir)).length === 1)
  await app.close()
  const { head, results } = parseAnswer(await answer)
  t.match(head, /^HTTP\/1.1 207 Multi-Status\r\n[^]*multi-status: total=2, succeeded=1, failed=1\r\n/)
  t.match(head, /\r\nconnection: close\r\n/)
  t.match(results, [{ file: 'a', status: 'uploaded' }, failed('b', 'Server closing', 'NOT_RUN', 424, true).result])
  t.strictSame(await readdir(dir), [results[0]!.key])
})

for (const [name, ends, expected] of [
  ['is uploaded when that ends', true, { file: 'a', status: 'uploaded', key: 'key' }],
  ['has failed when that takes too long', false, { file: 'a', status: 'failed', code: 'STORAGE_TIMEOUT', statusCode: 504, retryable: true }]
] as const) {
  t.test(`a file that is being published when the app closes ${name}`, async t => {
    let publishing = false
    let publish = (_file: { key: string }) => {}
    const storage: Storage = {
      open: async () => ({
        async write () {},
        async discard () {},
        publish: () => new Promise(resolve => {
          publishing = true
          publish = resolve
        })
      })
    }
    const app = await build(t, { plugin: { upload: { storage, storageTimeout: 2_000 }, closeGrace: 50 } })
    app.get('/grace', async (_request, reply) => { await once(reply.batchSignal(), 'abort') })
    const answer = exchange(await connectTo(t, app), request(form(filePart('a'))))
    await waitFor('the publishing', () => publishing)
    const graceIsOver = app.inject('/grace')
    const closed = app.close()
    await graceIsOver
    if (ends) publish({ key: 'key' })
    t.match(parseAnswer(await answer).results, [expected])
    await closed
  })
}

t.test('the storage says how many files are published at once', async t => {
  for (const [publishing, expected] of [[undefined, 8], [1, 1], [3, 3]] as const) {
    let most = 0
    let now = 0
    const publish = async () => {
      most = Math.max(most, ++now)
      await waitFor('all that may come', () => most >= expected)
      await setImmediate()
      now--
      return { key: 'key' }
    }
    const storage: Storage = { publishing, open: async () => ({ async write () {}, async discard () {}, publish }) }
    const { app } = await buildUpload(t, { storage })
    const files = Array.from({ length: 50 }, (_, index) => `${index}`)
    const { statusCode, headers } = await app.inject({ method: 'POST', url: '/upload', payload: { files } })
    t.strictSame([statusCode, headers['multi-status'], most], [207, 'total=50, succeeded=50, failed=0', expected])
  }
})

t.test('one name may be used by many files, in one request and in several at once', async t => {
  const { dir, send } = await buildUpload(t)
  const contents = Array.from({ length: 10 }, (_, index) => `content ${index}`)
  const answers = await Promise.all(contents.map(content => send(form(filePart('a', content), filePart('a', `${content}!`)))))
  const stored = answers.flatMap(({ body }) => JSON.parse(body).results).map(({ key }) => key)
  t.strictSame(await Promise.all(stored.map(key => readFile(join(dir, key), 'utf8'))), contents.flatMap(content => [content, `${content}!`]))
  t.strictSame(await readdir(dir).then(names => names.sort()), stored.sort())
})

t.test('the JSON form has the same rules and results', async t => {
  const { app, dir } = await buildUpload(t, { limits: { fileSize: 5, files: 9, nameBytes: 20 } })
  const base64 = (text: string) => Buffer.from(text).toString('base64')
  const invalid = (file: string | null, pointer: string, detail: string): Expected =>
    ({ result: { ...failed(file, 'Invalid data', 'INVALID_ITEM', 422).result, errors: [{ pointer, detail }] } })
  const binary = (file: string, content: string) => uploaded(file, content, 'application/octet-stream')
  const cases: [unknown, Expected][] = [
    ['bare.txt', binary('bare.txt', '')],
    [{ file: 'a.txt', content: base64('12345'), type: 'Text/Plain; charset=utf-8' }, uploaded('a.txt', '12345')],
    [{ file: 'large', content: base64('123456') }, tooLarge('large')],
    [{ file: 'empty', content: '', type: '' }, binary('empty', '')],
    [{ file: 'misspelt', data: base64('12345') }, invalid('misspelt', '#/content', "must have required property 'content'")],
    ['', failed('', 'File name missing', 'FILE_NAME_MISSING', 422)],
    ['../up', failed('../up', 'File name not allowed', 'FILE_NAME_NOT_ALLOWED', 422)],
    ['123456789012345678901', failed('123456789012345678901', 'File name too long', 'FILE_NAME_TOO_LONG', 422)],
    [1, invalid(null, '#', 'must be string or object; received number')],
    ['surplus', failed('surplus', 'Too many files', 'TOO_MANY_FILES', 413, true)]
  ]
  const answer = await app.inject({ method: 'POST', url: '/upload', payload: { files: cases.map(([entry]) => entry) } })
  await checkAnswer(t, dir, answer, cases.map(([, expected]) => expected))
})

t.test('every kind of bad entry in JSON fails alone', async t => {
  const { app, dir } = await buildUpload(t)
  const cases: [unknown, string | null, string, string][] = [
    [null, null, '#', 'must be string or object; received null'],
    [true, null, '#', 'must be string or object; received boolean'],
    [['a'], null, '#', 'must be string or object; received array'],
    [{}, null, '#/file', "must have required property 'file'"],
    [{ file: 1, content: '' }, null, '#/file', 'must be string; received number'],
    [{ file: null, content: '' }, null, '#/file', 'must be string; received null'],
    [{ file: 'a' }, 'a', '#/content', "must have required property 'content'"],
    [{ file: 'a', content: 1 }, 'a', '#/content', 'must be string; received number'],
    [{ file: 'a', content: 'YQ' }, 'a', '#/content', 'must be base64'],
    [{ file: 'a', content: 'YQ==YQ==' }, 'a', '#/content', 'must be base64'],
    [{ file: 'a', content: 'Y-_=' }, 'a', '#/content', 'must be base64'],
    [{ file: 'a', content: 'YQ==\n' }, 'a', '#/content', 'must be base64'],
    [{ file: 'a', content: '', type: {} }, 'a', '#/type', 'must be string; received object']
  ]
  const answer = await app.inject({ method: 'POST', url: '/upload', payload: { files: [...cases.map(([entry]) => entry), 'good'] } })
  await checkAnswer(t, dir, answer, [
    ...cases.map(([, file, pointer, detail]) =>
      ({ result: { ...failed(file, 'Invalid data', 'INVALID_ITEM', 422).result, errors: [{ pointer, detail }] } })),
    uploaded('good', '', 'application/octet-stream')
  ])
})

t.test('JSON without files is refused as a whole', async t => {
  const expected = 'Expected a form with files, or {"files": [...]}; received'
  for (const [payload, message] of [
    ['{}', `${expected} object without a "files" array`],
    ['{"files":{}}', `${expected} object without a "files" array`],
    ['[]', `${expected} array without a "files" array`],
    ['null', `${expected} null without a "files" array`],
    ['"a"', `${expected} string without a "files" array`]
  ] as const) {
    const { dir, send } = await buildUpload(t)
    await checkRefusal(t, dir, await send(Buffer.from(payload), 'application/json'), 400, 'FST_MULTI_STATUS_BODY_NOT_BATCH', message)
  }
  const { app, dir, send } = await buildUpload(t)
  const bare = await app.inject({ method: 'POST', url: '/upload' })
  await checkRefusal(t, dir, bare, 400, 'FST_MULTI_STATUS_BODY_NOT_BATCH', `${expected} no body`)
  const answer = await send(Buffer.from('{"files":[]}'), 'application/json')
  await checkRefusal(t, dir, answer, 400, 'FST_MULTI_STATUS_BATCH_EMPTY', 'Expected at least 1 item in "files"; received 0')
})

t.test('Prefer: return=minimal leaves the name and the status', async t => {
  const { app } = await buildUpload(t)
  const answer = await app.inject({ method: 'POST', url: '/upload', headers: { prefer: 'return=minimal' }, payload: { files: ['a', ''] } })
  t.equal(answer.headers['preference-applied'], 'return=minimal')
  t.strictSame(answer.json(), { results: [{ file: 'a', status: 'uploaded' }, failed('', 'File name missing', 'FILE_NAME_MISSING', 422).result] })
})

t.test('an app keeps its own @fastify/multipart', async t => {
  const { app, dir, send } = await buildUpload(t, { limits: { fileSize: '2mb' } }, {
    before: async app => {
      await app.register(multipart, { limits: { fileSize: 10, files: 1 } })
      app.post('/own', async request => ({ name: (await request.file())!.filename }))
    }
  })
  const large = Buffer.alloc(MB)
  await checkAnswer(t, dir, await send(form(filePart('a', large), filePart('b', large))), [uploaded('a', large), uploaded('b', large)])
  const own = await app.inject({ method: 'POST', url: '/own', headers: { 'content-type': FORM }, payload: form(filePart('c', 'x')) })
  t.strictSame(own.json(), { name: 'c' })
})

t.test('a form that another plugin has read already is refused with the reason', async t => {
  const read = async ({ raw }: FastifyRequest) => { raw.resume(); await once(raw, 'end') }
  const { dir, send } = await buildUpload(t, {}, { before: app => app.addHook('preValidation', read) })
  await checkRefusal(t, dir, await send(form(filePart('a'))), 500, 'FST_MULTI_STATUS_BODY_CONSUMED',
    'Expected the form to be unread, so that it can be streamed; another plugin has read it already, as @fastify/multipart does with attachFieldsToBody')
})

t.test('an injected upload leaves no timer behind that would keep the process from its end', async t => {
  const { app, send } = await buildUpload(t, { limits: { total: 10 } })
  const before = timers()

  await app.inject({ method: 'POST', url: '/upload', payload: { files: ['a.txt'] } })
  await send(form(filePart('a.txt')))
  await send(form(filePart('a.txt', Buffer.alloc(MB))))
  t.equal((await send(Buffer.alloc(2 * MB))).statusCode, 413)
  await app.close()

  t.ok(timers() <= before)
})

t.test('a hook that counts the bytes of a form costs none of its files', async t => {
  let bytes = 0
  const count: preHandlerHookHandler = ({ raw }, _reply, done) => {
    raw.on('data', (chunk: Buffer) => { bytes += chunk.length })
    done()
  }
  const { app, dir } = await buildUpload(t, {}, { before: app => app.addHook('preHandler', count) })
  const body = form(filePart('a'), filePart('b'))
  await checkAnswer(t, dir, await sendOverSocket(app, new Uint8Array(body), { 'content-type': FORM }), [uploaded('a'), uploaded('b')])
  t.equal(bytes, body.length)
})

t.test('options that are not what they should be are refused', async t => {
  const cases: [object, string][] = [
    [{ limits: { fileSize: 0 } }, 'upload.limits.fileSize must be a number of bytes or text as "10mb"; received 0'],
    [{ limits: { fileSize: '10 apples' } }, 'upload.limits.fileSize must be a number of bytes or text as "10mb"; received "10 apples"'],
    [{ limits: { total: 'much' } }, 'upload.limits.total must be a number of bytes or text as "10mb"; received "much"'],
    [{ limits: { files: 0 } }, 'upload.limits.files must be an integer from 1 to 2147483647; received 0'],
    [{ limits: { nameBytes: 1.5 } }, 'upload.limits.nameBytes must be an integer from 1 to 2147483647; received 1.5'],
    [{ accept: ['png'] }, 'upload.accept must be an array of media types as "image/png" or "image/*"'],
    [{ accept: 'image/png' }, 'upload.accept must be an array of media types as "image/png" or "image/*"'],
    [{ storage: {} }, 'upload.storage must be a storage, as disk({ dir }) makes']
  ]
  for (const [upload, message] of cases) {
    await t.rejects(build(t, { plugin: { upload } }), { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: `fastify-multi-status: ${message}` })
  }
})

async function connectTo (t: Test, app: FastifyInstance): Promise<Socket> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

function request (body: Buffer, type = FORM): Buffer {
  return Buffer.concat([Buffer.from(`POST /upload HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`), body])
}

/** Sends a request and reads one answer. */
async function exchange (socket: Socket, bytes: Buffer): Promise<string> {
  let text = ''
  const onData = (chunk: Buffer) => { text += chunk }
  socket.on('data', onData)
  socket.write(bytes)
  await waitFor('an answer', () => {
    const [head, length] = /^[^]*?content-length: (\d+)\r\n[^]*?\r\n\r\n/.exec(text) ?? []
    return head !== undefined && text.length >= head.length + Number(length)
  })
  socket.off('data', onData)
  return text
}

function parseAnswer (answer: string): { head: string, results: { file: string, status: string, key?: string }[] } {
  const end = answer.indexOf('\r\n\r\n')
  return { head: answer.slice(0, end + 2), results: JSON.parse(answer.slice(end)).results }
}

t.test('@fastify/multipart with attachFieldsToBody leaves the forms of /upload alone', async t => {
  const { dir, send } = await buildUpload(t, {}, { before: app => app.register(multipart, { attachFieldsToBody: true }) })

  await checkAnswer(t, dir, await send(form(filePart('a.txt'))), [uploaded('a.txt')])
})
