// Logs why an item failed, for what the client is not told.
import { inspect } from 'node:util'
import type { FastifyBaseLogger } from 'fastify'
import type { FailureDetail, Key } from '../../schemas/index.js'

/** Logs a failure with a 5xx status; a client's own mistakes are not worth a line each. */
export function logItemFailure (
  log: FastifyBaseLogger, { code, statusCode = 500 }: FailureDetail, thrown: unknown, index: number, key: Key | null
): void {
  if (statusCode < 500) return
  try {
    log.error({ ...describeThrown(thrown), code, index, key: showKey(key) }, 'item failed')
  } catch {
    // What was thrown throws itself when it is looked at.
    log.error({ err: { message: 'it cannot be shown' }, code, index, key: showKey(key) }, 'item failed')
  }
}

/** What a logger can show of anything thrown; of a cause it shows an error only, so that any other has its own member. */
function describeThrown (thrown: unknown): { err: unknown, cause?: string } {
  if (!(thrown instanceof Error)) return { err: { message: inspect(thrown, { depth: 1 }) } }
  const { cause } = thrown
  return { err: thrown, ...(cause !== undefined && !(cause instanceof Error) && { cause: inspect(cause, { depth: 1 }) }) }
}

/** Characters of a key that a line shows. */
const LENGTH = 64

/** What could pretend to be another line, or move the cursor of a terminal, or is none. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/gu

/** A key as a log may show it: it is the client's, and can be of any length and have anything in it. */
export function showKey (key: Key | null): Key | null {
  if (typeof key !== 'string') return key
  const start = key.length > LENGTH ? `${key.slice(0, LENGTH)}...` : key
  return start.replace(UNSAFE, '\uFFFD')
}
