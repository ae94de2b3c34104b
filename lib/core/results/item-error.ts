// What an app is told of the errors that items have failed with.
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { FailureDetail, Key } from '../../../schemas/index.js'
import { configOf } from '../request/received.js'
import { logItemFailure } from './failure-log.js'

/** The item that has failed. */
export interface FailedItem {
  /** Its place in the request, from 0. */
  readonly index: number
  /** Null where it has none that can be used. */
  readonly key: Key | null
  /** Null for a task: it may run after its request, or in another process. */
  readonly request: FastifyRequest | null
}

/**
 * Called once for every item that an error has failed, with whatever was thrown, whether or not the client is told of it;
 * not for items that were invalid. Nobody waits for what it returns, and what it throws is logged.
 */
export type OnItemError = (error: unknown, item: FailedItem) => void | Promise<void>

/** Where failures of items are noted: in the log, and with the app. */
export interface FailureBook {
  readonly log: FastifyBaseLogger
  readonly request: FastifyRequest | null
  readonly onItemError: OnItemError | undefined
}

/** The book for the batch that a reply is the answer to. */
export function bookOf ({ request, log }: FastifyReply): FailureBook {
  return { log, request, onItemError: configOf(request).onItemError }
}

/** Notes that an item has failed, and why. Never throws. */
export function noteFailure ({ log, request, onItemError }: FailureBook, failure: FailureDetail, thrown: unknown, index: number, key: Key | null): void {
  logItemFailure(log, failure, thrown, index, key)
  if (onItemError !== undefined) call(onItemError, thrown, { index, key, request }, log)
}

async function call (onItemError: OnItemError, thrown: unknown, item: FailedItem, log: FastifyBaseLogger): Promise<void> {
  try {
    await onItemError(thrown, item)
  } catch (err) {
    log.error({ err, index: item.index }, 'onItemError has failed')
  }
}

/** Gives the hook to every route of the app that has none of its own. */
export function prepareItemErrors (app: FastifyInstance, onItemError: OnItemError | undefined): void {
  if (onItemError === undefined) return
  app.addHook('onRoute', route => { route.config = { onItemError, ...route.config } })
}
