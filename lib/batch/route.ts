// POST /batch: requests for other routes of the app in, one result each.
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { batch as contract, BatchedRequest } from '../../schemas/index.js'
import { readPreferences } from '../core/request/preferences.js'
import { BatchNotRun, InvalidItems } from '../errors.js'
import { BATCH_ROUTE, readConnection } from './guard.js'
import { inheritHeaders } from './headers.js'
import type { BatchSettings } from './options.js'
import { planBatch, type Step } from './plan.js'
import { findProblems, runBatch, type RunOptions } from './run.js'
import type { BatchContext } from './sub-request.js'

const DESCRIPTION = 'Every request goes through the same routing, authorization, validation and limits as one of its own, ' +
  'and gets its own result, in request order. Only routes that have opted in can be reached.\n\n' +
  'A request runs after those that it depends on, and not if one of them failed (424, FAILED_DEPENDENCY). It depends on those ' +
  'in `dependsOn` and on those that it refers to.\n\n' +
  'With `Prefer: handling=strict` every request is validated by its route before the first one runs; a request with ' +
  'references only as far as they name earlier requests. Hooks before validation, as those for authorization and rate ' +
  'limits, then run twice.'

const EXAMPLE = {
  requests: [
    { id: '1', method: 'POST', url: '/contacts', body: { email: 'ada@example.org' } },
    { id: '2', method: 'GET', url: '/contacts/{1.contactId}' },
    { id: '3', method: 'POST', url: '/tags', body: { name: 'new', contact: { $from: '1', pointer: '/contactId' } } },
    { id: '4', method: 'DELETE', url: '/contacts/8', dependsOn: ['3'] }
  ]
}

/** By which the guard knows it, also where every route is allowed. */
const MARKED = { [BATCH_ROUTE]: true }

/** Makes the route. */
export function batchRoute (settings: BatchSettings): RouteOptions {
  const { url, maxItems, bodyLimit } = settings
  return {
    method: 'POST',
    url,
    ...(bodyLimit !== undefined && { bodyLimit }),
    config: { ...MARKED, multiStatus: contract },
    schema: {
      operationId: 'runBatch',
      summary: 'Send several requests in one',
      description: DESCRIPTION,
      tags: ['batch'],
      body: Type.Object({ requests: Type.Array(BatchedRequest, { minItems: 1, maxItems }) }, { examples: [EXAMPLE] })
    },
    handler: (request, reply) => answerBatch(request, reply, settings)
  }
}

async function answerBatch (request: FastifyRequest, reply: FastifyReply, settings: BatchSettings): Promise<FastifyReply> {
  const batch = request.multiStatusBatch!
  const plan = planBatch(batch)
  const context = createContext(request, settings)
  const options = { concurrency: settings.concurrency, signal: reply.batchSignal() }
  options.signal.addEventListener('abort', () => { for (const end of context.running.keys()) end(options.signal.reason) })
  if (readPreferences(request).strict) await expectNoProblem(context, plan, options)
  const { results, cookies } = await runBatch(context, plan, batch, options)
  clearTimeout(context.timer)
  if (cookies.length > 0) reply.header('set-cookie', cookies)
  return reply.multiStatus(results)
}

function createContext (outer: FastifyRequest, settings: BatchSettings): BatchContext {
  return {
    outer,
    settings,
    app: outer.server,
    connection: readConnection(outer.raw.socket),
    inherited: inheritHeaders(outer, settings.inherit),
    bytesLeft: settings.limits.total,
    running: new Map()
  }
}

/** @throws FST_MULTI_STATUS_INVALID_ITEMS, 422, with the `errors` of every request that its route would refuse; or _BATCH_NOT_RUN, 503 */
async function expectNoProblem (context: BatchContext, plan: readonly Step[], options: RunOptions): Promise<void> {
  const errors = await findProblems(context, plan, options)
  clearTimeout(context.timer)
  context.timer = undefined
  if (options.signal.aborted) throw new BatchNotRun((options.signal.reason as Error).message)
  if (errors.length === 0) return
  const invalid = new Set(errors.map(({ pointer }) => pointer.split('/')[2]))
  throw Object.assign(new InvalidItems(invalid.size, plan.length), { errors })
}
