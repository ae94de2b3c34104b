// Records when a request was received, and refuses requests that must not go on.
import type { FastifyContextConfig, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** The config of a route. Fastify adds the `url`; it is undefined if no route was found. */
export type RouteConfig = FastifyContextConfig & { readonly url?: string }

/** Records when each request was received, because Fastify measures that only for its own log, and asks `admit`. */
export function receiveRequests (app: FastifyInstance, admit: Admit): void {
  app.decorateRequest('multiStatusStart', 0)
  app.addHook('onRequest', function admitRequest (request, reply, next) {
    request.multiStatusStart = performance.now()
    next(admit(configOf(request), request, reply))
  })
}

/** Decides whether a request may go on. Returns the error if not. */
export type Admit = (config: RouteConfig, request: FastifyRequest, reply: FastifyReply) => Error | undefined

/** The config of the route of a request. */
export function configOf (request: FastifyRequest): RouteConfig {
  return request.routeOptions.config
}
