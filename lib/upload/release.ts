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

/**
 * Makes the function that gives back the memory of a piece of this request, unless somebody else may have kept the piece.
 * @param raw the request, which is piped to its parser already
 */
export function createRelease (raw: IncomingMessage): (chunk: Buffer) => void {
  if (!isOurs(raw) || raw.listenerCount('data') > LISTENERS || raw.listenerCount('readable') > 0) return () => {}
  let isShared = false
  raw.on('newListener', event => { isShared ||= event === 'data' || event === 'readable' })
  return chunk => {
    if (!isShared && ownsItsMemory(chunk)) nowhere.postMessage(null, [chunk.buffer as ArrayBuffer])
  }
}

/** What somebody may have put their own in place of, to see what a request brings. */
const WAYS = ['push', 'read', 'emit', 'on', 'addListener']

/** Whether what the request brings was made by Node's own server. What `inject` sends is the caller's. */
function isOurs (raw: IncomingMessage): boolean {
  const isPlain = Object.getPrototypeOf(raw) === IncomingMessage.prototype && !WAYS.some(way => Object.hasOwn(raw, way))
  return isPlain && (raw.socket as { server?: unknown }).server instanceof Server
}

/** Whether the piece is all that is in its memory. */
function ownsItsMemory ({ length, buffer }: Buffer): boolean {
  return length >= LEAST && length === buffer.byteLength
}
