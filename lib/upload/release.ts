// Gives the memory of what has been read back at once. V8 takes the content of uploads for a reason to collect the whole
// heap: on a server that has pauses, every 16 MB.
import { IncomingMessage } from 'node:http'
import { Server } from 'node:net'

/** Bytes of a piece below which it is not worth it. */
const LEAST = 16 * 1024

/** How many listen to the data of a request whose form is read: the parser, and what counts its bytes. */
const LISTENERS = 2

/** Leads nowhere: what is transferred to it is gone. Unlike `ArrayBuffer.prototype.transfer`, it is there before Node 22. */
const { port1: nowhere, port2: otherEnd } = new MessageChannel()
otherEnd.close()

/** The memory of what is read of a request. */
export interface Memory {
  /** Notes a piece of a file; what came before it has been read. */
  note (piece: Buffer): void
  /** Gives it back when nobody will look at this piece again, nor at others in it. */
  release (piece: Buffer): void
  /** Says that somebody reads other things than files, and perhaps later: what they have in common with files is kept. */
  keepShared (): void
}

/**
 * Watches the memory of this request, which is kept where somebody else may look at it.
 * @param raw the request, which is piped to its parser already
 */
export function watchMemory (raw: IncomingMessage): Memory {
  let isKept = !isOurs(raw) || raw.listenerCount('data') > LISTENERS || raw.listenerCount('readable') > 0
  const shared = createShared(buffer => { if (!isKept) giveBack(buffer) })
  /** What the request has brought: a piece of a file may also be put together from several, in memory of Node's own. */
  const brought = new WeakSet<ArrayBufferLike>()
  if (!isKept) {
    raw.prependListener('data', (chunk: Buffer) => { if (ownsItsMemory(chunk) && chunk.length >= LEAST) brought.add(chunk.buffer) })
    raw.on('newListener', event => { isKept ||= event === 'data' || event === 'readable' })
  }
  return {
    note (piece) {
      if (!isKept && !ownsItsMemory(piece) && brought.has(piece.buffer)) shared.note(piece.buffer)
    },
    release (piece) {
      if (isKept) return
      if (!ownsItsMemory(piece)) shared.release(piece.buffer)
      else if (piece.length >= LEAST) giveBack(piece.buffer)
    },
    keepShared: shared.keep
  }
}

/** Several small files may share memory, which can be given back when all of them are done with it. */
function createShared (giveBack: (buffer: ArrayBufferLike) => void) {
  /** How many pieces of files are in use, for each that may be given back. */
  const inUse = new WeakMap<ArrayBufferLike, number>()
  let last: ArrayBufferLike | undefined
  let isKept = false
  const giveBackUnused = (buffer: ArrayBufferLike) => {
    // There may be more to come of the last one.
    if (inUse.get(buffer) !== 0 || buffer === last || isKept) return
    inUse.delete(buffer)
    giveBack(buffer)
  }
  return {
    note (buffer: ArrayBufferLike) {
      const before = last
      last = buffer
      // The first may have the end of another request in it.
      if (before === undefined) return
      if (before !== buffer) {
        inUse.set(buffer, 0)
        giveBackUnused(before)
      }
      const count = inUse.get(buffer)
      if (count !== undefined) inUse.set(buffer, count + 1)
    },
    release (buffer: ArrayBufferLike) {
      const count = inUse.get(buffer)
      if (count === undefined) return
      inUse.set(buffer, count - 1)
      giveBackUnused(buffer)
    },
    keep () {
      isKept = true
    }
  }
}

/** What is to be given back with the next turn of the event loop. */
const spent = new Set<ArrayBuffer>()

/**
 * Gives memory back that nobody will look at again. Not at once: parts that are skipped are read a moment later, and to
 * give back many buffers costs as much as one.
 */
export function giveBack (buffer: ArrayBufferLike): void {
  if (spent.add(buffer as ArrayBuffer).size === 1) setImmediate(giveBackAll)
}

function giveBackAll (): void {
  // What somebody else has transferred meanwhile is gone already.
  const buffers = [...spent].filter(({ byteLength }) => byteLength > 0)
  spent.clear()
  nowhere.postMessage(null, buffers)
}

/** What somebody may have put their own in place of, to see what a request brings. */
const WAYS = ['push', 'read', 'emit', 'on', 'addListener']

/** Whether what the request brings was made by Node's own server. What `inject` sends is the caller's. */
function isOurs (raw: IncomingMessage): boolean {
  const isPlain = Object.getPrototypeOf(raw) === IncomingMessage.prototype && !WAYS.some(way => Object.hasOwn(raw, way))
  return isPlain && (raw.socket as { server?: unknown }).server instanceof Server
}

/** Whether the piece is all that is in its memory. */
export function ownsItsMemory ({ length, buffer }: Uint8Array): boolean {
  return length === buffer.byteLength
}
