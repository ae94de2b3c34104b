// bulkRoute: makes a route that takes many items, runs a handler for each, and answers with one result for each.
import { Type, type Static, type TSchema } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { AnyContract, Contract, SuccessData, Vocabulary } from '../../schemas/index.js'
import { InvalidOption, NotRegistered } from '../errors.js'
import { checkContract, checkOptions, functionOf, integer, objectOf, optional, show } from './options.js'
import { readPreferences } from './request/preferences.js'
import { withAuthorization, expectAllAllowed, type Authorize } from './items/authorize.js'
import type { Batch } from './items/batch.js'
import { DEFAULT_MAX_ITEMS } from './items/body-schema.js'
import { applyReplacedItems } from './items/reordered.js'
import { RequestItemContext, type ItemContext } from './settle/attempt.js'
import { checkSettleOptions, type SettleOptions } from './settle/options.js'
import { settleSource } from './settle/pool.js'
import { openSource } from './settle/source.js'
import { formatOutcome } from './results/assemble.js'
import { failureLoggerOf, type OnItemError } from './results/failure-log.js'
import type { StatusPolicy } from './reply/multi-status.js'
import type { IdempotencyOptions } from './idempotency/options.js'
import { streamRoute, type StreamOptions, type StreamWork } from './stream-route.js'

export type { StreamOptions } from './stream-route.js'

/** What a handler may return: what a success carries, or nothing where the contract asks for nothing. */
export type HandlerResult<V extends Vocabulary> =
  Record<never, never> extends SuccessData<V> ? SuccessData<V> | void : SuccessData<V>

/** What a bulk route is made of. Other options are Fastify's own, as hooks, `bodyLimit` or `config`. */
export interface BulkRouteOptions<I extends TSchema, V extends Vocabulary> extends
  Omit<RouteOptions, 'method' | 'handler'>, Omit<SettleOptions<Static<I>>, 'signal'> {
  /** @default 'POST' */
  method?: RouteOptions['method']
  /** The words of the results. */
  contract: Contract<V>
  /** The schema of one item. Of a union whose branches differ in one constant, only the branch that is meant is checked. */
  item: I
  /** The member of the body that holds the items. @default the body itself is the array */
  itemsIn?: string
  /** How many items a request may have. @default 1000 */
  maxItems?: number
  /** Milliseconds that one attempt of an item may take. @default 30000 */
  timeout?: SettleOptions<Static<I>>['timeout']
  /** @default the plugin's `status` option */
  status?: StatusPolicy
  /** How `Idempotency-Key` is honoured, which a stream refuses; false for not at all. @default the plugin's `idempotency` option */
  idempotency?: IdempotencyOptions | false
  /** Whether a request may do this with this item; if not, it alone fails with 403. @default it may */
  authorize?: Authorize<Static<I>>
  /** Called for every item that an error has failed. @default the plugin's `onItemError` option */
  onItemError?: OnItemError
  /** Adds the streaming operation at `<url>/stream`: NDJSON in, NDJSON out, for more items than fit into memory. @default false */
  stream?: boolean | StreamOptions
  /** Does the work of one item: what it returns goes into the success, what it throws becomes the failure. */
  handler: (item: Static<I>, context: ItemContext) => HandlerResult<V> | Promise<HandlerResult<V>>
}

/** Milliseconds that an item may take when nobody says otherwise. */
export const DEFAULT_TIMEOUT = 30_000

/**
 * Makes the options of a route whose request carries many items and whose answer tells what became of each. Items are
 * validated one by one; `handler` runs for the valid ones, at most `concurrency` at a time, each within `timeout`.
 * When the client disconnects or the app closes, what runs is aborted and what has not started is not run.
 *
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when an option is not what it should be
 * @example
 *   app.route(bulkRoute({
 *     url: '/contacts', contract: contacts, item: Contact, concurrency: 16, timeout: 2_000,
 *     handler: async contact => ({ contactId: await db.insert(contact) })
 *   }))
 */
