// Reports a batch whose results are all there.
import type { FastifyReply } from 'fastify'
import { generic, type AnyContract, type Key } from '../../../schemas/index.js'
import { configOf } from '../request/received.js'
import { batchOf, beginReport, endReport, reportItem, wantsItem, type ItemVerdict, type ReportedBatch } from './report.js'
import { isFailureWord } from './serializer.js'

/** Results as they are answered. */
export interface Reported {
  readonly total: number
  readonly failed: number
  /** Gives the results; not asked for them when nobody wants to hear of an item. */
  results (): readonly unknown[]
  readonly contract: AnyContract | undefined
  /** The keys of the items, where they are known. */
  readonly keys: readonly (Key | null)[]
  /** The places of results that did not fit the contract, and have become failures. */
  readonly refused?: ReadonlySet<number> | undefined
}

/** In the config of a route whose results have been reported before. */
export const REPORTED = Symbol.for('fastify-multi-status.reported')

/** Reports the batch that a reply answers. */
export function reportAnswer (reply: FastifyReply, reported: Reported): void {
  if (!(REPORTED in configOf(reply.request))) reportResults(batchOf(reply), reported)
}

/** Looks at no more results than somebody wants to hear of. */
export function reportResults (batch: ReportedBatch, reported: Reported): void {
  const { total, failed } = reported
  const report = beginReport(batch)
  let left = failed
  const results = wantsItem(report, left > 0) ? reported.results() : []
  for (let index = 0; index < results.length && wantsItem(report, left > 0); index++) {
    const verdict = judge(results[index], index, reported)
    if (verdict.failed) left--
    reportItem(report, verdict)
  }
  endReport(report, { total, failed })
}

function judge (result: unknown, index: number, { contract, keys, refused }: Reported): ItemVerdict {
  // What has been refused may not let itself be looked at.
  if (refused?.has(index)) return { index, key: keys[index] ?? null, failed: true, code: 'INVALID_RESULT' }
  const { key, failureWord } = contract ?? { key: generic.key }
  const { status, code, [key]: own } = result as { status?: unknown, code?: unknown, [key: string]: unknown }
  const failed = failureWord === undefined ? isFailureWord(status) : status === failureWord
  return { index, key: keys[index] ?? keyOf(own), failed, code: failed && typeof code === 'string' ? code : undefined }
}

function keyOf (own: unknown): Key | null {
  return typeof own === 'string' || typeof own === 'number' ? own : null
}
