// Describes the routes of tasks in OpenAPI.
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import { BatchProgress, TaskId, taskOf, tasks } from '../../schemas/index.js'
import { documentError, errorsEverywhere } from '../core/openapi/errors.js'
import { documentPrefer, documentResults, MINIMAL, preferenceHeaders, STRICT } from '../core/openapi/operations.js'
import { BatchExpired, BatchNotFound, EngineUnavailable, QueueFull } from '../errors.js'
import { createExampleCompiler } from '../core/items/validator.js'
import type { StatusPolicy } from '../core/reply/multi-status.js'
import type { TasksSettings } from './options.js'

const TAGS = ['tasks']

const ASYNC = '`respond-async`: answer 202 at once, or after `wait=n` seconds if the batch has not ended by then.'

const RETRY_AFTER = { type: 'integer', description: 'Seconds after which to ask again' }
const LOCATION = { type: 'string', description: 'Where to ask for the batch' }

const PROGRESS = {
  batchId: '0b2f8a5e-7c1d-4f3a-9e6b-2d4c8a1f5e70', summary: { total: 3, succeeded: 1, failed: 1, pending: 1 }
}

function progress (description: string, headers: object): object {
  return { description, headers, content: { 'application/json': { schema: BatchProgress, examples: { running: { value: PROGRESS } } } } }
}

const NOT_STORED = { 'Cache-Control': { type: 'string', description: 'The answer is not to be stored', examples: ['no-store'] } }

const UNKNOWN = {
  ...errorsEverywhere(),
  400: documentError(400, 'The path is malformed.', {
    malformed: { code: 'FST_ERR_BAD_URL', message: "'/tasks/%ff' is not a valid url component" }
  }),
  404: documentError(404, 'There is no such batch, or it is not for this client.', {
    unknown: new BatchNotFound()
  }),
  414: documentError(414, 'The id is longer than any.', {
    long: { code: 'FST_ERR_MAX_PARAM_LENGTH', message: 'Expected an id of at most 100 characters' }
  }),
  410: documentError(410, 'The batch has expired.', {
    expired: new BatchExpired()
  }),
  503: withRetryAfter(documentError(503, 'The engine of the tasks cannot be reached, or the server is closing or has too much to do. Try again later.', {
    unreachable: new EngineUnavailable('connection refused')
  }))
}

function withRetryAfter (response: object): object {
  return { ...response, headers: { 'Retry-After': RETRY_AFTER } }
}

const params = Type.Object({ batchId: Type.String({ description: 'From the Location of the batch', examples: [PROGRESS.batchId] }) })

/** `POST /tasks` */
export function documentRun ({ handlers, maxItems, maxQueued }: TasksSettings): FastifySchema {
  return {
    operationId: 'runTasks',
    summary: 'Run several tasks',
    description: 'Every task gets its own result, in request order; one that fails does not cost another. ' +
      'The answer waits for all of them, unless the client prefers `respond-async`.',
    tags: TAGS,
    headers: Type.Object({ Prefer: documentPrefer([ASYNC, STRICT, MINIMAL]) }),
    body: Type.Object({ tasks: Type.Array(taskSchema(handlers), { minItems: 1, maxItems }) }),
    response: {
      202: progress('The batch has been accepted and runs; its results will be at its Location', {
        Location: LOCATION, 'Retry-After': RETRY_AFTER, ...preferenceHeaders('respond-async')
      }),
      503: withRetryAfter(documentError(503, 'Too many tasks wait already, or the engine cannot be reached, or the server is closing. Nothing ran.', {
        full: new QueueFull(maxQueued, maxQueued + 1)
      }))
    }
  }
}

function taskSchema (handlers: TasksSettings['handlers']): TSchema {
  const types = Object.entries(handlers)
  if (types.length === 0) return Type.Object({ taskId: TaskId, type: Type.Never({ description: 'No type of task is known here' }) })
  // Also of one type, of which Type.Union makes none: only a union is judged by the type first, and then by the payload.
  return Type.Unsafe({ anyOf: types.map(([type, { payload }]) => taskOf(type, payload ?? Type.Optional(Type.Unknown()))) })
}

function resultsOf (status: StatusPolicy): object {
  const responses = documentResults(tasks, status, createExampleCompiler())
  return Object.fromEntries(Object.entries(responses).map(([code, response]) =>
    [code, { ...response, headers: { ...(response as { headers: object }).headers, ...NOT_STORED } }]))
}

/** `GET /tasks/{batchId}` */
export const documentRead = (status: StatusPolicy): FastifySchema => ({
  operationId: 'getBatch',
  summary: 'Read a batch of tasks',
  description: 'How far the batch is, while it runs; then the same answer as without `respond-async`.',
  tags: TAGS,
  params,
  headers: Type.Object({ Prefer: documentPrefer([MINIMAL]) }),
  response: { 202: progress('The batch runs', { 'Retry-After': RETRY_AFTER, ...NOT_STORED }), ...resultsOf(status), ...UNKNOWN }
})

/** `DELETE /tasks/{batchId}` */
export const documentCancel = (status: StatusPolicy): FastifySchema => ({
  operationId: 'cancelBatch',
  summary: 'Cancel a batch of tasks',
  description: 'Tasks that have not ended fail with the reason `Cancelled`; those that have keep their results, which are ' +
    'answered and can still be read. Cancelling a batch that has ended changes nothing.',
  tags: TAGS,
  params,
  headers: Type.Object({ Prefer: documentPrefer([MINIMAL]) }),
  response: {
    202: progress('The batch is being cancelled; ask for it again', { 'Retry-After': RETRY_AFTER, Location: LOCATION }),
    ...resultsOf(status),
    ...UNKNOWN
  }
})

const EVENTS = 'id: 1\nevent: result\ndata: {"index":0,"result":{"taskId":101,"status":"completed"},' +
  '"summary":{"total":1,"succeeded":1,"failed":0,"pending":0}}\n\n' +
  'id: 2\nevent: done\ndata: {"summary":{"total":1,"succeeded":1,"failed":0,"pending":0}}\n\n'

/** `GET /tasks/{batchId}/events` */
export const followSchema: FastifySchema = {
  operationId: 'followBatch',
  summary: 'Follow a batch of tasks',
  description: 'Server-Sent Events: one `result` for each task that has settled, in the order of settling, with its place ' +
    'in the request (`index`), its result and the summary so far; then one `done`, and the end. Who comes back with ' +
    '`Last-Event-ID` gets what it has missed, and 204 when it has had all.',
  tags: TAGS,
  params,
  headers: Type.Object({
    'Last-Event-ID': Type.Optional(Type.String({ description: 'The id of the last event that was received', examples: ['1'] }))
  }),
  response: {
    200: {
      description: 'The events',
      headers: {
        ...NOT_STORED, 'X-Accel-Buffering': { type: 'string', description: 'Keeps proxies from holding the events back', examples: ['no'] }
      },
      content: { 'text/event-stream': { schema: Type.String(), examples: { all: { summary: 'A batch of one task', value: EVENTS } } } }
    },
    204: { description: 'There is no event after the last one that was received', type: 'null' },
    ...UNKNOWN
  }
}
