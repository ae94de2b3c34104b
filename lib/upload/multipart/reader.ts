// Reads the files of a multipart/form-data body one after the other, as a stream.
import { EventEmitter, once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { MalformedForm, UploadTooLarge } from '../../errors.js'
import { SURPLUS_FILES } from '../checks/limits.js'
import type { FilePart } from '../file-part.js'
import { createParser, type FormParser } from './parser.js'
import { readBoundary, readFieldName, readFileHeader, type PartHeader } from './part-header.js'

/** A field of this name has the checksum of the next file. */
const CHECKSUM_FIELD = 'sha256'

/** The most characters that are read of such a field. */
const CHECKSUM_LENGTH = 1000

const CUT = 'Unexpected end of multipart data'

/** How a form is read. */
export interface MultipartOptions {
  /** The most files that are allowed. {@link SURPLUS_FILES} more keep their names, and one stands for all that follow. */
  readonly maxFiles: number
  /** Bytes of all files, and of the whole form. The form is read no further, because it can also be fields without end. */
  readonly limits: { readonly total: number, readonly form: number }
  /** Milliseconds without a byte after which the rest of the form counts as lost. */
  readonly idleTimeout: number
  /** Once aborted, the rest of the form counts as lost. */
  readonly signal: AbortSignal
}

/**
 * Reads the files of a form in order. The content of each must be read before the next one comes.
 * @param raw the request, of which nothing has been read
 * @throws FST_MULTI_STATUS_MALFORMED_FORM at once when this is no form; after the last file, when the form is cut, and
 *   FST_MULTI_STATUS_UPLOAD_TOO_LARGE when it is too long
 */
export function readMultipart (raw: IncomingMessage, options: MultipartOptions): AsyncGenerator<FilePart> {
  const boundary = readBoundary(raw.headers['content-type']!)
  const arrived: FilePart[] = []
  const collect = createFileCollector(options.maxFiles, arrived, part => body.advance(part))
  const parser = createParser(boundary, collect)
  // At once and not when the first file is asked for: a hook may have made the request flow.
  const body = createBodyReader(raw, parser, options)
  return readFiles(arrived, parser, body, options.limits.total)
}

async function * readFiles (arrived: FilePart[], parser: FormParser, body: BodyReader, total: number): AsyncGenerator<FilePart> {
  try {
    do {
      for (let file = arrived.shift(); file !== undefined; file = arrived.shift()) yield file
    } while (await body.advance())
    if (body.isTooLong()) throw new UploadTooLarge(total, body.bytes())
    if (!parser.isComplete()) throw new MalformedForm(CUT)
  } finally {
    body.stop()
  }
}

/** The body of a request on its way to the parser. */
interface BodyReader {
  /**
   * Parses the next chunk, or waits for one.
   * @param part a part whose end ends the waiting
   * @returns false when there is no more
   */
  advance (part?: Readable): Promise<boolean>
  bytes (): number
  isTooLong (): boolean
  /** Leaves the rest of the request unread. */
  stop (): void
}

function createBodyReader (raw: IncomingMessage, parser: FormParser, { limits, idleTimeout, signal }: MultipartOptions): BodyReader {
  const events = new EventEmitter()
  const notify = () => { events.emit('change') }
  const isTooLong = () => bytes > limits.form
  let bytes = 0
  let isIdle = false
  let isEnded = false

  const wait = async (part: Readable | undefined) => {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      notify()
    }, idleTimeout)
    part?.once('end', notify)
    await once(events, 'change')
    part?.off('end', notify)
    clearTimeout(timer)
    if (!isLate) return
    // After this process was busy for long, its timers come first, and the bytes that have arrived meanwhile after them.
    await setImmediate()
    isIdle = raw.readableLength === 0
  }
  const read = () => signal.aborted || isIdle || isTooLong() ? null : raw.read() as Buffer | null

  for (const event of ['readable', 'end', 'close']) raw.on(event, notify)
  signal.addEventListener('abort', notify)
  return {
    async advance (part) {
      const chunk = read()
      if (chunk !== null) {
        bytes += chunk.length
        parser.write(chunk)
      } else if (isEnded) {
        await setImmediate()
        return false
      } else if (signal.aborted || isIdle || isTooLong() || raw.readableEnded || raw.destroyed) {
        isEnded = true
        await parser.end()
      } else {
        await wait(part)
      }
      return true
    },
    bytes: () => bytes,
    isTooLong,
    stop () {
      for (const event of ['readable', 'end', 'close']) raw.off(event, notify)
      signal.removeEventListener('abort', notify)
      raw.resume()
    }
  }
}

/** Collects the parts that are files. Fields are skipped, except for the checksum of the next file. */
function createFileCollector (maxFiles: number, arrived: FilePart[], advance: BodyReader['advance']) {
  const mostFiles = maxFiles + SURPLUS_FILES
  let count = 0
  let sha256: Promise<string | undefined> | undefined

  const collectFile = (file: { name: string, type: string }, part: Readable) => {
    if (++count > mostFiles + 1) return part.resume()
    arrived.push({ name: count > mostFiles ? null : file.name, type: file.type, sha256, content: readContent(part, advance) })
    sha256 = undefined
  }
  return (header: PartHeader, part: Readable) => {
    const file = readFileHeader(header)
    if (file !== undefined) collectFile(file, part)
    else if (readFieldName(header) === CHECKSUM_FIELD) sha256 = readField(part)
    else part.resume()
  }
}

/** Reads the beginning of a field, which is all of one that can be a checksum; undefined when it is empty. */
function readField (part: Readable): Promise<string | undefined> {
  let value = ''
  part.on('data', (chunk: Buffer) => { if (value.length < CHECKSUM_LENGTH) value += chunk.toString('latin1') })
  return new Promise(resolve => part.once('close', () => resolve(value.trim() || undefined)))
}

function readContent (part: Readable, advance: BodyReader['advance']): AsyncGenerator<Buffer> {
  let isBroken = false
  // The parser ends a part that it has reported broken, so that the end alone does not mean that all of it has come.
  part.once('error', () => { isBroken = true })
  return (async function * () {
    for (let goesOn = true; goesOn && !part.readableEnded;) {
      const chunk = part.read() as Buffer | null
      if (chunk !== null) yield chunk
      else goesOn = await advance(part)
    }
    if (isBroken || !part.readableEnded) throw new Error(CUT)
  })()
}
