// POST /tasks: tasks of registered types in, one result each.
import { randomUUID } from 'node:crypto'
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { TaskId, taskOf, tasks } from '../../schemas/index.js'
import { DEFAULT_TIMEOUT } from '../core/bulk-route.js'
import { DEFAULT_MAX_ITEMS } from '../core/item-array.js'
import { EngineUnavailable, toFailure } from '../errors.js'
import type { NewBatch, TaskEngine } from './engine.js'
import { lookUntil } from './look.js'
import { inProcess } from './memory.js'
import type { TasksOptions } from './options.js'
import { createTaskRunner, type Task } from './run-task.js'

/** Registers the route; its options must have been checked. */
export function registerTasks (app: FastifyInstance, options: TasksOptions, graceLeft: () => number): void {
  const {
    handlers = {}, timeout = DEFAULT_TIMEOUT, retries = 0, concurrency = 16, maxRunning = 256, maxQueued = 10_000,
    ttl = 3_600_000, engine = inProcess()
  } = options
  const runTask = createTaskRunner({ handlers, timeout, retries })
  app.addHook('onReady', async () => engine.start?.({ runTask, limits: { concurrency, maxRunning, maxQueued, ttl }, log: app.log }))
  app.addHook('preClose', async () => engine.close(graceLeft()))
  app.route(tasksRoute(options, engine))
}

function tasksRoute ({ url = '/tasks', handlers = {}, maxItems = DEFAULT_MAX_ITEMS }: TasksOptions, engine: TaskEngine): RouteOptions {
  return {
    method: 'POST',
    url,
    config: { multiStatus: tasks },
    schema: {
      operationId: 'runTasks',
      summary: 'Run several tasks',
      description: 'Every task gets its own result, in request order; one that fails does not cost another.',
      tags: ['tasks'],
      body: Type.Object({ tasks: Type.Array(taskSchema(handlers), { minItems: 1, maxItems }) })
    },
    // The tasks are all that the body has, and the app's own compilers may know other schemas than these, as Zod's do.
    validatorCompiler: () => () => true,
    serializerCompiler: () => serializeError,
    handler: (request, reply) => runTasks(request, reply, engine)
  }
}

async function runTasks (request: FastifyRequest, reply: FastifyReply, engine: TaskEngine): Promise<FastifyReply> {
  const batch = newBatch(request)
  const { batchId } = batch
  const signal = reply.batchSignal()
  const cancel = () => { engine.cancel(batchId, toFailure(signal.reason)).catch(() => {}) }
  await engine.submit(batch)
  if (signal.aborted) cancel()
  else signal.addEventListener('abort', cancel)
  const results = await lookUntil(() => engine.results(batchId), { engine, batchId, what: 'end' })
  await engine.remove(batchId)
  if (results === undefined) throw new EngineUnavailable('the batch is gone')
  return reply.multiStatus(request.multiStatusBatch!.places.map(place => results[place]))
}

function newBatch (request: FastifyRequest): NewBatch {
  const { total, items, places, keys, invalid } = request.multiStatusBatch!
  return {
    batchId: randomUUID(),
    total,
    tasks: items.map((task, count) => ({ index: places[count]!, task: task as Task })),
    invalid: [...invalid].map(([index, failure]) => ({ index, result: tasks.fail(keys[index]!, failure) })),
    keep: false,
    log: request.log
  }
}

/** Fastify's error answer inherits its members, which `JSON.stringify` would leave out; any other has its own. */
function serializeError (answer: Record<string, unknown>): string {
  const { statusCode, code, error, message, errors } = answer
  return JSON.stringify({ statusCode, code, error, message, errors, ...answer })
}

function taskSchema (handlers: NonNullable<TasksOptions['handlers']>): TSchema {
  const types = Object.entries(handlers)
  if (types.length === 0) return Type.Object({ taskId: TaskId, type: Type.Never({ description: 'No type of task is known here' }) })
  return Type.Union(types.map(([type, { payload }]) => taskOf(type, payload ?? Type.Optional(Type.Unknown()))))
}
