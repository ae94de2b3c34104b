// Registers the routes of tasks and starts the engine behind them.
import type { FastifyInstance } from 'fastify'
import type { OnItemError } from '../core/results/failure-log.js'
import type { StatusPolicy } from '../core/reply/multi-status.js'
import { setRetryAfter } from './http/access.js'
import { batchRoutes } from './http/read.js'
import { createFollowers, eventsRoute } from './http/events.js'
import { maskErrors } from './engine-calls.js'
import type { TasksSettings } from './options.js'
import { createTaskRunner } from './run-task.js'
import { runRoute } from './http/run.js'

/** What the routes need to know of the app. */
export interface TasksHost {
  /** How results are answered. */
  readonly status: StatusPolicy
  /** What the app is told of failed tasks. */
  readonly onItemError: OnItemError | undefined
  /** Milliseconds that batches in progress have when the app closes. */
  graceLeft (): number
}

/** Registers the routes in a context of their own. */
export async function registerTasks (app: FastifyInstance, given: TasksSettings, { status, onItemError, graceLeft }: TasksHost): Promise<void> {
  const settings = { ...given, engine: maskErrors(given.engine, app.log) }
  const { handlers, timeout, retries, concurrency, maxRunning, maxQueued, ttl } = settings
  const runTask = createTaskRunner({ handlers, timeout, retries, onItemError })
  const followers = createFollowers(settings.maxFollowers)
  app.addHook('onReady', async () => given.engine.start?.({ runTask, limits: { concurrency, maxRunning, maxQueued, ttl }, log: app.log, onItemError }))
  app.addHook('preClose', async () => {
    await settings.engine.close(graceLeft())
    await followers.close()
  })

  const url = `${settings.url.replace(/\/$/, '')}/:batchId`
  await app.register(async routes => {
    routes.addHook('onError', async (request, reply, error) => setRetryAfter(request, reply, error))
    for (const route of [runRoute(settings), ...batchRoutes(settings, url, status), eventsRoute(settings, followers, `${url}/events`)]) {
      // The app's own compilers may know other schemas than these, as Zod's do; what is looked at is looked at by hand.
      routes.route({ ...route, validatorCompiler: () => () => true, serializerCompiler: () => serializeAnswer })
    }
  })
}

/** Fastify's error answer inherits its members, which `JSON.stringify` would leave out; any other has its own. */
function serializeAnswer (answer: Record<string, unknown>): string {
  const { statusCode, code, error, message, errors } = answer
  return JSON.stringify({ statusCode, code, error, message, errors, ...answer })
}
