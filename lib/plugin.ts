// The plugin: options -> documentation -> decorators -> routes.
import type { FastifyError, FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { guardRoutes } from './batch/guard.js'
import { batchRoute } from './batch/route.js'
import './core/reply/types.js'
import { createAdmission } from './core/request/admission.js'
import { receiveRequests, type RouteConfig } from './core/request/received.js'
import { awaitLargeBodies } from './core/reply/chunked-body.js'
import { prepareContractRoutes } from './core/contract-route.js'
import { prepareIdempotency } from './core/idempotency/route.js'
import { prepareItemErrors } from './core/results/failure-log.js'
import { followBatches } from './core/request/lifetime.js'
import { createMultiStatus } from './core/reply/multi-status.js'
import { registerDocs } from './core/openapi/documents.js'
import { AlreadyRegistered, NotRegistered } from './errors.js'
import { readOptions, type FastifyMultiStatusOptions } from './options.js'
import { registerTasks } from './tasks/route.js'
import { registerUpload } from './upload/route.js'

const plugin: FastifyPluginAsync<FastifyMultiStatusOptions> = async (app, options) => {
  if (app.hasReplyDecorator('multiStatus')) throw new AlreadyRegistered()
  const { upload, tasks, batch, docs, status, closeGrace, maxInFlight, idempotency, onItemError, prefix } = readOptions(options)

  // First, so that a request of a batch is judged before other hooks work for it, also before it is recorded as received.
  if (batch !== false) guardRoutes(app)
  const limit = createAdmission(maxInFlight)
  receiveRequests(app, (config, request, reply) => refuseEarlyRoute(config) ?? limit(config, request, reply))
  if (docs !== false) await registerDocs(app, docs)

  const lifetime = followBatches(app, closeGrace)
  app.decorateReply('multiStatus', createMultiStatus(status))
  app.decorateReply('batchSignal', lifetime.batchSignal)
  awaitLargeBodies(app)
  prepareItemErrors(app, onItemError)
  prepareContractRoutes(app, { status, maxInFlight })
  prepareIdempotency(app, idempotency)
  markRoutes(app)

  await app.register(async routes => {
    followErrorHandler(routes, app)
    if (upload !== false) await registerUpload(routes, upload)
    if (tasks !== false) await registerTasks(routes, tasks, { status, onItemError, graceLeft: lifetime.graceLeft })
    if (batch !== false) routes.route(batchRoute(batch))
  }, { prefix })
}

/** Fastify gives a context the error handler that its parent has by then; an app may set its own only after the plugin. */
function followErrorHandler (routes: FastifyInstance, app: FastifyInstance): void {
  const first = app.errorHandler
  routes.setErrorHandler((error: FastifyError, request, reply) => {
    if (app.errorHandler === first) throw error
    return app.errorHandler(error, request, reply)
  })
}

const IN_TIME = Symbol('fastify-multi-status.in-time')

/**
 * A bulk route that was there before the plugin, as after a `register` that nobody awaited, has got neither its
 * validation nor its serializer. Fastify shows such routes to nobody, so that this comes out with the first request.
 */
function refuseEarlyRoute (config: RouteConfig): Error | undefined {
  return config.multiStatus === undefined || IN_TIME in config ? undefined : new NotRegistered(config.url!)
}

/** Marks bulk routes that come after the plugin. */
function markRoutes (app: FastifyInstance): void {
  app.addHook('onRoute', route => {
    if (route.config?.multiStatus !== undefined) route.config = Object.assign({ [IN_TIME]: true }, route.config)
  })
}

/**
 * Gives a Fastify 5 app bulk endpoints that tell the truth about each item: `POST /upload` and `POST /tasks`,
 * `reply.multiStatus` for every route, and their OpenAPI documentation.
 * @example await app.register(multiStatus, { tasks: { handlers } })
 */
export const fastifyMultiStatus: FastifyPluginAsync<FastifyMultiStatusOptions> = fp(plugin, { fastify: '5.x', name: 'fastify-multi-status' })

export default fastifyMultiStatus
