// The body of an answer: in one piece as long as it is small; a large one is made piece by piece, so that others get
// their turn in between, and sent when it is known what its header has to say.
import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Serialization } from '../results/serializer.js'
import type { Frame } from '../results/serializer.js'

/** Up to so many bytes, an answer is made in one go: they take some milliseconds. */
const SMALL = 1024 * 1024

/** And a larger one in pieces of so many. */
const PIECE = 256 * 1024

/** A large body in the making. */
interface LargeBody {
  /** Resolves when all of it is made. */
  readonly made: Promise<void>
  /** To be called then. */
  readonly onMade: () => void
}

const inTheMaking = new WeakMap<FastifyReply, LargeBody>()

/**
 * Makes the body of an answer.
 * @param onMade called when it is known of every result what became of it, and before anything is sent
 */
export function makeBody (reply: FastifyReply, serialization: Serialization, onMade: () => void): string | Readable {
  const { piece, isLast } = serialization.next(SMALL)
  if (isLast) {
    onMade()
    return piece as string
  }
  const pieces = [piece]
  const made = makePieces(reply, serialization, pieces)
  inTheMaking.set(reply, { made, onMade })
  return Readable.from(afterwards(made, pieces), { objectMode: false })
}

/** Stops when nobody waits for the answer any more. */
async function makePieces ({ raw }: FastifyReply, serialization: Serialization, pieces: (string | Buffer)[]): Promise<void> {
  for (let isLast = false; !isLast && !raw.destroyed;) {
    await setImmediate()
    const next = serialization.next(PIECE)
    pieces.push(next.piece)
    isLast = next.isLast
  }
}

/** A client that reads as fast as is written to it would take all of them in one turn of the event loop. */
async function * afterwards (made: Promise<void>, pieces: readonly (string | Buffer)[]): AsyncGenerator<string | Buffer> {
  await made
  for (const piece of pieces) {
    yield piece
    await setImmediate()
  }
}

/** Lets the sending of large bodies wait until they are made, so that their header tells what is in them. */
export function awaitLargeBodies (app: FastifyInstance): void {
  app.addHook('onSend', (_request, reply, _payload, next) => {
    const body = inTheMaking.get(reply)
    if (body === undefined) return next()
    inTheMaking.delete(reply)
    // Without a content-length, because a hook that comes later may make something else of the body.
    body.made.then(() => {
      body.onMade()
      next()
    })
  })
}

/**
 * A payload as JSON, up to where the results are to be written and from there; the whole of it where they are not in it.
 * Were they in it twice, the second time would be empty.
 */
export function textAround (payload: unknown, results: readonly unknown[]): [head: string, tail?: string] {
  const marker = randomUUID()
  const text = JSON.stringify(payload, (_, value: unknown) => value === results ? [marker] : value) as string | undefined ?? 'null'
  const [head, tail, ...more] = text.split(JSON.stringify(marker))
  return tail === undefined ? [text] : [head!, [tail, ...more].join('')]
}

/** By envelope, of which an app has a few. */
const plainFrames = new Map<string, Frame>()

/** The frame of a body that has nothing but the results. */
export function plainFrame (envelope: string): Frame {
  const known = plainFrames.get(envelope)
  if (known !== undefined) return known
  const frame = { head: `{${JSON.stringify(envelope)}:[`, tail: ']}' }
  plainFrames.set(envelope, frame)
  return frame
}
