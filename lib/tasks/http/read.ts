// GET and DELETE /tasks/{batchId}: a batch that was accepted, read and cancelled.
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { StatusPolicy } from '../../core/reply/multi-status.js'
import { REPORTED } from '../../core/results/report.js'
import { BatchExpired } from '../../errors.js'
import { answerProgress, answerResults } from './progress.js'
import { findBatch } from './access.js'
import { documentCancel, documentRead } from '../openapi.js'
import { lookUntil } from './poll.js'
import type { TasksSettings } from '../options.js'
import { pathOf } from './location.js'

/** Results that are read have been reported when the batch ended. */
const MARKED: object = { [REPORTED]: true }

/**
 * Makes the two routes.
 * @param status how the plugin answers results
 */
export function batchRoutes (settings: TasksSettings, url: string, status: StatusPolicy): RouteOptions[] {
  return [
    { method: 'GET', url, config: MARKED, schema: documentRead(status), handler: (request, reply) => readBatch(request, reply, settings) },
    { method: 'DELETE', url, config: MARKED, schema: documentCancel(status), handler: (request, reply) => cancelBatch(request, reply, settings) }
  ]
}

async function readBatch (request: FastifyRequest, reply: FastifyReply, settings: TasksSettings): Promise<FastifyReply> {
  const info = await findBatch(request, settings)
  reply.header('cache-control', 'no-store')
  if (info.summary.pending > 0) return answerProgress(reply, info)
  const results = await settings.engine.results(info.batchId)
  if (results === undefined) throw new BatchExpired()
  return answerResults(reply, results)
}

/** Milliseconds in which a batch on another machine usually ends when it is told to. */
const MOMENT = 1_000

async function cancelBatch (request: FastifyRequest, reply: FastifyReply, settings: TasksSettings): Promise<FastifyReply> {
  const { engine } = settings
  const { batchId } = await findBatch(request, settings)
  await engine.cancel(batchId)
  const results = await lookUntil(() => engine.results(batchId), { engine, batchId, what: 'end', ms: MOMENT })
  if (results !== undefined) return answerResults(reply, results)
  reply.header('location', pathOf(request))
  return answerProgress(reply, await findBatch(request, settings))
}
