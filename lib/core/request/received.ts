// What is noted of every request when it comes.
import type { FastifyContextConfig, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** The config of a route, with what Fastify adds to it; where no route was found, there is no url. */
export type RouteConfig = FastifyContextConfig & { readonly url?: string }

/**
 * Notes when each request of the app began, which Fastify itself measures only for its log, and the config of its route:
 * once, because Fastify makes an object of a dozen members whenever it is asked.
 */
export function noteArrivals (app: FastifyInstance, admit: Admit): void {
  app.decorateRequest('multiStatusStart', 0)
  app.decorateRequest('multiStatusConfig', null)
  // One hook and not one for each question, as each costs as much as the answer.
  app.addHook('onRequest', function admitRequest (request, reply, next) {
    request.multiStatusStart = performance.now()
    const config = request.multiStatusConfig = request.routeOptions.config
    next(admit(config, request, reply))
  })
}

/** Whether a request may go on. @returns why not */
export type Admit = (config: RouteConfig, request: FastifyRequest, reply: FastifyReply) => Error | undefined

/** The config of the route of a request, also of one that another hook has kept from being noted, or has sent to where no route is found. */
export function configOf (request: FastifyRequest): RouteConfig {
  const noted = request.multiStatusConfig
  return noted !== null && (noted.url === undefined) === request.is404 ? noted : request.routeOptions.config
}
