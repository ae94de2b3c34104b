// POST /tasks: tasks of registered types in, one result each, now or later.
import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { tasks, type FailureDetail, type TaskResult } from '../../../schemas/index.js'
import type { Batch } from '../../core/items/batch.js'
import { setPreferenceAppliedHeader, readPreferences, setVaryHeader } from '../../core/request/preferences.js'
import { detachedBatchOf, type ReportedBatch } from '../../core/results/report.js'
import { reportResults } from '../../core/results/report.js'
import { invalidItemDetail, taskLost, toFailure } from '../../errors.js'
import { documentRun } from '../openapi.js'
import type { BatchEnd, BatchInfo, NewBatch, TaskEngine } from '../engine.js'
import { pollUntil } from './poll.js'
import type { TasksSettings } from '../options.js'
import { ownerOf } from './access.js'
import type { Task } from '../run-task.js'
import { submit } from '../engine-calls.js'

/** Makes the route. */
export function runRoute (settings: TasksSettings): RouteOptions {
  return {
    method: 'POST',
    url: settings.url,
    config: { multiStatus: tasks },
    schema: documentRun(settings),
    handler: (request, reply) => readPreferences(request).async
      ? runLater(request, reply, settings)
      : runNow(request, reply, settings)
  }
}

/** Answers when the batch has ended; a client that goes away takes it along. */
async function runNow (request: FastifyRequest, reply: FastifyReply, settings: TasksSettings): Promise<FastifyReply> {
  const { engine } = settings
  const signal = reply.batchSignal()
  const batch = await submit(engine, newBatch(request, settings, { keep: false }))
  const { batchId } = batch
  const cancel = () => { silently(engine.cancel(batchId, toFailure(signal.reason))) }
  if (signal.aborted) cancel()
  else signal.addEventListener('abort', cancel, { once: true })
  const results = await pollUntil(() => lookForResults(engine, batch), { engine, batchId, what: 'end', ms: Infinity })
  silently(engine.remove(batchId))
  return answer(request, reply, results!)
}

/** @returns undefined while they are still to come; of a batch that the engine has lost, what can truly be said */
async function lookForResults (engine: TaskEngine, { batchId, tasks: given, invalid }: NewBatch): Promise<TaskResult[] | undefined> {
  const results = await engine.results(batchId)
  if (results !== undefined || typeof await engine.find(batchId) === 'object') return results
  const lost = given.map(({ index, task: { taskId } }) => ({ index, result: tasks.fail(taskId, toFailure(taskLost())) }))
  return [...invalid, ...lost].sort((a, b) => a.index - b.index).map(({ result }) => result)
}

/** Answers 202, unless the batch has ended by the time that the client is ready to wait. */
async function runLater (request: FastifyRequest, reply: FastifyReply, settings: TasksSettings): Promise<FastifyReply> {
  const { engine } = settings
  const { wait: asked } = readPreferences(request)
  const wait = asked === undefined ? undefined : Math.min(asked, LONGEST_WAIT)
  const reporter = createReporter(detachedBatchOf(reply))
  const batch = await submit(engine, newBatch(request, settings, { keep: true, owner: ownerOf(request, settings.owner), onEnd: reporter.onEnd }))
  const { batchId, total } = batch
  const results = await waitFor(engine, batchId, wait, reply)
  if (wait !== undefined) setPreferenceAppliedHeader(reply, `wait=${wait}`)
  if (results !== undefined) {
    // Nobody knows its id.
    silently(engine.remove(batchId))
    return answer(request, reply, results)
  }
  reporter.accept()
  setVaryHeader(reply)
  setPreferenceAppliedHeader(reply, 'respond-async')
  reply.header('location', `${pathOf(request)}/${batchId}`)
  const nothingYet = { batchId, createdAt: Date.now(), summary: { total, succeeded: 0, failed: 0, pending: total } }
  const info = await engine.find(batchId).catch(() => undefined)
  return answerProgress(reply, typeof info === 'object' ? info : nothingYet)
}

