// GET and DELETE /tasks/{batchId}: reads an accepted batch, or cancels it.
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { tasks, type TaskResult } from '../../../schemas/index.js'
import type { StatusPolicy } from '../../core/reply/multi-status.js'
import { REPORTED } from '../../core/results/report.js'
import { BatchExpired } from '../../errors.js'
import { findBatch } from './access.js'
import { documentCancel, documentRead } from '../openapi.js'
import { pollUntil } from './poll.js'
import { answerProgress, pathOf } from './run.js'
import type { TasksSettings } from '../options.js'

/** These results were reported when the batch ended. */
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

/** Milliseconds to wait for the end of a cancelled batch, which may run on another machine. */
const CANCEL_WAIT = 1_000

async function cancelBatch (request: FastifyRequest, reply: FastifyReply, settings: TasksSettings): Promise<FastifyReply> {
  const { engine } = settings
  const { batchId } = await findBatch(request, settings)
  await engine.cancel(batchId)
  const results = await pollUntil(() => engine.results(batchId), { engine, batchId, what: 'end', ms: CANCEL_WAIT })
  if (results !== undefined) return answerResults(reply, results)
  reply.header('location', pathOf(request))
  return answerProgress(reply, await findBatch(request, settings))
}

/** Answers 207 with the results of a batch that another request has submitted. */
export function answerResults (reply: FastifyReply, results: readonly TaskResult[]): FastifyReply {
  return reply.multiStatus(results, { contract: tasks, keys: results.map(({ taskId }) => taskId) })
}
