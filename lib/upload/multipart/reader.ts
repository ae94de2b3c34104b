// multipart/form-data -> one file at a time, streamed.
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import type { Dicer } from '@fastify/busboy'
import { MalformedForm, UploadTooLarge } from '../../errors.js'
import type { Content, IncomingFile } from '../file-part.js'
import { SPARE_FILES } from '../checks/limits.js'
import { createNews, type News } from './notifier.js'
import { createParser } from './parser.js'
import { readBoundary, readFieldName, readFileHeader, type PartHeader } from './part-header.js'
import { watchMemory, type Memory } from '../release.js'

/** A field of this name is about the next file. */
const CHECKSUM_FIELD = 'sha256'

/** Bytes of such a field that are looked at. */
const CHECKSUM_SIZE = 1000

/** How a form is read. */
export interface MultipartOptions {
  /** How many files the caller expects; some more are given, so that they can be refused by name, and one for all that follow. */
  readonly maxFiles: number
  /** Bytes of all files, and of the whole form; it is read no further, as one can also be nothing but fields without end. */
  readonly limits: { readonly total: number, readonly form: number }
  /** Milliseconds without a byte after which what has not arrived counts as cut. */
  readonly idleTimeout: number
  /** Once aborted, what has not arrived counts as cut. */
  readonly signal: AbortSignal
}

/**
 * Reads the files of a form in order. The content of each must be read before the next one comes.
 * @param raw the request, of which nothing has been read
 * @param options see {@link MultipartOptions}
 * @throws FST_MULTI_STATUS_MALFORMED_FORM at once when this is no form; while it is read, after the files before,
 *   when it is cut or malformed, and FST_MULTI_STATUS_UPLOAD_TOO_LARGE when it is too long
 */
export function readMultipart (raw: IncomingMessage, options: MultipartOptions): AsyncGenerator<IncomingFile> {
  const parser = createParser(readBoundary(raw.headers['content-type']!))
  const news = createNews()
  const watch = watchForCut(raw, parser, news, options)
  // At once and not when the first file is asked for: the request may be flowing already, as somebody reads along.
  raw.pipe(parser)
  const files = followForm(parser, news, options.maxFiles + SPARE_FILES, watchMemory(raw))
  if (options.signal.aborted) watch.cut()
  return readFiles(files, watch, options.limits.total, () => raw.unpipe(parser).resume())
}

async function * readFiles (files: FormFiles, watch: Watch, total: number, skipRest: () => void): AsyncGenerator<IncomingFile> {
  try {
    for (let file = await files.next(); file !== undefined; file = await files.next()) yield file
    if (watch.isTooLong()) throw new UploadTooLarge(total, watch.bytes())
    const failure = files.failure()
    if (failure !== undefined) throw new MalformedForm(failure.message)
  } finally {
    watch.stop()
    skipRest()
  }
}

const cutShort = () => new Error('Unexpected end of multipart data')

/** The bytes of a form on their way to the parser. */
interface Watch {
  bytes (): number
  isTooLong (): boolean
  /** Says that nothing more will come. */
  cut (): void
  stop (): void
}

/** Ends the parser when nothing more will come, or be taken. Ended before the last boundary, it fails the part that it is in. */
function watchForCut (raw: IncomingMessage, parser: Dicer, news: News, { limits, idleTimeout, signal }: MultipartOptions): Watch {
  let bytes = 0
  let soon: NodeJS.Immediate | undefined
  const cut = () => {
    stop()
    raw.unpipe(parser)
    parser.end()
    news.cut()
  }
  // Nothing comes also while the storage is busy; that is not the client's fault.
  const idle = setTimeout(() => news.isAwaited() ? lookOnceMore() : idle.refresh(), idleTimeout)
  /** After this process was busy for long, its timers come first, and what has arrived meanwhile after them. */
  const lookOnceMore = () => {
    const before = bytes
    soon = setImmediate(() => { if (bytes === before) cut() })
  }
  const note = (chunk: Buffer) => {
    idle.refresh()
    bytes += chunk.length
    // Not before the parser has had this chunk.
    if (bytes > limits.form) process.nextTick(cut)
  }
  const stop = () => {
    clearTimeout(idle)
    clearImmediate(soon)
    raw.off('data', note)
    raw.off('close', cut)
    signal.removeEventListener('abort', cut)
  }
  raw.on('data', note)
  raw.once('close', cut)
  signal.addEventListener('abort', cut)
  return { bytes: () => bytes, isTooLong: () => bytes > limits.form, cut, stop }
}

