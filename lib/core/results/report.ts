// Reports batches when their outcome is known: a line in the log, and events on diagnostics channels.
import { channel } from 'node:diagnostics_channel'
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import { generic, type AnyContract, type Key } from '../../../schemas/index.js'
import { configOf } from '../request/received.js'
import { showKey } from './failure-log.js'
import { isFailureWord } from './serializer.js'

/** What subscribers of the diagnostics channel `fastify-multi-status:batch` get, for every batch that has ended. */
export interface BatchEvent {
  /** As the route was registered, for example "/contacts". */
  readonly route: string
  readonly method: string
  readonly total: number
  readonly succeeded: number
  readonly failed: number
  /** Milliseconds from the request to the answer, or to the end of a batch that was answered 202. */
  readonly ms: number
  /** Whether its stream was cut, so that not all of its items are known. */
  readonly isCut: boolean
  /** Undefined for a batch that has outlived it. */
  readonly request: FastifyRequest | undefined
}

/** What subscribers of the diagnostics channel `fastify-multi-status:item` get, for every item of such a batch. */
export interface ItemEvent {
  readonly route: string
  readonly method: string
  /** Its place in the request, from 0. */
  readonly index: number
  readonly key: Key | null
  readonly failed: boolean
  /** Of a failure. */
  readonly code: string | undefined
  readonly request: FastifyRequest | undefined
}

/** What became of one item. */
export type ItemVerdict = Pick<ItemEvent, 'index' | 'key' | 'failed' | 'code'>

/** How a batch ended. */
export interface BatchVerdict { readonly total: number, readonly failed: number, readonly isCut?: boolean }

/** One batch, and for whom it is reported. */
export interface ReportedBatch {
  readonly route: string
  readonly method: string
  readonly log: FastifyBaseLogger
  readonly request: FastifyRequest | undefined
  /** When the request began, in the milliseconds of `performance.now()`. */
  readonly start: number
}

/** The report of one batch. */
export interface Report {
  readonly batch: ReportedBatch
  /** Whether subscribers, and whether the log, are to hear of every item. */
  readonly isHeard: boolean
  readonly isDebugged: boolean
  /** The keys of the first items that failed; undefined as long as none has. */
  failing: (Key | null)[] | undefined
}

const batches = channel('fastify-multi-status:batch')
const items = channel('fastify-multi-status:item')

/** How many failing keys a line names. */
const SHOWN = 5

/** Begins to report a batch. Who listens is asked once. */
export function beginReport (batch: ReportedBatch): Report {
  return { batch, isHeard: items.hasSubscribers, isDebugged: hasDebug(batch.log), failing: undefined }
}

/** Whether anything is still to be told of an item, be it only that its key is one of the first that failed. */
export function wantsItem ({ isHeard, isDebugged, failing }: Report, failed: boolean): boolean {
  return isHeard || isDebugged || (failed && (failing === undefined || failing.length < SHOWN))
}

/** Reports one item. */
export function reportItem (report: Report, item: ItemVerdict): void {
  if (item.failed) recordFailing(report, item.key)
  if (report.isHeard || report.isDebugged) publishItem(report, item)
}

function recordFailing (report: Report, key: Key | null): void {
  const failing = report.failing ??= []
  if (failing.length < SHOWN) failing.push(showKey(key))
}

function publishItem ({ batch, isHeard, isDebugged }: Report, { index, key, failed, code }: ItemVerdict): void {
  const { route, method, log, request } = batch
  if (isHeard) items.publish({ route, method, index, key, failed, code, request } satisfies ItemEvent)
  if (isDebugged) log.debug({ index, key: showKey(key), failed, code }, failed ? 'item has failed' : 'item has succeeded')
}

/** Reports the batch itself. */
export function endReport ({ batch, failing }: Report, { total, failed, isCut = false }: BatchVerdict): void {
  const { route, method, log, request, start } = batch
  const counts = { route, method, total, succeeded: total - failed, failed, ms: performance.now() - start }
  if (batches.hasSubscribers) batches.publish({ ...counts, isCut, request } satisfies BatchEvent)
  counts.ms = Math.round(counts.ms)
  // Put in one by one, because spreading what is mostly not there costs more than all the rest.
  const line: typeof counts & { failing?: (Key | null)[] | undefined, isCut?: true } = counts
  if (failed > 0) line.failing = failing
  if (isCut) line.isCut = isCut
  log.info(line, 'batch ended')
}

/** Loggers other than pino may not say; they are not asked for one line per item. */
function hasDebug (log: FastifyBaseLogger): boolean {
  const { isLevelEnabled } = log as { isLevelEnabled?: (level: string) => boolean }
  return isLevelEnabled !== undefined && isLevelEnabled.call(log, 'debug')
}

/** The batch that a reply is the answer to. */
export function batchOf ({ request, log }: FastifyReply): ReportedBatch {
  // Where no route was found, there is none that could be named.
  return { log, request, method: request.method, route: configOf(request).url ?? '', start: request.multiStatusStart }
}

/** The same, of which nothing is left but what is needed to report it when the request has long been answered. */
export function detachedBatchOf (reply: FastifyReply): ReportedBatch {
  return { ...batchOf(reply), request: undefined }
}

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
