// A whole bulk route: what it takes, what does the work of one item, and how.
import { Type, type Static, type TSchema } from '@sinclair/typebox'
import type { FastifyReply, RouteOptions } from 'fastify'
import type { AnyContract, Contract, SuccessData, Vocabulary } from '../../schemas/index.js'
import { InvalidOption, NotRegistered } from '../errors.js'
import type { Watch } from './settle/attempt.js'
import { authorizing, expectAllAllowed, type Authorize } from './items/authorize.js'
import { checkContract, checkInteger, checkOptions, functionOf, integer, objectOf, optional, show } from './options.js'
import type { EndSignal } from './settle/end-signal.js'
import type { IdempotencyOptions } from './idempotency/options.js'
import { DEFAULT_MAX_ITEMS } from './items/body-schema.js'
import { RequestItemAttempt, type ItemContext } from './settle/item-context.js'
import { bookOf, type OnItemError } from './results/item-error.js'
import type { Batch } from './items/batch.js'
import { settleSource } from './settle/pool.js'
import { endSignalOf } from './request/lifetime.js'
import { followReplaced } from './items/reordered.js'
import { readPreferences } from './request/preferences.js'
import type { StatusPolicy } from './reply/multi-status.js'
import { wordOutcome } from './results/assemble.js'
import type { RunOptions } from './settle/run.js'
import { checkSettleOptions, type SettleOptions } from './settle/options.js'
import { openSource } from './settle/source.js'
import type { LineItem } from './items/ndjson.js'
import { checkLineMembers, handleStream, type StreamSettings } from './stream-route.js'

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

/** What a stream may have. */
export interface StreamOptions {
  /** How many items run; each one more fails alone. @default no limit */
  maxItems?: number
  /** How many bytes a line may have; one that is longer fails alone. @default 1048576 */
  maxLineBytes?: number
}

const DEFAULT_LINE_BYTES = 1024 * 1024

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
  const work: Work<I> = { contract: contract as AnyContract, item, how, perform: authorizing(handler, authorize) }
  const own = { ...(onItemError !== undefined && { onItemError }), ...(idempotency !== undefined && { idempotency }) }
  const shared = { ...route, method, config: { ...config, ...own } }
  const streamRoute = stream === false ? undefined : streamingRoute({ ...shared, ...(schema && { schema }) }, work, stream === true ? {} : stream)

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
      ...(streamRoute && { multiStatusStreamRoute: streamRoute })
    },
    handler: async (request, reply) => {
      const batch = request.multiStatusBatch
      if (!batch) throw new NotRegistered(route.url)
      followReplaced(batch, request.body, contract.key)
      if (authorize !== undefined && readPreferences(request).strict) {
        await expectAllAllowed(authorize, batch, itemsIn, reply, { ...how, retries: 0, stopAfter: undefined, signal: reply.batchSignal() })
      }
      const results = new Array<unknown>(batch.total)
      const running = runBatch(reply, batch, results, work)
      if (running !== undefined) await running
      batch.results = results
      return reply.multiStatus(results, { status })
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

/** One by one, because spreading them would cost as much as settling an item. */
function withSignal<T> ({ concurrency, timeout, retries, backoff, stopAfter }: SettleOptions<T>, signal: EndSignal): RunOptions<T> {
  return { concurrency, timeout, retries, backoff, stopAfter, signal }
}

/**
 * Works through the valid items. It is known of each result whose it is, so that none is looked for by its key.
 * @param results gets a result for every item
 * @returns undefined where nothing has to be waited for
 */
function runBatch<I extends TSchema> (
  reply: FastifyReply, { items, places, keys, invalid }: Batch, results: unknown[], { contract, how, perform }: Work<I>
): Promise<void> | undefined {
  const { request } = reply
  const options = withSignal(how, endSignalOf(reply))
  const book = bookOf(reply)
  for (const [place, failure] of invalid) results[place] = contract.fail(keys[place]!, failure)
  const newAttempt = (_: unknown, index: number, attempt: number, how: Watch) =>
    new RequestItemAttempt(places[index]!, attempt, how, keys[places[index]!]!, request)
  return settleSource(openSource(items as Static<I>[]), perform, options, (outcome, index) => {
    const place = places[index]!
    results[place] = wordOutcome(outcome, contract, keys[place]!, place, book)
  }, newAttempt)
}

function streamingRoute<I extends TSchema> (
  route: Omit<RouteOptions, 'handler'>, { contract, item, how, perform }: Work<I>, { maxItems = Infinity, maxLineBytes = DEFAULT_LINE_BYTES }: StreamOptions
): RouteOptions {
  checkLineMembers(contract)
  if (maxItems !== Infinity) checkInteger('stream.maxItems', maxItems, 1)
  checkInteger('stream.maxLineBytes', maxLineBytes, 1)
  const { timeout } = how
  const settings: StreamSettings = {
    contract,
    item,
    limits: { maxItems, maxLineBytes },
    how: { ...how, timeout: typeof timeout === 'function' ? line => timeOf(line as LineItem, timeout) : timeout },
    perform
  }
  return {
    ...route,
    url: `${route.url.replace(/\/$/, '')}/stream`,
    config: { ...route.config, multiStatusStream: settings },
    handler: (request, reply) => handleStream(request, reply, settings)
  }
}

/** A line that has failed already takes no time. */
function timeOf<T> ({ item, failure }: LineItem, timeout: (item: T) => number | undefined): number | undefined {
  return failure === undefined ? timeout(item as T) : undefined
}
