// How long a batch may run: until its client is gone or the app closes.
import type { FastifyInstance, FastifyReply } from 'fastify'
import { notRun } from '../../errors.js'
import { createEnder, type EndSignal, type Ender } from '../settle/end-signal.js'
import { createRoster, type Roster } from './roster.js'
import { within } from '../settle/timeout.js'

/** The member of replies that gives the signal itself, of which `batchSignal` makes an AbortSignal. */
export const END_SIGNAL = Symbol('fastify-multi-status.end-signal')

/** When the batch of a reply is to end. */
export function endSignalOf (reply: FastifyReply): EndSignal {
  return (reply as unknown as Record<typeof END_SIGNAL, () => EndSignal>)[END_SIGNAL]()
}

/** The batches in progress of one app. */
export interface Lifetime {
  /**
   * A signal that aborts when the client disconnects before it has its answer, and when the app closes and the grace
   * period is over. It needs no clean-up.
   */
  signalFor (reply: FastifyReply): EndSignal
  /** Milliseconds that are left of the grace period when the app closes. */
  graceLeft (): number
}

/**
 * Follows the batches of an app, and lets `app.close()` wait for them.
 * @param grace milliseconds that batches have to end by themselves when the app closes
 */
export function followBatches (app: FastifyInstance, grace: number): Lifetime {
  const active = createRoster<InProgress>()
  let isClosing = false
  let isOver = false
  let end = Infinity

  app.addHook('preClose', async () => {
    isClosing = true
    end = performance.now() + grace
    for (const { reply } of active.all()) closeConnection(reply)
    await within(ended(active), grace)
    isOver = true
    for (const { ender } of active.all()) ender.abort(serverClosing())
    await within(ended(active), LAST_WORDS)
    for (const { reply: { raw } } of active.all()) if (raw.headersSent) raw.destroy()
  })

  return {
    graceLeft: () => Math.max(0, Math.min(grace, end - performance.now())),
    signalFor (reply) {
      const ender = createEnder()
      const abort = () => ender.abort(notRun('Client disconnected'))
      const { raw } = reply
      if (raw.destroyed) {
        abort()
        return ender.signal
      }
      // A request whose body came in only now.
      if (isClosing) closeConnection(reply)
      if (isOver) ender.abort(serverClosing())
      const leave = active.add({ ender, reply })
      // Not once, which costs a wrapper: it is closed no more than once.
      raw.on('close', () => {
        leave()
        if (!raw.writableFinished) abort()
      })
      return ender.signal
    }
  }
}

/** A batch whose answer has not been sent to its end. */
interface InProgress {
  readonly ender: Ender
  readonly reply: FastifyReply
}

/** After its answer, because the app would wait for a connection that is idle again. HTTP/2 has other ways. */
function closeConnection (reply: FastifyReply): void {
  if (!reply.raw.headersSent && reply.request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
}

const serverClosing = () => notRun('Server closing')

/** Resolves when no batch is in progress any more, also none that began after this was asked. */
async function ended (active: Roster<InProgress>): Promise<void> {
  for (let some = active.all(); some.length > 0; some = active.all()) await Promise.all([...new Set(some.map(({ reply }) => reply.raw))].map(closed))
}

function closed (raw: FastifyReply['raw']): Promise<unknown> {
  return new Promise(resolve => raw.once('close', resolve))
}

/** Milliseconds to send the answers of batches that the closing has ended; who does not read theirs is cut off then. */
const LAST_WORDS = 1_000
