// Finds the batch that a request asks for, and checks that the client may have it.
import { isDeepStrictEqual } from 'node:util'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { BatchExpired, BatchNotFound } from '../../errors.js'
import type { BatchInfo } from '../engine.js'
import type { TasksSettings } from '../options.js'

/** The form of a `randomUUID`. The engine is not asked for any other id. */
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

/** Seconds in `Retry-After`, unless the error says how many. */
const RETRY_AFTER = 1

/** An `errorHandler` step: adds `Retry-After` to an answer 503. */
export function setRetryAfter (_request: FastifyRequest, reply: FastifyReply, error: Error & { statusCode?: number, retryAfter?: number }): void {
  if (error.statusCode === 503) reply.header('retry-after', error.retryAfter ?? RETRY_AFTER)
}

type OwnerOf = (request: FastifyRequest) => unknown

/** Reads the owner of the new batch from the request. It is what JSON keeps of it, because an engine stores JSON. */
export function ownerOf (request: FastifyRequest, owner: OwnerOf | undefined): unknown {
  const text = JSON.stringify(owner?.(request))
  return text === undefined ? undefined : JSON.parse(text)
}

/** Makes the default `authorize`: only requests of the same owner may have the batch. */
export function isSameOwner (owner: OwnerOf | undefined) {
  return (request: FastifyRequest, batch: BatchInfo): boolean => isDeepStrictEqual(ownerOf(request, owner), batch.owner)
}
