// Tests file names: a name is answered unchanged, never used as a path, and refused when it could be misread.
import { readdir } from 'node:fs/promises'
import fc from 'fast-check'
import t from 'tap'
import { buildUpload, checkAnswer, failed, fieldPart, filePart, form, part, uploaded, type Expected } from '../../fixtures/upload.js'

const BINARY = 'application/octet-stream'
const missing = (file = '') => failed(file, 'File name missing', 'FILE_NAME_MISSING', 422)
const tooLong = (file: string) => failed(file, 'File name too long', 'FILE_NAME_TOO_LONG', 422)
const notAllowed = (file: string) => failed(file, 'File name not allowed', 'FILE_NAME_NOT_ALLOWED', 422)

t.test('names that could be a path, a device or a trick are refused, and cost no other file', async t => {
  const hostile = [
    '.', '..', '../up', '../../etc/passwd', '..\\up', '/etc/passwd', 'a/b', 'a\\b', 'C:\\a', 'C:a', 'file:stream',
    'a\u0000', 'a\u0000.png', 'a\nb', 'a\r\nX-Header: b', 'a\tb', 'a\u007f', 'a\u0085b', 'a\u202egnp.exe', 'a\u2066b', '\u200ea', '\u061ca',
    'CON', 'con', 'nul.txt', 'Aux.', 'COM1', 'com1.txt', 'LPT9', 'com\u00b9', 'PRN.tar.gz',
    'a.', 'a ', 'a. .', '...', ' ', 'a*', 'a?', 'a<b', 'a>b', 'a|b', 'a"b', 'a\ud800', '\udc00a'
  ]
  const { app, dir } = await buildUpload(t)
  const answer = await app.inject({ method: 'POST', url: '/upload', payload: { files: ['first', ...hostile, 'last'] } })
  const good = (file: string) => uploaded(file, '', BINARY)
  await checkAnswer(t, dir, answer, [good('first'), ...hostile.map(notAllowed), good('last')])
})

t.test('unusual names are accepted and answered unchanged', async t => {
  const unusual = [
    'a b', ' a', '.env', '-rf', '~', '$HOME', '%2e%2e%2f', 'a;b', "a'b", 'größe', '文件.png', '👩‍👩‍👧.jpg', 'é', 'e\u0301',
    'console', 'com', 'com10', 'aux-1', '__proto__', 'toString', '{}', '[object Object]', 'a\u200bb', '\ufeffa'
  ]
  const { app, dir } = await buildUpload(t)
  const answer = await app.inject({ method: 'POST', url: '/upload', payload: { files: unusual } })
  await checkAnswer(t, dir, answer, unusual.map(name => uploaded(name, '', BINARY)))
})

t.test('two names that look the same are two files', async t => {
  const { dir, send } = await buildUpload(t)
  const answer = await send(form(filePart('é', 'one'), filePart('e\u0301', 'two')))
  await checkAnswer(t, dir, answer, [uploaded('é', 'one'), uploaded('e\u0301', 'two')])
})

t.test('a name may have exactly as many bytes as the limit', async t => {
  const { dir, send } = await buildUpload(t)
  const names = ['a'.repeat(255), 'a'.repeat(256), `${'ü'.repeat(127)}a`, 'ü'.repeat(128), '👩'.repeat(64)]
  const answer = await send(form(...names.map(name => filePart(name))))
  await checkAnswer(t, dir, answer, names.map(name => Buffer.byteLength(name) > 255 ? tooLong(name) : uploaded(name)))
})

t.test('the length of a name is that of its composed form (NFC)', async t => {
  const { dir, send } = await buildUpload(t, { limits: { nameBytes: 10 } })
  const names = ['e\u0301'.repeat(5), 'e\u0301'.repeat(6)]
  await checkAnswer(t, dir, await send(form(...names.map(name => filePart(name)))), [uploaded(names[0]!), tooLong(names[1]!)])
})

t.test('a file without a name has a result', async t => {
  const { dir, send } = await buildUpload(t)
  const answer = await send(form(
    filePart('', 'an empty name'),
    part(`Content-Disposition: form-data; name="files"\r\nContent-Type: ${BINARY}`),
    part('Content-Disposition: form-data; name="files"; filename='),
    part('Content-Type: image/png'),
    part('Content-Disposition: form-data; name="files"; filename="a\nb.txt"'),
    part('no header at all'),
    part('Content-Disposition: form-data; name="files"; filename*0="a"; filename*1="b.txt"'),
    part("Content-Disposition: form-data; name=\"files\"; filename*0*=UTF-8''a; filename*1=b.txt"),
    part('Content-Disposition: form-data; name="files"\r\nContent-Type: multipart/mixed; boundary=x', '--x\r\nContent-Disposition: file; filename="a.txt"\r\n\r\na\r\n--x--'),
    fieldPart('a; filename*0=b'),
    filePart('last')
  ))
  await checkAnswer(t, dir, answer, [...Array.from({ length: 9 }, () => missing()), uploaded('last')])
})

