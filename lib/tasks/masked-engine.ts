// An engine whose own mistakes stay on the server: what it throws reaches a client only if it was meant to.
import type { FastifyBaseLogger } from 'fastify'
import { EngineFailed } from '../errors.js'
import type { TaskEngine } from './engine.js'

/**
 * Wraps the methods that requests wait for, so that they throw what {@link maskError} makes of it; but for `submit`, whose
 * errors are looked at first.
 */
export function maskErrors (engine: TaskEngine, log: FastifyBaseLogger): TaskEngine {
  async function mask<R> (call: () => Promise<R>): Promise<R> {
    try {
      return await call()
    } catch (error) {
      throw maskError(error, log)
    }
  }

  return {
    pollInterval: engine.pollInterval,
    submit: batch => engine.submit(batch),
    find: batchId => mask(() => engine.find(batchId)),
    results: batchId => mask(() => engine.results(batchId)),
    settled: (batchId, after, limit) => mask(() => engine.settled(batchId, after, limit)),
    cancel: (batchId, waiting) => mask(() => engine.cancel(batchId, waiting)),
    remove: batchId => mask(() => engine.remove(batchId)),
    watch: (batchId, what, onHint) => engine.watch(batchId, what, onHint),
    close: grace => engine.close(grace)
  }
}

/**
 * What a request may be told of an error of an engine: all of one with a status of its own, as the errors of this package
 * and those of @fastify/error have; any other is logged, and is FST_MULTI_STATUS_ENGINE_FAILED.
 */
export function maskError (error: unknown, log: FastifyBaseLogger): unknown {
  if ((error as { statusCode?: unknown } | undefined)?.statusCode !== undefined) return error
  log.error({ err: error }, 'the engine of the tasks has failed')
  return new EngineFailed()
}
