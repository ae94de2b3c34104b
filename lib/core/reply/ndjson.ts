// Writes results as NDJSON, no faster than the client reads them.
import { Readable } from 'node:stream'

/** An NDJSON response in progress. */
export interface LineOutput {
  readonly stream: Readable
  /** Writes a line. When the buffer is full it returns a promise that resolves when there is room again. */
  write (line: string): void | Promise<void>
  /** Resolves all promises of `write` now and from now on, because the client does not read any more. */
  release (): void
  /** Ends the stream after the last line. */
  end (): void
}

/** Characters that are sent at once while results arrive fast. */
const BATCH = 16 * 1024

/** Creates a stream of lines. Lines of the same turn of the event loop are sent together. */
export function createOutput (): LineOutput {
  let text = ''
  let timer: NodeJS.Immediate | undefined
  let isFull = false
  let isReleased = false
  const waiting: (() => void)[] = []
  const resumeWriters = () => { for (const resume of waiting.splice(0)) resume() }

  const stream = new Readable({
    highWaterMark: 4 * BATCH,
    read () {
      isFull = false
      resumeWriters()
    },
    destroy (error, done) {
      clearImmediate(timer)
      release()
      done(error)
    }
  })

  function release (): void {
    isReleased = true
    resumeWriters()
  }

  function flush (): void {
    clearImmediate(timer)
    timer = undefined
    const written = text
    text = ''
    if (written !== '' && !stream.destroyed) isFull = !stream.push(written)
  }

  return {
    stream,
    release,
    write (line) {
      text += line
      if (text.length >= BATCH) flush()
      else timer ??= setImmediate(flush)
      if (isFull && !isReleased) return new Promise(resolve => { waiting.push(resolve) })
    },
    end () {
      flush()
      if (!stream.destroyed) stream.push(null)
    }
  }
}