/** The largest `Retry-After`, in seconds. */
const MAX_RETRY_AFTER = 60

/** Answers 202 with the progress. `Retry-After` is an estimate of when the batch ends at its present speed. */
export function answerProgress (reply: FastifyReply, { batchId, summary, createdAt }: BatchInfo): FastifyReply {
  const { total, pending } = summary
  const estimate = (Date.now() - createdAt) / 1000 * pending / Math.max(1, total - pending)
  const seconds = Math.min(MAX_RETRY_AFTER, Math.max(1, Math.ceil(estimate)))
  return reply.code(202).header('retry-after', seconds).send({ batchId, summary })
}

/**
 * The path of a request as the client wrote it, without query and without a slash at its end. It begins with exactly
 * one slash, because `//host/path` names another host (RFC 3986 section 4.2).
 */
export function pathOf ({ originalUrl }: FastifyRequest): string {
  const path = originalUrl.split('?', 1)[0]!
  return path.replace(/^(?:https?:\/\/[^/]*)?\/*/i, '/').replace(/\/$/, '')
}

/** Reports a batch at its end, unless it is answered with its results, which reports it as well. */
function createReporter (batch: ReportedBatch): { onEnd (end: BatchEnd): void, accept (): void } {
  let ended: BatchEnd | undefined
  let isAccepted = false
  const report = () => {
    if (isAccepted && ended !== undefined) reportResults(batch, { ...ended, contract: tasks, keys: [] })
  }
  return {
    onEnd (end) {
      ended = end
      report()
    },
    accept () {
      isAccepted = true
      report()
    }
  }
}

/** Seconds that a client can have an answer wait at most. */
const LONGEST_WAIT = 600

/** @returns the results, or undefined when they have not come in so many seconds, or the app closes */
function waitFor (engine: TaskEngine, batchId: string, wait = 0, reply: FastifyReply): Promise<TaskResult[] | undefined> | undefined {
  if (wait === 0) return undefined
  return pollUntil(() => engine.results(batchId), { engine, batchId, what: 'end', ms: wait * 1000, signal: reply.batchSignal() })
}

function answer (request: FastifyRequest, reply: FastifyReply, results: readonly TaskResult[]): FastifyReply {
  const batch = request.multiStatusBatch!
  if (!areFor(results, batch)) return reply.multiStatus(batch.places.map(place => results[place]))
  batch.results = results
  return reply.multiStatus(results)
}

/** Whether there is a result for each task, in the order of the request; an engine may be anybody's. */
function areFor (results: readonly TaskResult[], { total, keys }: Batch): boolean {
  if (results.length !== total) return false
  for (let index = 0; index < total; index++) if (results[index]?.taskId !== keys[index]) return false
  return true
}

/** Why a task failed whose type cannot be one, where there are none: all that the schema has to say is that it is not valid. */
const NO_TYPES = invalidItemDetail([{ pointer: '#/type', detail: 'must be a type of task that is known here; there is none' }])

function newBatch (request: FastifyRequest, { handlers }: TasksSettings, how: Pick<NewBatch, 'keep' | 'owner' | 'onEnd'>): NewBatch {
  const hasTypes = Object.keys(handlers).length > 0
  const word = (failure: FailureDetail) => hasTypes || failure.errors?.[0]?.pointer !== '#/type' ? failure : NO_TYPES
  const { total, items, places, keys, invalid } = request.multiStatusBatch!
  return {
    ...how,
    batchId: randomUUID(),
    total,
    tasks: items.map((task, count) => ({ index: places[count]!, task: task as Task })),
    invalid: [...invalid].map(([index, failure]) => ({ index, result: tasks.fail(keys[index]!, word(failure)) })),
    log: request.log
  }
}

/** What is done for tidiness must not cost the answer. */
function silently (promise: Promise<void>): void {
  promise.catch(() => {})
}