export function bulkRoute<I extends TSchema, V extends Vocabulary> (options: BulkRouteOptions<I, V>): RouteOptions {
  const {
    contract, item, itemsIn, maxItems = DEFAULT_MAX_ITEMS, status, stream = false, handler, authorize, onItemError, idempotency,
    concurrency, timeout = DEFAULT_TIMEOUT, retries, backoff, stopAfter, method = 'POST', schema, config, ...route
  } = options
  checkRoute(options)
  const how = checkSettleOptions({ concurrency, timeout, retries, backoff, stopAfter })
  const items = Type.Array(item, { minItems: 1, maxItems })
  const work: Work<I> = { contract: contract as AnyContract, item, how, perform: withAuthorization(handler, authorize) }
  const own = { ...(onItemError !== undefined && { onItemError }), ...(idempotency !== undefined && { idempotency }) }
  const shared = { ...route, method, config: { ...config, ...own } }
  const streaming = stream === false
    ? undefined
    : streamRoute({ ...shared, ...(schema && { schema }) }, work as unknown as StreamWork, stream === true ? {} : stream)

  return {
    ...shared,
    schema: {
      ...schema,
      body: itemsIn === undefined ? items : Type.Object({ [itemsIn]: items }),
      response: { ...(status === 'collapse' && { 200: contract.schemas.body }), ...schema?.response as object }
    },
    config: {
      ...shared.config,
      multiStatus: contract as AnyContract,
      ...(streaming && { multiStatusStreamRoute: streaming })
    },
    handler: async (request, reply) => {
      const { strict } = readPreferences(request)
      const batch = takeBatch(request, contract.key)
      if (strict && authorize !== undefined) {
        await expectAllAllowed(authorize, batch, itemsIn, reply, { ...how, retries: 0, stopAfter: undefined, signal: reply.batchSignal() })
      }
      batch.results = await settleBatch(reply, batch, work)
      return reply.multiStatus(batch.results, { status })
    }
  }
}

/** The options that are neither Fastify's nor those of settle. */
const SCHEMA = Type.Object({
  item: objectOf('the schema of one item'),
  itemsIn: optional(Type.String(), { expected: 'the name of a member of the body' }),
  maxItems: optional(integer(1), {}),
  stream: optional(Type.Union([Type.Boolean(), objectOf('options')]), { expected: 'true, false or an object of options' }),
  authorize: optional(functionOf(), {}),
  onItemError: optional(functionOf(), {}),
  handler: functionOf('a function that does the work of one item')
})

/** @throws FST_MULTI_STATUS_INVALID_OPTION for what neither a default nor Fastify would stand in for */
function checkRoute<I extends TSchema, V extends Vocabulary> (options: BulkRouteOptions<I, V>): void {
  checkContract('contract', options.contract)
  checkOptions(SCHEMA, options)
  const body = options.schema?.body
  if (body !== undefined) throw new InvalidOption('schema.body', 'left out, as item describes the items', show(body))
}

/** The work of a route, whichever way its items come. */
interface Work<I extends TSchema> {
  readonly contract: AnyContract
  readonly item: I
  readonly how: SettleOptions<Static<I>>
  readonly perform: (item: Static<I>, context: ItemContext) => unknown
}

/**
 * Reads the items that the plugin has validated, as hooks have left them.
 * @param key the member of an item that is its key
 * @throws FST_MULTI_STATUS_NOT_REGISTERED
 */
function takeBatch (request: FastifyRequest, key: string): Batch {
  const batch = request.multiStatusBatch
  if (!batch) throw new NotRegistered(request.routeOptions.url!)
  applyReplacedItems(batch, request.body, key)
  return batch
}

/** Runs the handler for each valid item. @returns a result for each item, in request order */
async function settleBatch<I extends TSchema> (
  reply: FastifyReply, { total, items, places, keys, invalid }: Batch, { contract, how, perform }: Work<I>
): Promise<unknown[]> {
  const { request } = reply
  const logger = failureLoggerOf(reply)
  const results = new Array<unknown>(total)
  for (const [place, failure] of invalid) results[place] = contract.fail(keys[place]!, failure)
  await settleSource<Static<I>, unknown, ItemContext>({
    source: openSource(items as Static<I>[]),
    worker: perform,
    newContext: (_, index, attempt, controller) =>
      new RequestItemContext(places[index]!, attempt, controller, keys[places[index]!]!, request),
    options: { ...how, signal: reply.batchSignal() },
    deliver (outcome, index) {
      const place = places[index]!
      results[place] = formatOutcome(outcome, contract, keys[place]!, place, logger)
    }
  })
  return results
}
