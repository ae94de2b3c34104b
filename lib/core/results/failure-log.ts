// Records that items have failed: in the log, for what the client is not told, and with the `onItemError` hook of the app.
import { inspect } from 'node:util'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { FailureDetail, Key } from '../../../schemas/index.js'
import { configOf } from '../request/received.js'

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

/** Where the failures of a batch are recorded. */
export interface FailureLogger {
  readonly log: FastifyBaseLogger
  readonly request: FastifyRequest | null
  readonly onItemError: OnItemError | undefined
}

/** The failure logger of the batch that a reply is the answer to. */
export function failureLoggerOf ({ request, log }: FastifyReply): FailureLogger {
  return { log, request, onItemError: configOf(request).onItemError }
}

/** Records that an item has failed, and why. Never throws. */
export function recordFailure ({ log, request, onItemError }: FailureLogger, failure: FailureDetail, thrown: unknown, index: number, key: Key | null): void {
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

/** Logs a failure with a 5xx status; a client's own mistakes are not worth a line each. */
function logItemFailure (
  log: FastifyBaseLogger, { code, statusCode = 500 }: FailureDetail, thrown: unknown, index: number, key: Key | null
): void {
  if (statusCode < 500) return
  const which = { code, index, key: showKey(key) }
  try {
    log.error({ ...describeThrown(thrown), ...which }, 'item failed')
  } catch {
    // What was thrown throws itself when it is looked at.
    log.error({ err: { message: 'it cannot be shown' }, ...which }, 'item failed')
  }
}

/**
 * What JSON leaves as it is, and those who read a log may take for the end of a line, for a command to their terminal or
 * for a change of direction.
 */
const MISLEADING = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** Most keys; they are told from the others in less time than it takes to look for what is to be replaced. */
const PLAIN = /^[ -~]*$/

/** Characters of a key that a line shows. */
const LENGTH = 64

/** A key as the log has it; it is the client's, so that anything can be in it, and it can be of any length. */
export function showKey (key: Key | null): Key | null {
  if (typeof key !== 'string') return key
  const start = key.length > LENGTH ? `${key.slice(0, LENGTH)}...` : key
  if (PLAIN.test(start)) return start
  return start.replace(MISLEADING, one => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** What a logger can show of anything thrown; of a cause it shows an error only, so that any other has its own member. */
function describeThrown (thrown: unknown): { err: unknown, cause?: string } {
  if (!(thrown instanceof Error)) return { err: { message: inspect(thrown, { depth: 1 }) } }
  const { cause } = thrown
  return { err: thrown, ...(cause !== undefined && !(cause instanceof Error) && { cause: inspect(cause, { depth: 1 }) }) }
}
