// NDJSON -> items, each parsed and validated alone, as many at a time as one chunk holds.
import type { Readable } from 'node:stream'
import type { FailureDetail, Key } from '../../../schemas/index.js'
import { invalidItemDetail, invalidLine, lineTooLong, toFailure, tooManyItems } from '../../errors.js'
import { keyOf, type KeyRules } from './keys.js'
import type { ItemRules } from './batch.js'
import { cutLines } from './lines.js'
import type { Source, Taken } from '../settle/source.js'
import { createWaiters } from '../notifier.js'

/** One line of a stream: an item that may run, or why it may not. */
export interface LineItem {
  readonly key: Key | null
  readonly item?: unknown
  readonly failure?: FailureDetail
}

/** What an item must be, and how a line becomes one. */
export interface LineRules extends KeyRules, Pick<ItemRules, 'validateItem'> {
  /** @throws when the line is no JSON, or none that the app takes */
  parse (line: string): unknown
}

/** What a stream may have. */
export interface StreamLimits {
  readonly maxItems: number
  readonly maxLineBytes: number
}

/** The items of a stream, and whether it came to its end. */
export interface StreamSource extends Source<LineItem> {
  isComplete (): boolean
}

/**
 * Reads a stream no faster than its items are taken. Empty lines are none.
 * @param onFault called when the stream breaks, so that there are no more items
 */
export function readLines (
  stream: Readable, rules: LineRules, { maxItems, maxLineBytes }: StreamLimits, onFault: (error: unknown) => void
): StreamSource {
  const feed = openFeed(stream, maxLineBytes, onFault)
  let count = 0

  function next (): Taken<LineItem> | undefined {
    for (let line = feed.next(); line !== undefined; line = feed.next()) {
      if (line?.trim() !== '') return { index: count, item: read(line, count++) }
    }
    return undefined
  }

  function read (line: string | null, place: number): LineItem {
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
    while (feed.isOpen()) {
      await feed.more()
      const taken = next()
      if (taken !== undefined) return taken
    }
    return undefined
  }

  return {
    size: Infinity,
    take: () => next() ?? (feed.isOpen() ? take() : undefined),
    isComplete: feed.isComplete,
    close: feed.close
  }
}

/** The lines of a stream, as many at a time as one chunk holds. */
interface Feed {
  /** The next line that is here; null of one that is too long. */
  next (): string | null | undefined
  /** Resolves when there may be more lines, or the feed is not open any more. */
  more (): Promise<void>
  /** Whether more may come. */
  isOpen (): boolean
  isComplete (): boolean
  close (): void
}

function openFeed (stream: Readable, maxLineBytes: number, onFault: (error: unknown) => void): Feed {
  const chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
  const lines = cutLines(maxLineBytes)
  const { wait, wake } = createWaiters()
  let ready: (string | null)[] = []
  let at = 0
  let state: 'open' | 'complete' | 'broken' = 'open'
  let isReading = false

  async function readChunk (): Promise<void> {
    isReading = true
    try {
      const { done, value } = await chunks.next()
      if (state !== 'open') return
      ready = done ? lines.rest() : lines.cut(value)
      at = 0
      if (done) state = 'complete'
    } catch (error) {
      if (state === 'open') onFault(error)
      state = 'broken'
    } finally {
      isReading = false
      wake()
    }
  }

  return {
    next: () => ready[at++],
    more () {
      if (!isReading) readChunk()
      return wait()
    },
    isOpen: () => state === 'open',
    isComplete: () => state === 'complete',
    close () {
      if (state === 'open') state = 'broken'
      ready = []
      wake()
    }
  }
}
