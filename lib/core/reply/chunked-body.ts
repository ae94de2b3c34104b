// Makes the body of an answer: in one piece while it is small; piece by piece if it is large, so that other requests get
// their turn of the event loop. A large body is sent when all of it is made, because only then its header can be written.
import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Serialization } from '../results/serializer.js'

/** What stands around the results. */
export interface Frame {
  readonly head: string
  readonly tail: string
}

/** An answer of up to so many characters is made in one go, which takes some milliseconds. */
const SMALL = 1024 * 1024

/** A larger one is made in pieces of so many. */
const PIECE = 256 * 1024

/** A large body that is being made. */
interface LargeBody {
  /** Resolves when all of it is made. */
  readonly made: Promise<void>
  /** To be called then. */
  readonly onMade: () => void
}

const largeBodies = new WeakMap<FastifyReply, LargeBody>()

/**
 * Makes the body of an answer.
 * @param onMade called when it is known of every result what became of it, and before anything is sent
 */
export function makeBody (reply: FastifyReply, serialization: Serialization, { head, tail }: Frame, onMade: () => void): string | Readable {
  const { text, isLast } = serialization.next(SMALL)
  if (isLast) {
    onMade()
    return head + text + tail
  }
  const pieces = [head + text]
  const made = makePieces(reply, serialization, pieces).then(() => { pieces.push(tail) })
  largeBodies.set(reply, { made, onMade })
  return Readable.from(readPieces(made, pieces), { objectMode: false })
}

/** Stops when nobody waits for the answer any more. */
async function makePieces ({ raw }: FastifyReply, serialization: Serialization, pieces: string[]): Promise<void> {
  for (let isLast = false; !isLast && !raw.destroyed;) {
    await setImmediate()
    const next = serialization.next(PIECE)
    pieces.push(next.text)
    isLast = next.isLast
  }
}

/** A client that reads as fast as is written to it would take all of them in one turn of the event loop. */
async function * readPieces (made: Promise<void>, pieces: readonly string[]): AsyncGenerator<string> {
  await made
  for (const piece of pieces) {
    yield piece
    await setImmediate()
  }
}

/** Makes the sending of large bodies wait until they are made, so that their header says what is in them. */
export function awaitLargeBodies (app: FastifyInstance): void {
  app.addHook('onSend', (_request, reply, _payload, next) => {
    const body = largeBodies.get(reply)
    if (body === undefined) return next()
    largeBodies.delete(reply)
    // Without a content-length, because a hook that comes later may make something else of the body.
    body.made.then(() => {
      body.onMade()
      next()
    })
  })
}

/**
 * A payload as JSON, up to where the results are and from there; the whole of it where they are not in it. Where they are
 * in it twice, the second is empty.
 */
export function textAround (payload: unknown, results: readonly unknown[]): [head: string, tail?: string] {
  const marker = randomUUID()
  const text = JSON.stringify(payload, (_, value: unknown) => value === results ? marker : value) as string | undefined ?? 'null'
  const [head, tail, ...more] = text.split(JSON.stringify(marker))
  return tail === undefined ? [text] : [head!, [tail, ...more].join('[]')]
}

/** The frame of a body that has nothing but the results. */
export function plainFrame (envelope: string): Frame {
  return { head: `{${JSON.stringify(envelope)}:`, tail: '}' }
}
