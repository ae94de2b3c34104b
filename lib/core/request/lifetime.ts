// Aborts a batch when its client disconnects or the app closes. Makes `reply.batchSignal`.
import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { notRun } from '../../errors.js'
import { waitAtMost } from '../settle/wait.js'

/** The batches in progress of one app. */
export interface Lifetime {
  /**
   * `reply.batchSignal`: aborts when the client disconnects before it has its answer, and when the app closes and the
   * grace period is over. A reply has one signal, which is made when it is first asked for and needs no clean-up.
   */
  batchSignal (this: FastifyReply): AbortSignal
  /** Milliseconds that are left of the grace period when the app closes. */
  graceLeft (): number
}

/** Milliseconds to send the answers of batches that the closing has ended. Connections that take longer are cut off. */
const FLUSH_TIMEOUT = 1_000

/**
 * Follows the batches of an app, and lets `app.close()` wait for them.
 * @param grace milliseconds that batches have to end by themselves when the app closes
 */
export function followBatches (app: FastifyInstance, grace: number): Lifetime {
  const signals = new WeakMap<FastifyReply, AbortSignal>()
  const active = new Set<InProgress>()
  let isClosing = false
  let isOver = false
  let end = Infinity

  app.addHook('preClose', async () => {
    isClosing = true
    end = performance.now() + grace
    for (const { reply } of active) closeConnection(reply)
    await waitAtMost(allAnswered(active), grace)
    isOver = true
    for (const { controller } of active) controller.abort(serverClosing())
    await waitAtMost(allAnswered(active), FLUSH_TIMEOUT)
    for (const { reply: { raw } } of [...active]) if (raw.headersSent) raw.destroy()
  })

  function follow (reply: FastifyReply): AbortSignal {
    const controller = new AbortController()
    const { raw } = reply
    if (isGone(raw)) controller.abort(clientGone())
    else {
      // A request whose body has come in while the app closes.
      if (isClosing) closeConnection(reply)
      if (isOver) controller.abort(serverClosing())
      const batch = { controller, reply }
      active.add(batch)
      raw.on('close', () => {
        active.delete(batch)
        if (!raw.writableEnded) controller.abort(clientGone())
      })
    }
    return controller.signal
  }

  return {
    graceLeft: () => Math.max(0, Math.min(grace, end - performance.now())),
    batchSignal () {
      const signal = signals.get(this) ?? follow(this)
      signals.set(this, signal)
      return signal
    }
  }
}

const clientGone = () => notRun('Client disconnected')
const serverClosing = () => notRun('Server closing')

/** Whether the connection or stream of a response has closed; over HTTP/2 only its stream knows. */
function isGone (raw: ServerResponse | Http2ServerResponse): boolean {
  return 'stream' in raw ? raw.stream.destroyed : raw.destroyed
}

/** Has the connection closed after the answer, because the app would wait for one that is idle again. HTTP/2 has other ways. */
function closeConnection (reply: FastifyReply): void {
  if (!reply.raw.headersSent && reply.request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
}

/** A batch whose answer has not been sent to its end. */
interface InProgress {
  readonly controller: AbortController
  readonly reply: FastifyReply
}

/** Resolves when no batch is in progress any more, also none that began after this was called. */
async function allAnswered (active: ReadonlySet<InProgress>): Promise<void> {
  while (active.size > 0) await Promise.all([...new Set([...active].map(({ reply }) => reply.raw))].map(closed))
}

function closed (raw: FastifyReply['raw']): Promise<unknown> {
  return new Promise(resolve => raw.once('close', resolve))
}
