// Lets sub-requests reach the routes that have opted in, and no others. It decides after routing, by the route that was
// found, so that no way to write a URL gets around it.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest, InjectOptions, LightMyRequestCallback } from 'fastify'
import { SUB_REQUEST } from '../core/request/admission.js'
import { answerTooLarge, methodNotAllowed, nestedBatch, routeNotAllowed, routeNotFound, streamNotAllowed, type ItemError } from '../errors.js'

/** A route as `batch.allow` sees it. */
export interface RouteInfo {
  /** As it was registered: one method or several. */
  readonly method: string | string[]
  /** As it was registered, for example "/contacts/:id". */
  readonly url: string
  readonly config: object
}

/** What the app's hooks know of a sub-request, and what they find out about it. */
export interface SubRequestState {
  /** That of the request that carries the batch. */
  readonly connection: Connection
  readonly method: string
  readonly url: string
  /** Whether it stops after validation. */
  readonly isTrial: boolean
  /** Whether a route that says nothing of itself has opted in. */
  readonly allow: (route: RouteInfo) => boolean
  /** How many bytes its answer may have. */
  readonly limit: number
  /** Ends it without an answer. */
  readonly end: (failure: unknown) => void
  /** Whether nobody waits for it any more, so that it must not begin. */
  isOver: boolean
  /** Its response, once the guard has seen it. */
  response?: ServerResponse
  /** Why it may not go on. */
  refusal?: ItemError | undefined
  /** What the route threw, before the app's error handler made an answer of it. */
  error?: unknown
  /** The body that the route has sent, unless it wrote to the raw response. */
  payload?: string | Uint8Array | undefined
}

/** Marks a batch's own route; shared by every copy of this module. */
export const BATCH_ROUTE = Symbol.for('fastify-multi-status.batch')

const storage = new AsyncLocalStorage<SubRequestState | undefined>()
/** Sub-requests that have been sent and that the guard has not seen yet. */
const unseen = new Set<SubRequestState>()
const guarded = new WeakSet<FastifyInstance>()

/** Sends a sub-request with `inject`, so that the guard recognises it. */
export function injectGuarded (app: FastifyInstance, state: SubRequestState, options: InjectOptions, callback: LightMyRequestCallback): void {
  unseen.add(state)
  storage.run(state, () => app.inject(options, callback))
}

/** Nobody waits for a sub-request any more: it must not begin. */
export function leaveGuard (state: SubRequestState): void {
  unseen.delete(state)
  state.isOver = true
}

/** Puts the guard before every route of the app, also before those outside of the plugin in which this is registered. */
export function guardRoutes (app: FastifyInstance): void {
  const root = rootOf(app)
  if (guarded.has(root)) return
  guarded.add(root)
  root.addHook('onRequest', function guardSubRequest (request, reply, next) {
    const sent = storage.getStore()
    const state = sent ?? findLost(request)
    if (state === undefined) return next()
    if (sent !== undefined) unseen.delete(sent)
    admit(state, request, reply)
    if (state.isOver || state.refusal !== undefined) return stop(reply, state.refusal?.statusCode ?? 503)
    // Outside of the storage, so that a request which the route itself injects is none of the batch.
    storage.run(undefined, next)
  })
  root.addHook('preHandler', function stopTrial (request, reply, next) {
    const state = stateOf(request)
    if (state === undefined || !state.isTrial) return next()
    state.error = request.validationError
    stop(reply, state.error === undefined ? 204 : 400)
  })
  root.addHook('onError', function keepError (request, _reply, error, next) {
    const state = stateOf(request)
    if (state !== undefined) state.error = error
    next()
  })
  root.addHook('onSend', function keepPayload (request, reply, payload, next) {
    const state = stateOf(request)
    if (state === undefined) return next(null, payload)
    if (!isStream(payload)) {
      state.payload = payload as string | Uint8Array | undefined
      return next(null, payload)
    }
    state.refusal = streamNotAllowed(reply.statusCode)
    endStream(payload)
    next(null, null)
  })
}

