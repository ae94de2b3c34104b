// Parses NDJSON into items and validates each one.
import type { Readable } from 'node:stream'
import type { FailureDetail, Key } from '../../../schemas/index.js'
import { invalidItemDetail, invalidLine, lineTooLong, toFailure, tooManyItems } from '../../errors.js'
import { keyOf, type KeyRules } from './keys.js'
import type { ItemRules } from './batch.js'
import type { Source, Taken } from '../settle/source.js'

/** One line of a stream: a valid item, or the failure of an invalid one. */
export interface LineItem {
  readonly key: Key | null
  readonly item?: unknown
  readonly failure?: FailureDetail
}

/** How to parse a line and validate its item. */
export interface LineRules extends KeyRules, Pick<ItemRules, 'validateItem'> {
  /** @throws when the line is not JSON, or is JSON that the app refuses */
  parse (line: string): unknown
}

/** The limits of a stream. */
export interface StreamLimits {
  readonly maxItems: number
  readonly maxLineBytes: number
}

/** The items of a stream. */
export interface StreamSource extends Source<LineItem> {
  /** Whether the stream was read to its end. */
  isComplete (): boolean
}

/**
 * Reads the items of a stream, no faster than they are taken. Skips empty lines.
 * @param onFault called with the error when the stream fails; no more items follow
 */
export function readLines (
  stream: Readable, rules: LineRules, { maxItems, maxLineBytes }: StreamLimits, onFault: (error: unknown) => void
): StreamSource {
  const lines = openLines(stream, maxLineBytes, onFault)
  let count = 0

  function next (): Taken<LineItem> | undefined {
    for (let line = lines.next(); line !== undefined; line = lines.next()) {
      if (line?.trim() !== '') return { index: count, item: parseLine(line, count++) }
    }
    return undefined
  }

  function parseLine (line: string | null, place: number): LineItem {
    if (line === null) return { key: null, failure: toFailure(lineTooLong(maxLineBytes)) }
    let item: unknown
    try {
      item = rules.parse(line)
    } catch {
      return { key: null, failure: toFailure(invalidLine('must be JSON')) }
    }
    const problems = rules.validateItem(item)
    const key = keyOf(item, problems === undefined, rules)
    if (place >= maxItems) return { key, failure: toFailure(tooManyItems(maxItems)) }
    return problems === undefined ? { key, item } : { key, failure: invalidItemDetail(problems) }
  }

  async function take (): Promise<Taken<LineItem> | undefined> {
    while (lines.isOpen()) {
      await lines.more()
      const taken = next()
      if (taken !== undefined) return taken
    }
    return undefined
  }

  return {
    size: Infinity,
    take: () => next() ?? (lines.isOpen() ? take() : undefined),
    isComplete: lines.isComplete,
    close: lines.close
  }
}

/** The lines of a stream, read chunk by chunk. */
interface Lines {
  /** The next line of the current chunk; null for a line that is too long; undefined at the end of the chunk. */
  next (): string | null | undefined
  /** Reads the next chunk; concurrent calls share one read. Resolves also when the lines are closed. */
  more (): Promise<void>
  /** Whether more chunks may follow. */
  isOpen (): boolean
  isComplete (): boolean
  close (): void
}

function openLines (stream: Readable, maxLineBytes: number, onFault: (error: unknown) => void): Lines {
  const chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
  const splitter = createLineSplitter(maxLineBytes)
  let ready: (string | null)[] = []
  let position = 0
  let state: 'open' | 'complete' | 'broken' = 'open'
  let reading: Promise<void> | undefined
  let stopReading = () => {}

  async function readChunk (): Promise<void> {
    try {
      const { done, value } = await chunks.next()
      if (state !== 'open') return
      ready = done ? splitter.end() : splitter.split(value)
      position = 0
      if (done) state = 'complete'
    } catch (error) {
      if (state === 'open') onFault(error)
      state = 'broken'
    }
  }

  return {
    next: () => ready[position++],
    more () {
      reading ??= new Promise<void>(resolve => {
        stopReading = resolve
        readChunk().then(resolve)
      }).then(() => { reading = undefined })
      return reading
    },
    isOpen: () => state === 'open',
    isComplete: () => state === 'complete',
    close () {
      if (state === 'open') state = 'broken'
      ready = []
      stopReading()
    }
  }
}

const NEWLINE = 10

/** Splits bytes into lines. A line that is too long is null. */
interface LineSplitter {
  /** The lines that end in this chunk. */
  split (chunk: Buffer): (string | null)[]
  /** The last line, if it has no line feed. */
  end (): (string | null)[]
}

/**
 * Creates a splitter. Unlike `node:readline` it drops the bytes of a line that is too long, so that a client cannot fill
 * the memory with one line.
 * @param maxBytes of one line, without its line feed
 */
function createLineSplitter (maxBytes: number): LineSplitter {
  let pieces: Buffer[] = []
  let length = 0

  function append (piece: Buffer): void {
    length += piece.length
    if (length > maxBytes) pieces = []
    else pieces.push(piece)
  }

  function finish (end: Buffer): string | null {
    if (length === 0) return end.length > maxBytes ? null : end.toString('utf8')
    append(end)
    const line = length > maxBytes ? null : Buffer.concat(pieces).toString('utf8')
    pieces = []
    length = 0
    return line
  }

  return {
    split (chunk) {
      const lines = []
      let start = 0
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        lines.push(finish(chunk.subarray(start, end)))
        start = end + 1
      }
      if (start < chunk.length) append(chunk.subarray(start))
      return lines
    },
    end: () => length === 0 ? [] : [finish(Buffer.alloc(0))]
  }
}
