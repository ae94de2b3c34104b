// Asks the app before the handler whether the request may process an item.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Key } from '../../../schemas/index.js'
import { forbidden, InvalidItems, toFailure } from '../../errors.js'
import { isThenable } from '../settle/attempt.js'
import { failureLoggerOf, recordFailure } from '../results/failure-log.js'
import { pointerTo } from './validator.js'
import type { Batch } from './batch.js'
import { settle, type WorkerContext } from '../settle/settle.js'
import type { SettleOptions } from '../settle/options.js'

/** The item that `authorize` decides about. */
export interface ItemAccess {
  readonly request: FastifyRequest
  /** Null if the item has no valid key. */
  readonly key: Key | null
  /** The index of the item in the request, from 0. */
  readonly index: number
}

/**
 * Returns whether the request may process the item. Any other value than true, also a forgotten `return`, forbids it:
 * the item fails with 403 and `ITEM_FORBIDDEN`. It can throw an ItemError to fail the item with another message. Any
 * other error fails the item too, and is masked as an internal error.
 */
export type Authorize<T> = (item: T, access: ItemAccess) => boolean | Promise<boolean>

type Handler<T, C> = (item: T, context: C) => unknown

/** Makes a handler that authorizes the item first, within the item's timeout and in every attempt. */
export function withAuthorization<T, C extends ItemAccess & WorkerContext> (handler: Handler<T, C>, authorize: Authorize<T> | undefined): Handler<T, C> {
  if (authorize === undefined) return handler
  return (item, context) => {
    const authorized = checkAccess(authorize, item, context)
    if (!isThenable(authorized)) return handler(item, context)
    return Promise.resolve(authorized).then(() => {
      // The item may have timed out meanwhile.
      context.signal.throwIfAborted()
      return handler(item, context)
    })
  }
}

/**
 * Calls `authorize`.
 * @throws ItemError, or rejects with it, if the item is forbidden
 */
function checkAccess<T> (authorize: Authorize<T>, item: T, { request, key, index }: ItemAccess): void | Promise<void> {
  const answer: unknown = authorize(item, { request, key, index })
  return isThenable(answer) ? Promise.resolve(answer).then(expectTrue) : expectTrue(answer)
}

function expectTrue (answer: unknown): void {
  if (answer !== true) throw forbidden()
}

/**
 * Authorizes every valid item before the first one runs, for `Prefer: handling=strict`. One forbidden item refuses the
 * whole batch.
 * @param member the member of the body that holds the items; undefined if the body is the array
 * @throws FST_MULTI_STATUS_INVALID_ITEMS with an error for every forbidden item
 */
export async function expectAllAllowed<T> (
  authorize: Authorize<T>, { total, items, places, keys }: Batch, member: string | undefined, reply: FastifyReply, how: SettleOptions<T>
): Promise<void> {
  const { request } = reply
  const outcomes = await settle(items as T[], (item, { index }) =>
    checkAccess(authorize, item, { request, key: keys[places[index]!]!, index: places[index]! }), how)
  const logger = failureLoggerOf(reply)
  const errors = outcomes.flatMap((outcome, index) => {
    if (outcome.status === 'fulfilled') return []
    const [place, failure] = [places[index]!, toFailure(outcome.reason)]
    recordFailure(logger, failure, outcome.reason, place, keys[place]!)
    return [{ pointer: `${pointerTo('', member)}/${place}`, detail: failure.message }]
  })
  if (errors.length > 0) throw Object.assign(new InvalidItems(errors.length, total), { errors })
}
