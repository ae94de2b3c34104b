// Logs why an item failed, for what the client is not told.
import { inspect } from 'node:util'
import type { FastifyBaseLogger } from 'fastify'
import type { FailureDetail, Key } from '../../../schemas/index.js'

/** Logs a failure with a 5xx status; a client's own mistakes are not worth a line each. */
export function logItemFailure (
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
const TREACHEROUS = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** Most keys; they are told from the others in less time than it takes to look for what is to be replaced. */
const PLAIN = /^[ -~]*$/

/** Characters of a key that a line shows. */
const LENGTH = 64

/** A key as the log has it; it is the client's, so that anything can be in it, and it can be of any length. */
export function showKey (key: Key | null): Key | null {
  if (typeof key !== 'string') return key
  const start = key.length > LENGTH ? `${key.slice(0, LENGTH)}...` : key
  if (PLAIN.test(start)) return start
  return start.replace(TREACHEROUS, one => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** What a logger can show of anything thrown; of a cause it shows an error only, so that any other has its own member. */
function describeThrown (thrown: unknown): { err: unknown, cause?: string } {
  if (!(thrown instanceof Error)) return { err: { message: inspect(thrown, { depth: 1 }) } }
  const { cause } = thrown
  return { err: thrown, ...(cause !== undefined && !(cause instanceof Error) && { cause: inspect(cause, { depth: 1 }) }) }
}