/** Fastify makes the instance of a plugin inherit from the instance around it; hooks of the outermost reach all routes. */
function rootOf (app: FastifyInstance): FastifyInstance {
  const parent = Object.getPrototypeOf(app) as FastifyInstance
  return 'addHook' in parent ? rootOf(parent) : app
}

/**
 * A hook before the guard may have lost the asynchronous context. An injected request (its socket cannot be written to)
 * is then judged as if it were the sub-request with its method and URL.
 */
function findLost (request: FastifyRequest): SubRequestState | undefined {
  if (unseen.size === 0 || 'write' in request.raw.socket) return undefined
  return [...unseen].find(({ method, url }) => {
    const { pathname, search } = new URL(url, 'http://localhost')
    return method === request.method && `${pathname}${search}` === request.originalUrl
  })
}

/** A sub-request carries its state where admission looks whether it is one. */
function stateOf ({ raw }: FastifyRequest): SubRequestState | undefined {
  return (raw as { [SUB_REQUEST]?: SubRequestState })[SUB_REQUEST]
}

function admit (state: SubRequestState, request: FastifyRequest, reply: FastifyReply): void {
  state.response = reply.raw
  state.refusal = judge(state, request)
  Object.assign(request.raw, { [SUB_REQUEST]: state })
  Object.assign(request.raw.socket, state.connection)
  limitAnswer(state, reply.raw)
  // A route that writes after the end would otherwise end the process.
  reply.raw.on('error', () => {})
}

/** `inject` keeps all that is written, also what a route writes without end. */
function limitAnswer ({ limit, end }: SubRequestState, response: ServerResponse): void {
  let size = 0
  const keep = response.write as (...args: unknown[]) => boolean
  function write (this: ServerResponse, chunk: string | Uint8Array, ...rest: unknown[]): boolean {
    size += Buffer.byteLength(chunk)
    if (size <= limit) return keep.call(this, chunk, ...rest)
    end(answerTooLarge(this.statusCode, limit, 'of one answer'))
    return false
  }
  response.write = write
}

function judge ({ allow }: SubRequestState, request: FastifyRequest): ItemError | undefined {
  if (request.is404) return explainNotFound(request)
  const { config, method, url } = request.routeOptions
  if (BATCH_ROUTE in config) return nestedBatch()
  const isAllowed = config.batch ?? allow({ method: method!, url: url!, config })
  return isAllowed ? undefined : routeNotAllowed()
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

function explainNotFound ({ method, url, server }: FastifyRequest): ItemError {
  const path = url.split('?', 1)[0]!
  const others = METHODS.filter(other => other !== method && server.findRoute({ method: other, url: path }) !== null)
  return others.length > 0 ? methodNotAllowed(method) : routeNotFound()
}

/** Ends a request without a body; its result says why. */
function stop (reply: FastifyReply, statusCode: number): void {
  reply.hijack()
  reply.raw.statusCode = statusCode
  reply.raw.end()
}

/** What hooks look at to know who is at the other end, and by which protocol. */
const CONNECTION = [
  'remotePort', 'remoteFamily', 'localAddress', 'localPort', 'destroyed', 'encrypted', 'authorized', 'authorizationError'
] as const
const CERTIFICATES = ['getPeerCertificate', 'getPeerX509Certificate'] as const

/** Members of a connection. */
export type Connection = Readonly<Record<string, unknown>>

/** Reads what the sub-requests of a batch show of its connection; `inject` itself knows the remote address only. */
export function readConnection (socket: Socket): Connection {
  const source = socket as unknown as Connection
  const shown: Record<string, unknown> = {}
  for (const name of CONNECTION) shown[name] = source[name]
  for (const name of CERTIFICATES) {
    const read = source[name]
    if (typeof read === 'function') shown[name] = read.bind(socket)
  }
  return shown
}

interface StreamLike {
  pipe?: unknown
  getReader?: unknown
  destroy? (): void
  cancel? (): Promise<void>
}

function isStream (payload: unknown): payload is StreamLike {
  const { pipe, getReader } = Object(payload) as StreamLike
  return typeof pipe === 'function' || typeof getReader === 'function'
}

function endStream (stream: StreamLike): void {
  if (stream.destroy !== undefined) stream.destroy()
  else stream.cancel?.().catch(() => {})
}