/** The files of a form as the parser comes upon them. */
interface FormFiles {
  /** The next one, as soon as its header has come; undefined after the last. */
  next (): Promise<IncomingFile | undefined>
  /** What was wrong with the form. */
  failure (): Error | undefined
}

function followForm (parser: Dicer, news: News, mostFiles: number, memory: Memory): FormFiles {
  const arrived: IncomingFile[] = []
  let count = 0
  let failure: Error | undefined
  let ended = false
  const isWaiting = () => arrived.length === 0 && !ended

  followParts(parser, news, memory, (file, part) => {
    if (++count > mostFiles + 1) return part.resume()
    arrived.push(count > mostFiles ? { ...file, name: null } : file)
    news.wake()
  })
  parser.on('error', error => { failure = error })
  parser.once('finish', () => {
    ended = true
    news.wake()
  })
  return {
    async next () {
      while (isWaiting()) {
        if (await news.wait() || !isWaiting()) continue
        failure ??= cutShort()
        ended = true
      }
      return arrived.shift()
    },
    failure: () => failure
  }
}

/** Tells of every part that is a file, and lets the fields pass, but for a checksum that is about the next file. */
function followParts (
  parser: Dicer, news: News, memory: Memory, onFile: (file: IncomingFile, part: Readable) => void
): void {
  let sha256: Promise<string | undefined> | undefined
  let unread = 0
  /**
   * To ask a part for more is what makes the parser go on when it has held back. It does that itself after the end of a
   * part, but for one whose delimiter came in a piece of its own. One function for all parts, as there may be very many.
   */
  function goOn (this: Readable): void {
    if (--unread === 0) this._read(0)
  }
  parser.on('part', part => {
    let broken: Error | undefined
    // The parser ends a part that it has reported broken, so that the end alone does not mean that all has come.
    part.on('error', error => { broken = error })
    part.once('header', (header: PartHeader) => {
      unread++
      part.on('end', goOn)
      const file = readFileHeader(header)
      if (file !== undefined) {
        const { name, type } = file
        onFile({ name, type, sha256, content: readPart(part, news, memory, () => broken), release: memory.release }, part)
        sha256 = undefined
      } else if (readFieldName(header) === CHECKSUM_FIELD) {
        memory.keepShared()
        sha256 = readField(part)
      } else {
        part.resume()
      }
    })
  })
}

/** The beginning of a field, which is all of one that can be a checksum; nothing, if it has been left empty. */
function readField (part: Readable): Promise<string | undefined> {
  let value = ''
  part.on('data', (chunk: Buffer) => { if (value.length < CHECKSUM_SIZE) value += chunk.toString('latin1') })
  return new Promise(resolve => part.once('close', () => resolve(value.trim() || undefined)))
}

/** Reads a part without destroying it when the reader stops early, because the parser would stop with it. */
function readPart (part: Readable, news: News, memory: Memory, broken: () => Error | undefined): Content {
  let isHeard = false
  const hear = () => {
    if (isHeard) return
    isHeard = true
    part.on('readable', news.wake)
    part.once('end', news.wake)
  }
  const waitAndRead = async () => {
    if (!await news.wait() && part.readableLength === 0 && !part.readableEnded) throw cutShort()
    return content.read()
  }
  const content: Content = {
    read () {
      hear()
      const chunk = part.read() as Buffer | null
      if (chunk !== null) {
        memory.note(chunk)
        return chunk
      }
      if (!part.readableEnded) return waitAndRead()
      const error = broken()
      if (error !== undefined) throw error
    }
  }
  return content
}
