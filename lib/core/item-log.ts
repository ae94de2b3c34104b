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
    log.error({ ...describeThrown(thrown), code, index, key }, 'item failed')
  } catch {
    // What was thrown throws itself when it is looked at.
    log.error({ err: { message: 'it cannot be shown' }, code, index, key }, 'item failed')
  }
}

/** What a logger can show of anything thrown; of a cause it shows an error only, so that any other has its own member. */
function describeThrown (thrown: unknown): { err: unknown, cause?: string } {
  if (!(thrown instanceof Error)) return { err: { message: inspect(thrown, { depth: 1 }) } }
  const { cause } = thrown
  return { err: thrown, ...(cause !== undefined && !(cause instanceof Error) && { cause: inspect(cause, { depth: 1 }) }) }
}
