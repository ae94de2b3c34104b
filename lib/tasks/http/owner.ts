// Whose a batch is.
import { isDeepStrictEqual } from 'node:util'
import type { FastifyRequest } from 'fastify'
import type { BatchInfo } from '../engine.js'

type OwnerOf = (request: FastifyRequest) => unknown

/** The owner of what a request makes, as it is after its way through an engine: in JSON. */
export function ownerOf (request: FastifyRequest, owner: OwnerOf | undefined): unknown {
  const text = JSON.stringify(owner?.(request))
  return text === undefined ? undefined : JSON.parse(text)
}

/** Makes the default `authorize`: whose request is of the batch's owner. */
export function isSameOwner (owner: OwnerOf | undefined) {
  return (request: FastifyRequest, batch: BatchInfo): boolean => isDeepStrictEqual(ownerOf(request, owner), batch.owner)
}
