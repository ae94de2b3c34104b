// Gives the memory of what has been read back at once. V8 takes the content of uploads for a reason to collect the whole
// heap: on a server that has pauses, every 16 MB.
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'

/** Bytes of a piece below which it is not worth it. */
const LEAST = 16 * 1024

/** How many listen to a request whose form is read: the parser, and what counts its bytes. */
const LISTENERS = 2

/** Leads nowhere: what is transferred to it is gone. Unlike `ArrayBuffer.prototype.transfer`, it is there before Node 22. */
const { port1: nowhere, port2: otherEnd } = new MessageChannel()
otherEnd.close()

/**
 * Makes the function that gives back the memory of a piece of this request, unless somebody else may have kept the piece.
 * @param raw the request, which is piped to its parser already
 */
export function createRelease (raw: IncomingMessage): (chunk: Buffer) => void {
  // What `inject` sends is the caller's own.
  const isFromNetwork = raw instanceof IncomingMessage && raw.socket instanceof Socket
  let isShared = !isFromNetwork || raw.listenerCount('data') > LISTENERS
  raw.on('newListener', event => { isShared ||= event === 'data' })
  return chunk => {
    if (!isShared && ownsItsMemory(chunk)) nowhere.postMessage(null, [chunk.buffer as ArrayBuffer])
  }
}

/** Whether the piece is all that is in its memory. */
function ownsItsMemory ({ length, buffer }: Buffer): boolean {
  return length >= LEAST && length === buffer.byteLength
}
