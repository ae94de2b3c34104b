// Logs why an item failed, for what the client is not told.
import { inspect } from 'node:util'
import type { FastifyBaseLogger } from 'fastify'
import type { FailureDetail, Key } from '../../schemas/index.js'

/** Logs a failure with a 5xx status; a client's own mistakes are not worth a line each. */
export function logItemFailure (
  log: FastifyBaseLogger, { code, statusCode = 500 }: FailureDetail, thrown: unknown, index: number, key: Key | null
): void {
  if (statusCode >= 500) log.error({ err: describeThrown(thrown), code, index, key }, 'item failed')
}

/** What a logger can show of anything thrown. */
function describeThrown (thrown: unknown): unknown {
  return thrown instanceof Error ? thrown : { type: typeof thrown, message: inspect(thrown, { depth: 1 }) }
}
