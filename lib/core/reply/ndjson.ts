// Results -> NDJSON, as fast as they are read and no faster.
import { Readable } from 'node:stream'
import { createWaiters } from '../notifier.js'

/** Lines on their way to a client. */
export interface LineOutput {
  readonly stream: Readable
  /** Writes a line; what it returns resolves when there is room for more. */
  write (line: string): void | Promise<void>
  /** Lets those who wait for room go on, because it does not matter any more. */
  release (): void
  /** Ends the stream when all is written. */
  end (): void
}

/** As many characters as are sent in one go while results come fast. */
const BATCH = 16 * 1024

/** Gathers lines that come in the same turn of the event loop; none waits longer. */
export function createOutput (): LineOutput {
  let text = ''
  let timer: NodeJS.Immediate | undefined
  let isFull = false
  let isReleased = false
  const { wait, wake } = createWaiters()

  const stream = new Readable({
    highWaterMark: 4 * BATCH,
    read () {
      isFull = false
      wake()
    },
    destroy (error, done) {
      clearImmediate(timer)
      release()
      done(error)
    }
  })

  function release (): void {
    isReleased = true
    wake()
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
      if (isFull && !isReleased) return wait()
    },
    end () {
      flush()
      if (!stream.destroyed) stream.push(null)
    }
  }
}
