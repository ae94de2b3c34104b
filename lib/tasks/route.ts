// POST /tasks: tasks of registered types in, one result each.
import { Type, type TSchema } from '@sinclair/typebox'
import type { RouteOptions } from 'fastify'
import { TaskId, taskOf, tasks, type Key } from '../../schemas/index.js'
import { bulkRoute, DEFAULT_TIMEOUT, type ItemContext } from '../core/bulk-route.js'
import type { TaskContext, TasksOptions } from './options.js'
import { createTaskRunner, type Task } from './run-task.js'

/** Makes the route; its options must have been checked. */
export function tasksRoute ({ url = '/tasks', handlers = {}, timeout = DEFAULT_TIMEOUT, ...how }: TasksOptions): RouteOptions {
  const runTask = createTaskRunner(handlers)
  return bulkRoute({
    ...how,
    url,
    contract: tasks,
    itemsIn: 'tasks',
    item: taskSchema(handlers),
    timeout: task => handlers[(task as Task).type]!.timeout ?? timeout,
    schema: {
      operationId: 'runTasks',
      summary: 'Run several tasks',
      description: 'Every task gets its own result, in request order; one that fails does not cost another.',
      tags: ['tasks']
    },
    // The tasks are all that the body has, and the app's own compilers may know other schemas than these, as Zod's do.
    validatorCompiler: () => () => true,
    serializerCompiler: () => serializeError,
    handler: (task, context) => runTask(task as Task, taskContext(context))
  })
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

function taskContext (context: ItemContext): TaskContext {
  return {
    taskId: context.key as Key,
    attempt: context.attempt,
    get signal () { return context.signal },
    get log () { return context.log }
  }
}
