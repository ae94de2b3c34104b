// The answers that a batch has: how far it is, or what became of it.
import type { FastifyReply } from 'fastify'
import { tasks, type TaskResult } from '../../../schemas/index.js'
import type { BatchInfo } from '../engine.js'

const LONGEST = 60

/** Answers 202 with the progress, and when to ask again: when the batch would end if it went on as until now. */
export function answerProgress (reply: FastifyReply, { batchId, summary, createdAt }: BatchInfo): FastifyReply {
  const { total, pending } = summary
  const estimate = (Date.now() - createdAt) / 1000 * pending / Math.max(1, total - pending)
  const seconds = Math.min(LONGEST, Math.max(1, Math.ceil(estimate)))
  return reply.code(202).header('retry-after', seconds).send({ batchId, summary })
}

/** Answers 207 with the results of a batch that was submitted by another request. */
export function answerResults (reply: FastifyReply, results: readonly TaskResult[]): FastifyReply {
  return reply.multiStatus(results, { contract: tasks, keys: results.map(({ taskId }) => taskId) })
}
