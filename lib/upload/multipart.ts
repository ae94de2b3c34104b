// multipart/form-data -> one file at a time, streamed.
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { Busboy, type BusboyHeaders } from '@fastify/busboy'
import { MalformedForm } from '../errors.js'
import type { IncomingFile } from './incoming.js'

type Parser = InstanceType<typeof Busboy>

/** How many parts of any kind a form may have beyond the files that are allowed, before the rest is not looked at. */
const SPARE_PARTS = 1000

/** Bytes of a form field; the fields of an upload are not kept. */
const FIELD_SIZE = 64 * 1024

/**
 * Reads the files of a form in order. The content of each must be read before the next one comes.
 * @param raw the request, of which nothing has been read
 * @param maxFiles how many files the caller expects; some more are given, so that they can be refused by name
 * @throws FST_MULTI_STATUS_MALFORMED_FORM at once when this is no form; while it is read, after the files before,
 *   when it is cut or malformed
 */
export function readMultipart (raw: IncomingMessage, maxFiles: number): AsyncGenerator<IncomingFile> {
  return readFiles(raw, createParser(raw, maxFiles))
}

function createParser (raw: IncomingMessage, maxFiles: number): Parser {
  try {
    return new Busboy({
      headers: raw.headers as BusboyHeaders,
      preservePath: true,
      isPartAFile: (_field, type, name) => name !== undefined || type === 'application/octet-stream',
      limits: { fieldSize: FIELD_SIZE, fields: SPARE_PARTS, parts: maxFiles + SPARE_PARTS }
    })
  } catch (cause) {
    throw new MalformedForm((cause as Error).message)
  }
}

async function * readFiles (raw: IncomingMessage, parser: Parser): AsyncGenerator<IncomingFile> {
  const arrived: ArrivedFile[] = []
  let current: ArrivedFile | undefined
  let failure: Error | undefined
  let ended = false
  let wake = () => {}

  const end = (error?: Error) => {
    ended = true
    failure ??= error
    if (error !== undefined) current?.cut(error)
    wake()
  }
  const cut = () => { if (!raw.readableEnded) end(new Error('The request was cut')) }
  parser.on('file', (_field, stream, name, _encoding, type) => {
    current = arrive(stream as Readable, name as string | undefined, type)
    arrived.push(current)
    wake()
  })
  parser.once('finish', () => end())
  parser.on('error', error => end(error as Error))
  raw.once('close', cut)
  raw.pipe(parser)

  try {
    while (true) {
      const file = arrived.shift()
      if (file !== undefined) yield file
      else if (ended) break
      else await new Promise<void>(resolve => { wake = resolve })
    }
    if (failure !== undefined) throw new MalformedForm(failure.message)
  } finally {
    raw.off('close', cut)
    raw.unpipe(parser)
    raw.resume()
  }
}

interface ArrivedFile extends IncomingFile {
  /** Ends the content with an error, because the rest of it will not come. */
  cut (error: Error): void
}

function arrive (stream: Readable, name = '', type: string): ArrivedFile {
  let broken: Error | undefined
  // The parser ends a stream that it has reported broken, so that the end alone does not mean that all has come.
  stream.on('error', error => { broken = error })
  return {
    name,
    type,
    content: readAll(stream, () => broken),
    cut: error => stream.destroy(error)
  }
}

/** Reads a part without destroying it when the reader stops early, because the parser would stop with it. */
async function * readAll (stream: Readable, broken: () => Error | undefined): AsyncGenerator<Buffer> {
  yield * stream.iterator({ destroyOnReturn: false })
  const error = broken()
  if (error !== undefined) throw error
}
