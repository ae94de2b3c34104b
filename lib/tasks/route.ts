// POST /tasks: tasks of registered types in, one result each.
import { Type, type TSchema } from '@sinclair/typebox'
import type { RouteOptions } from 'fastify'
import { taskOf, tasks, type Key } from '../../schemas/index.js'
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
    handler: (task, context) => runTask(task as Task, taskContext(context))
  })
}

function taskSchema (handlers: NonNullable<TasksOptions['handlers']>): TSchema {
  const types = Object.entries(handlers)
  if (types.length === 0) return taskOf('', Type.Never())
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
