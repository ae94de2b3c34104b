// reply.batchSignal: the signal for the work of a batch.
import type { FastifyReply } from 'fastify'
import { toAbortSignal } from '../settle/end-signal.js'
import type { Lifetime } from './lifetime.js'

/** Makes the `batchSignal` of an app's replies: one signal for each, as it may be asked for with every item. */
export function createBatchSignal ({ signalFor }: Pick<Lifetime, 'signalFor'>): (this: FastifyReply) => AbortSignal {
  const signals = new WeakMap<FastifyReply, AbortSignal>()
  return function batchSignal () {
    const signal = signals.get(this) ?? toAbortSignal(signalFor(this))
    signals.set(this, signal)
    return signal
  }
}
