// Tests the type of a file, found by its content, against the declared and the accepted types; and its checksum.
import { createHash } from 'node:crypto'
import t from 'tap'
import { buildUpload, checkAnswer, failed, fieldPart, filePart, form, part, uploaded, type Expected } from '../../fixtures/upload.js'

const PNG = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')
const GIF = Buffer.from('R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==', 'base64')
const ZIP = Buffer.concat([Buffer.from('PK\u0005\u0006'), Buffer.alloc(18)])
const HTML = Buffer.from('<!doctype html><script>alert(1)</script>')
const SVG = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
const DECLARED_SVG = Buffer.concat([Buffer.from('<?xml version="1.0"?>'), SVG])

function refused (file: string, detail: string): Expected {
  const expected = failed(file, 'File type not allowed', 'FILE_TYPE_NOT_ALLOWED', 415)
  return { result: { ...expected.result, errors: [{ pointer: '#/type', detail }] } }
}

t.test('the type of a file is the type of its content', async t => {
  const { dir, send } = await buildUpload(t)

  const answer = await send(form(
    filePart('a.png', PNG, 'image/png'),
    filePart('b', PNG, 'application/octet-stream'),
    filePart('c.png', GIF, 'image/png'),
    filePart('d.txt', 'plain', 'text/plain'),
    filePart('e.docx', ZIP, 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'),
    filePart('f.jpg', HTML, 'image/jpeg')
  ))

  await checkAnswer(t, dir, answer, [
    uploaded('a.png', PNG, 'image/png'),
    uploaded('b', PNG, 'image/png'),
    uploaded('c.png', GIF, 'image/gif'),
    uploaded('d.txt', 'plain', 'text/plain'),
    uploaded('e.docx', ZIP, 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'),
    uploaded('f.jpg', HTML, 'application/octet-stream')
  ])
})

t.test('a file whose content contradicts its declared type fails alone', async t => {
  const { dir, send } = await buildUpload(t)

  const answer = await send(form(filePart('a.png', PNG, 'image/png'), filePart('b.png', ZIP, 'image/png'), filePart('c.gif', GIF, 'image/gif')))

  await checkAnswer(t, dir, answer, [
    uploaded('a.png', PNG, 'image/png'),
    refused('b.png', 'declared image/png, found application/zip'),
    uploaded('c.gif', GIF, 'image/gif')
  ])
})

t.test('audio and video share containers, so that one may be declared as the other', async t => {
  const wav = Buffer.from('RIFF\u0004\u0000\u0000\u0000WAVEfmt ')
  const { dir, send } = await buildUpload(t)

  const answer = await send(form(filePart('a.wav', wav, 'video/x-msvideo'), filePart('b.wav', wav, 'image/png')))

  await checkAnswer(t, dir, answer, [uploaded('a.wav', wav, 'audio/wav'), refused('b.wav', 'declared image/png, found audio/wav')])
})

t.test('a wildcard in accept admits only files whose content is recognised', async t => {
  const { dir, send } = await buildUpload(t, { accept: ['image/*'] })

  const answer = await send(form(
    filePart('a.png', PNG, 'image/png'),
    filePart('b.png', HTML, 'image/png'),
    filePart('c.svg', SVG, 'image/svg+xml'),
    filePart('d.zip', ZIP, 'application/zip'),
    filePart('e.png', '', 'image/png'),
    filePart('f.jpg', PNG, 'image/jpg')
  ))

  await checkAnswer(t, dir, answer, [
    uploaded('a.png', PNG, 'image/png'),
    refused('b.png', 'declared image/png, found nothing known; allowed: image/*'),
    refused('c.svg', 'declared image/svg+xml, found nothing known; allowed: image/*'),
    refused('d.zip', 'declared application/zip, found application/zip; allowed: image/*'),
    refused('e.png', 'declared image/png, found nothing known; allowed: image/*'),
    uploaded('f.jpg', PNG, 'image/png')
  ])
})

t.test('a type without a signature is admitted by its full name', async t => {
  const { dir, send } = await buildUpload(t, { accept: ['text/plain', 'image/svg+xml', 'image/png'] })

  const answer = await send(form(
    filePart('a.txt', 'plain', 'text/plain'),
    filePart('b.svg', SVG, 'image/svg+xml'),
    filePart('c.png', PNG, 'image/png'),
    filePart('d.png', HTML, 'image/png'),
    filePart('e.svg', DECLARED_SVG, 'image/svg+xml')
  ))

  await checkAnswer(t, dir, answer, [
    uploaded('a.txt', 'plain', 'text/plain'),
    uploaded('b.svg', SVG, 'image/svg+xml'),
    uploaded('c.png', PNG, 'image/png'),
    refused('d.png', 'declared image/png, found nothing known; allowed: text/plain, image/svg+xml, image/png'),
    uploaded('e.svg', DECLARED_SVG, 'image/svg+xml')
  ])
})

t.test('a checksum applies to the next file only, and a file that differs fails, retryable', async t => {
  const { dir, send } = await buildUpload(t)
  const sha256 = createHash('sha256').update('content').digest('hex')

  const answer = await send(form(
    fieldPart('sha256', sha256.toUpperCase()),
    filePart('a.txt'),
    filePart('b.txt', 'other'),
    fieldPart('sha256', sha256),
    fieldPart('another', 'field'),
    filePart('c.txt', 'other'),
    fieldPart('sha256', 'nonsense'),
    filePart('d.txt'),
    fieldPart('sha256', 'x'.repeat(100_000)),
    filePart('e.txt'),
    part('Content-Disposition: form-data'),
    filePart('f.txt'),
    fieldPart('sha256', ''),
    filePart('g.txt')
  ))

  const invalid = (file: string): Expected => ({
    result: { ...failed(file, 'Checksum invalid', 'CHECKSUM_INVALID', 422).result, errors: [{ pointer: '#/sha256', detail: 'must be 64 hexadecimal digits' }] }
  })
  await checkAnswer(t, dir, answer, [
    uploaded('a.txt'),
    uploaded('b.txt', 'other'),
    failed('c.txt', 'Checksum mismatch', 'CHECKSUM_MISMATCH', 422, true),
    invalid('d.txt'),
    invalid('e.txt'),
    uploaded('f.txt'),
    uploaded('g.txt')
  ])
})

t.test('the checksum and the type of a file in JSON are checked too', async t => {
  const { dir, send } = await buildUpload(t)
  const sha256 = createHash('sha256').update('content').digest('hex')
  const content = Buffer.from('content').toString('base64')

  const answer = await send(Buffer.from(JSON.stringify({
    files: [
      { file: 'a.txt', content, sha256, type: 'text/plain' },
      { file: 'b.txt', content, sha256: '0'.repeat(64), type: 'text/plain' },
      { file: 'c.png', content: ZIP.toString('base64'), type: 'image/png' }
    ]
  })), 'application/json')

  await checkAnswer(t, dir, answer, [
    uploaded('a.txt'),
    failed('b.txt', 'Checksum mismatch', 'CHECKSUM_MISMATCH', 422, true),
    refused('c.png', 'declared image/png, found application/zip')
  ])
})