t.test('the header of a part is read in every way that clients write it', async t => {
  const disposition = 'Content-Disposition: form-data; name="files"'
  const cases: [string, Expected][] = [
    [`${disposition}; filename=bare.txt`, uploaded('bare.txt')],
    [`${disposition}; filename=bare.txt ; size=1`, uploaded('bare.txt')],
    [`${disposition};filename="close.txt"`, uploaded('close.txt')],
    [`${disposition};; no value; ="no name"; filename="odd.txt"`, uploaded('odd.txt')],
    [`${disposition}; filename = "spaced.txt"`, uploaded('spaced.txt')],
    ['content-disposition: FORM-DATA; NAME="files"; FILENAME="upper.txt"', uploaded('upper.txt')],
    ['Content-Disposition: form-data; filename="first.txt"; name="files"', uploaded('first.txt')],
    ['Content-Disposition: form-data; filename="nameless.txt"', uploaded('nameless.txt')],
    ['Content-Disposition: attachment; filename="attached.txt"', uploaded('attached.txt')],
    ['Content-Disposition: form-data; name="files";\r\n filename="folded.txt"', uploaded('folded.txt')],
    ['Content-Disposition: form-data; name="a; filename=no"; filename="yes.txt"', uploaded('yes.txt')],
    [`${disposition}; filename="one.txt"; filename="two.txt"`, uploaded('one.txt')],
    [`${disposition}; filename="a;b.txt"`, uploaded('a;b.txt')],
    [`${disposition}; filename="größe.txt"`, uploaded('größe.txt')],
    [`${disposition}; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt`, uploaded('größe.txt')],
    [`${disposition}; filename*=iso-8859-1'de'gr%F6%DFe.txt`, uploaded('größe.txt')],
    [`${disposition}; filename*=plain.txt`, uploaded('plain.txt')],
    [`${disposition}; filename*="UTF-8''quoted.txt"`, uploaded('quoted.txt')],
    [`${disposition}; filename="plain.txt"; filename*=UTF-8''other.txt`, uploaded('plain.txt')],
    [`${disposition}; filename*0="in "; filename*1=pieces; filename="plain.txt"`, uploaded('plain.txt')],
    [`${disposition}; filename*=UTF-8''a%0D%0Ab.txt`, notAllowed('a\r\nb.txt')],
    [`${disposition}; filename*=UTF-8''..%2Fup`, notAllowed('../up')],
    [`${disposition}; filename="a\\"b"`, notAllowed('a"b')],
    [`${disposition}; filename="C:\\fake\\a.txt"`, notAllowed('C:\\fake\\a.txt')],
    [`${disposition}; filename="a\\\\b"`, notAllowed('a\\b')],
    [`${disposition}; filename="unclosed`, notAllowed('"unclosed')],
    [`${disposition}; filename="a\r\nb.txt"`, notAllowed('"a')],
    [`${disposition}; filename="typed.txt"\r\nContent-Type: Text/CSV; x=1`, uploaded('typed.txt', 'content', 'text/csv')],
    [`${disposition}; filename="untyped.txt"\r\nContent-Type: ;`, uploaded('untyped.txt')],
    [`Content-Type: text/csv\r\n${disposition}; filename="after.csv"`, uploaded('after.csv', 'content', 'text/csv')]
  ]
  const { dir, send } = await buildUpload(t)
  await checkAnswer(t, dir, await send(form(...cases.map(([header]) => part(header)))), cases.map(([, expected]) => expected))
})

t.test('a header of any length is one file', async t => {
  const { dir, send } = await buildUpload(t)
  const name = 'a'.repeat(200_000)
  const many = part(`${'X: y\r\n'.repeat(3000)}Content-Disposition: form-data; name="files"; filename="late.txt"`)
  const answer = await send(form(filePart(name), many, filePart('last')))
  t.equal(answer.headers['multi-status'], 'total=3, succeeded=1, failed=2')
  const { results } = JSON.parse(answer.body)
  t.match(results, [{ code: 'FILE_NAME_TOO_LONG' }, missing().result, uploaded('last').result])
  t.strictSame(await readdir(dir), [results[2].key])
})

t.test('whatever the header of a part is, the files around it arrive and it has at most one result', async t => {
  const { send } = await buildUpload(t)
  const pieces = ['Content-Disposition', ':', ' ', 'form-data', ';', 'name', 'filename', '*', '=', '"', '\\', "UTF-8''", '%0A', '%zz', '\r\n', '\t', 'a', 'ü']
  const header = fc.array(fc.constantFrom(...pieces), { maxLength: 20 })
  await fc.assert(fc.asyncProperty(header, async pieces => {
    const answer = await send(form(filePart('first'), part(pieces.join('')), filePart('last')))
    const { results } = JSON.parse(answer.body) as { results: { file: string, status: string }[] }
    t.equal(answer.statusCode, 207)
    t.ok(results.length === 2 || results.length === 3)
    t.match([results[0], results.at(-1)], [{ file: 'first', status: 'uploaded' }, { file: 'last', status: 'uploaded' }])
  }), { numRuns: 200 })
})
