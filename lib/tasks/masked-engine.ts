// An engine whose own mistakes stay on the server: what it throws reaches a client only if it was meant to.
import type { FastifyBaseLogger } from 'fastify'
import { EngineFailed } from '../errors.js'
import type { TaskEngine } from './engine.js'

/**
 * Wraps the methods that requests wait for. What they throw without a status of its own, which the errors of this package
 * have, and those of @fastify/error, is logged, and thrown as FST_MULTI_STATUS_ENGINE_FAILED.
 */
export function maskErrors (engine: TaskEngine, log: FastifyBaseLogger): TaskEngine {
  async function mask<R> (call: () => Promise<R>): Promise<R> {
    try {
      return await call()
    } catch (error) {
      if ((error as { statusCode?: unknown } | undefined)?.statusCode !== undefined) throw error
      log.error({ err: error }, 'the engine of the tasks has failed')
      throw new EngineFailed()
    }
  }

  return {
    pollInterval: engine.pollInterval,
    submit: batch => mask(() => engine.submit(batch)),
    find: batchId => mask(() => engine.find(batchId)),
    results: batchId => mask(() => engine.results(batchId)),
    settled: (batchId, after, limit) => mask(() => engine.settled(batchId, after, limit)),
    cancel: (batchId, waiting) => mask(() => engine.cancel(batchId, waiting)),
    remove: batchId => mask(() => engine.remove(batchId)),
    watch: (batchId, what, onHint) => engine.watch(batchId, what, onHint),
    close: grace => engine.close(grace)
  }
}
