// Whether an item may be worked on at all, asked of the app before the handler.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Key } from '../../../schemas/index.js'
import { forbidden, InvalidItems, toFailure } from '../../errors.js'
import { isThenable } from '../settle/attempt.js'
import { failureLoggerOf, recordFailure } from '../results/failure-log.js'
import { pointerTo } from './validator.js'
import type { Batch } from './batch.js'
import { settle, type WorkerContext } from '../settle/settle.js'
import type { SettleOptions } from '../settle/options.js'

/** What is known of an item that asks to be worked on. */
export interface ItemAccess {
  readonly request: FastifyRequest
  /** Null where it has none that can be used. */
  readonly key: Key | null
  /** Its place in the request, from 0. */
  readonly index: number
}

/**
 * Whether a request may do this with this item. Anything but true, as what somebody forgot to return, forbids it: it
 * fails alone with 403 and `ITEM_FORBIDDEN`. An ItemError that is thrown says it in words of its own; anything else that
 * is thrown is masked as an internal error, and forbids it too.
 */
export type Authorize<T> = (item: T, access: ItemAccess) => boolean | Promise<boolean>

type Handler<T, C> = (item: T, context: C) => unknown

/** Puts the question before the handler, within the time of the item, and again for each further attempt. */
export function authorizing<T, C extends ItemAccess & WorkerContext> (handler: Handler<T, C>, authorize: Authorize<T> | undefined): Handler<T, C> {
  if (authorize === undefined) return handler
  return (item, context) => {
    const answer = ask(authorize, item, context)
    if (!isThenable(answer)) return handler(item, context)
    return Promise.resolve(answer).then(() => {
      // Its time may have been up before the answer came.
      context.signal.throwIfAborted()
      return handler(item, context)
    })
  }
}

/** @throws ItemError, at once or as a rejection, unless the item may be worked on */
export function ask<T> (authorize: Authorize<T>, item: T, { request, key, index }: ItemAccess): void | Promise<void> {
  const answer: unknown = authorize(item, { request, key, index })
  return isThenable(answer) ? Promise.resolve(answer).then(expectTrue) : expectTrue(answer)
}

function expectTrue (answer: unknown): void {
  if (answer !== true) throw forbidden()
}

/**
 * Asks for every valid item before the first one runs, for `Prefer: handling=strict`: an item that is forbidden refuses
 * the batch as one that is invalid does.
 * @param member of the body that holds the items; undefined when the body itself does
 * @throws FST_MULTI_STATUS_INVALID_ITEMS with an error for every item that may not be worked on
 */
export async function expectAllAllowed<T> (
  authorize: Authorize<T>, { total, items, places, keys }: Batch, member: string | undefined, reply: FastifyReply, how: SettleOptions<T>
): Promise<void> {
  const { request } = reply
  const outcomes = await settle(items as T[], (item, { index }) =>
    ask(authorize, item, { request, key: keys[places[index]!]!, index: places[index]! }), how)
  const book = failureLoggerOf(reply)
  const errors = outcomes.flatMap((outcome, index) => {
    if (outcome.status === 'fulfilled') return []
    const [place, failure] = [places[index]!, toFailure(outcome.reason)]
    recordFailure(book, failure, outcome.reason, place, keys[place]!)
    return [{ pointer: `${pointerTo('', member)}/${place}`, detail: failure.message }]
  })
  if (errors.length > 0) throw Object.assign(new InvalidItems(errors.length, total), { errors })
}
