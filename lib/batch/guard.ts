// Lets requests of a batch reach the routes that have opted in and no other. It is judged after routing, by the route
// that was found, so that no way to write a URL can get around it.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { RoutesNotGuarded, type ItemError } from '../errors.js'
import { BatchedMessage } from './message.js'
import type { Passport } from './sub-request-state.js'
import { badMethod, nestedBatch, routeNotAllowed, routeNotFound } from './errors.js'

/** A route as `batch.allow` sees it. */
export interface RouteInfo {
  /** As it was registered: one method or several. */
  readonly method: string | string[]
  /** As it was registered, for example "/contacts/:id". */
  readonly url: string
  readonly config: object
}

function passportOf ({ raw }: FastifyRequest): Passport | undefined {
  return raw instanceof BatchedMessage ? raw.passport : undefined
}

/** Of a batch's own route; shared by every copy of this module. */
export const BATCH_ROUTE = Symbol.for('fastify-multi-status.batch')

/**
 * Puts the guard before every route of the app.
 * @param allow whether a route that says nothing of itself has opted in
 */
export function guardRoutes (app: FastifyInstance, allow: (route: RouteInfo) => boolean): void {
  const known = new WeakMap<object, ItemError | false>()

  function judge (request: FastifyRequest): ItemError | false {
    if (request.is404) return explainNotFound(app, request)
    const { config, method, url } = request.routeOptions
    let refusal = known.get(config)
    if (refusal === undefined) {
      refusal = BATCH_ROUTE in config ? nestedBatch() : !(config.batch ?? allow({ method: method!, url: url!, config })) && routeNotAllowed()
      known.set(config, refusal)
    }
    return refusal
  }

  app.addHook('onRequest', function guardBatchedRequest (request, reply, next) {
    const passport = passportOf(request)
    if (passport === undefined) return next()
    passport.refusal = judge(request) || undefined
    if (passport.refusal !== undefined) return stop(reply, passport.refusal.statusCode)
    passport.isAdmitted = true
    next()
  })
  app.addHook('onError', function noteBatchedError (request, _reply, error, next) {
    const passport = passportOf(request)
    if (passport !== undefined) passport.error = error
    next()
  })
  app.addHook('preHandler', function stopBatchedTrial (request, reply, next) {
    const passport = passportOf(request)
    if (passport === undefined || !passport.isTrial) return next()
    passport.error = request.validationError
    stop(reply, passport.error === undefined ? 204 : 400)
  })
  app.addHook('onReady', async () => expectGuarded(app.printRoutes({ includeMeta: ['onRequest', 'preHandler'], commonPrefix: false })))
}

/** Ends a request without a word; what is to be said of it, the batch says. */
function stop (reply: FastifyReply, statusCode: number): void {
  reply.hijack()
  reply.raw.statusCode = statusCode
  reply.raw.end()
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

function explainNotFound (app: FastifyInstance, { method, url }: FastifyRequest): ItemError {
  const path = url.split('?', 1)[0]!
  const others = METHODS.filter(other => other !== method && app.findRoute({ method: other, url: path }) !== null)
  return others.length > 0 ? badMethod(method) : routeNotFound()
}

/** A line that names a route: its path, its methods, and perhaps its constraints. */
const ROUTE_LINE = /\(([A-Z][A-Z, -]*)\)(?: \{.*\})?$/

/**
 * Hooks do not reach routes outside of the plugin that they are in. Fastify shows such routes in no other way than in
 * the printed tree.
 * @throws FST_MULTI_STATUS_ROUTES_NOT_GUARDED
 */
function expectGuarded (tree: string): void {
  const lines = tree.split('\n')
  for (const [index, line] of lines.entries()) {
    if (!ROUTE_LINE.test(line) || line.includes('• (')) continue
    const hooks = lines.slice(index + 1, index + 3).join('\n')
    if (hooks.includes('guardBatchedRequest()') && hooks.includes('stopBatchedTrial()')) continue
    throw new RoutesNotGuarded(line.replace(/^[│├└─ ]+/, ''))
  }
}
