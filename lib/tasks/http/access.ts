// Getting at a batch by its id: there, not expired, and for this client.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { BatchExpired, BatchNotFound } from '../../errors.js'
import type { BatchInfo } from '../engine.js'
import type { TasksSettings } from '../options.js'

/** What `randomUUID` makes; an engine is not asked for anything else. */
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Finds the batch that a request is about.
 * @throws FST_MULTI_STATUS_BATCH_NOT_FOUND or _BATCH_EXPIRED, and what `authorize` throws
 */
export async function findBatch (request: FastifyRequest, { engine, authorize }: TasksSettings): Promise<BatchInfo> {
  const { batchId } = request.params as { batchId: string }
  const found = ID.test(batchId) ? await engine.find(batchId) : undefined
  if (found === 'expired') throw new BatchExpired()
  if (found === undefined || !await authorize(request, found)) throw new BatchNotFound()
  return found
}

/** Seconds after which to come back, unless the error says it. */
const RETRY_AFTER = 1

/** Answers an error as Fastify does, and says of 503 when to come back. */
export function noteRetryAfter (_request: FastifyRequest, reply: FastifyReply, error: Error & { statusCode?: number, retryAfter?: number }): void {
  if (error.statusCode === 503) reply.header('retry-after', error.retryAfter ?? RETRY_AFTER)
}
