// Adds the plugin's decorators and route config to Fastify's types.
import type { RouteOptions } from 'fastify'
import type { AnyContract } from '../../../schemas/index.js'
import type { IdempotencyOptions } from '../idempotency/options.js'
import type { Batch } from '../items/batch.js'
import type { OnItemError } from '../results/failure-log.js'
import type { MultiStatusOptions, Results } from './multi-status.js'
import type { StreamSettings } from '../stream-route.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The words of this route's results, which makes it a bulk route. */
    multiStatus?: AnyContract
    /** Whether requests of a batch may reach this route; false also against the plugin's `batch.allow`. */
    batch?: boolean
    /** How this bulk route honours `Idempotency-Key`; false for not at all. @default the plugin's `idempotency` option */
    idempotency?: IdempotencyOptions | false
    /** What makes a route a streaming operation; `bulkRoute` sets it. */
    multiStatusStream?: StreamSettings
    /** The streaming operation of a route; `bulkRoute` sets it. */
    multiStatusStreamRoute?: RouteOptions
    /** Called for every item of this route that an error has failed. @default the plugin's `onItemError` option */
    onItemError?: OnItemError
  }

  interface FastifyRequest {
    /** The items of a bulk request, once its body has been read; null elsewhere. */
    multiStatusBatch: Batch | null
    /** When the request was received, in the milliseconds of `performance.now()`. */
    multiStatusStart: number
  }

  interface FastifyReply {
    /**
     * Answers 207 Multi-Status with one result per item.
     * @param results results, outcomes of `settle` or `Promise.allSettled`, or an async iterable of either
     * @param options see {@link MultiStatusOptions}
     * @example reply.multiStatus(await Promise.allSettled(request.body.map(save)))
     */
    multiStatus (results: Results, options?: MultiStatusOptions): FastifyReply
    /**
     * A signal for the work of a batch: aborts when the client disconnects before it has its answer, and when the app
     * closes and the grace period is over.
     */
    batchSignal (): AbortSignal
  }
}
