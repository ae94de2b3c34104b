// Makes a sub-request of an item, sends it through the app by `app.inject`, and reads its answer.
import { ServerResponse, type IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest, InjectOptions, LightMyRequestResponse } from 'fastify'
import { BatchedRequest } from '../../schemas/index.js'
import {
  answerLost, answerTooLarge, invalidBody, invalidUrl, methodNotAllowed, routeNotAllowed, timedOut, upgradeNotAllowed
} from '../errors.js'
import { injectGuarded, leaveGuard, type Connection, type SubRequestState } from './guard.js'
import { itemHeaders } from './headers.js'
import type { BatchSettings } from './options.js'
import { JSON_TYPE, type Answer } from './result.js'

/** What the sub-requests of one batch have in common. */
export interface BatchContext {
  readonly app: FastifyInstance
  readonly settings: BatchSettings
  /** The request that carries the batch. */
  readonly outer: FastifyRequest
  /** What each sub-request shows of its connection. */
  readonly connection: Connection
  /** The headers that every sub-request inherits. */
  readonly inherited: IncomingHttpHeaders
  /** How many bytes of answers the batch may still carry. */
  bytesLeft: number
  /** Ends of the sub-requests that run, and when their time is over; the first comes first, as all have the same time. */
  readonly running: Map<(reason: unknown) => void, number>
  /** Ends those that take too long; one for all, because timers cost. */
  timer?: NodeJS.Timeout | undefined
}

/** A request in the terms of `app.inject`. */
export interface SubRequest {
  readonly method: string
  /** In origin form: path and query. */
  readonly url: string
  /** By names in lower case. */
  readonly headers: IncomingHttpHeaders
  readonly payload: string | Buffer | undefined
}

/**
 * Makes a sub-request of an item.
 * @throws ItemError INVALID_URL, METHOD_NOT_ALLOWED, HEADER_NOT_ALLOWED, INVALID_BODY
 */
export function prepareRequest (context: BatchContext, { method = 'GET', url, headers, body, encoding }: BatchedRequest): SubRequest {
  const verb = checkMethod(method, context.app.supportedMethods)
  const own = itemHeaders(context.inherited, headers, context.settings.own)
  const payload = encodeBody(verb, body, encoding, own)
  return { method: verb, url: checkUrl(url), headers: own, payload }
}

/** CONNECT asks for a tunnel, and TRACE would show the headers that the batch has inherited. */
function checkMethod (method: string, supported: readonly string[]): string {
  const verb = method.toUpperCase()
  if (!supported.includes(verb) || verb === 'CONNECT' || verb === 'TRACE') throw methodNotAllowed(method)
  return verb
}

/** RFC 9112 section 3.2.1: origin form. Visible ASCII, as Node takes it from a socket, without a fragment or a backslash. */
const ORIGIN_FORM = /^\/[!"$-[\]-~]*$/

/** A path segment that a proxy behind the route could take for a step upwards. */
const DOTS = /^[^?]*\/(?:\.|%2e){1,2}(?:[/?]|$)/i

/** Also of one that references have made longer. */
const LONGEST_URL = BatchedRequest.properties.url.maxLength!

function checkUrl (url: string): string {
  if (url.length > LONGEST_URL) throw invalidUrl(`one of ${url.length} characters, which is more than ${LONGEST_URL}`)
  if (!url.startsWith('/')) throw invalidUrl(/^[a-z][a-z\d+.-]*:/i.test(url) ? 'an absolute URL' : 'something else')
  if (url.startsWith('//')) throw invalidUrl('one of another host')
  if (!ORIGIN_FORM.test(url)) throw invalidUrl('one with characters that must be percent-encoded')
  if (DOTS.test(url)) throw invalidUrl('one with "." or ".." as a segment')
  return url
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Encodes the body of an item, and sets the headers that describe it. */
function encodeBody (
  method: string, body: unknown, encoding: 'base64' | undefined, headers: IncomingHttpHeaders
): string | Buffer | undefined {
  if (body === undefined) {
    if (encoding !== undefined) throw invalidBody('must be there, as encoding is')
    return undefined
  }
  if (method === 'GET' || method === 'HEAD') throw invalidBody(`must not be there, as a ${method} has none`)
  const payload = encoding === 'base64' ? decodeBase64(body, headers) : encodeText(body, headers)
  headers['content-length'] = String(Buffer.byteLength(payload))
  return payload
}

function decodeBase64 (body: unknown, headers: IncomingHttpHeaders): Buffer {
  if (typeof body !== 'string' || !BASE64.test(body)) throw invalidBody('must be base64 with its padding (RFC 4648 section 4)')
  headers['content-type'] ??= 'application/octet-stream'
  return Buffer.from(body, 'base64')
}

function encodeText (body: unknown, headers: IncomingHttpHeaders): string {
  const type = headers['content-type'] ??= 'application/json'
  if (JSON_TYPE.test(type)) return stringify(body)
  if (typeof body !== 'string') throw invalidBody(`must be a string, as its content-type is ${type.slice(0, 80)}`)
  return body
}

function stringify (body: unknown): string {
  try {
    return JSON.stringify(body)
  } catch {
    throw invalidBody('must not be so deep')
  }
}

/** What came of a sub-request: its answer, or why there is none. */
export interface SubRequestOutcome {
  readonly answer?: Answer
  /** Why it was refused, or has no answer. */
  readonly failure?: unknown
  /** What the route threw, before the app's error handler made an answer of it. */
  readonly thrown?: unknown
}

/**
 * Sends a sub-request. Each begins in a turn of the event loop of its own, as requests from sockets do: what a hook puts
 * off until a promise is settled is done before the next one begins, such as the counting of a rate limit.
 * @param isTrial whether it stops after validation, before the route's `preHandler` hooks and its handler
 */
export function send (context: BatchContext, request: SubRequest, isTrial: boolean): Promise<SubRequestOutcome> {
  const { app, connection, settings, running } = context
  const { method, url } = request
  return new Promise(resolve => {
    const state: SubRequestState = { connection, isTrial, method, url, allow: settings.allow, isOver: false, limit: settings.limits.response, end }
    running.set(end, performance.now() + settings.timeout)
    context.timer ??= setTimeout(endLate, settings.timeout, context)

    function settle (outcome: SubRequestOutcome): void {
      running.delete(end)
      leaveGuard(state)
      resolve(outcome)
    }
    function end (failure: unknown): void {
      settle({ failure })
      state.response?.destroy()
    }
    function begin (): void {
      /* c8 ignore next -- only if the batch is aborted between this turn and the one before */
      if (state.isOver) return
      try {
        injectGuarded(app, state, toInjectOptions(request, context.outer), (error, response) => {
          if (response) settle(readResponse(state, response))
          else end(error)
        })
      } catch (error) {
        end(error)
      }
    }
    setImmediate(begin)
  })
}

function endLate (context: BatchContext): void {
  context.timer = undefined
  const now = performance.now()
  for (const [end, deadline] of context.running) {
    // A timer may be early by a part of a millisecond.
    if (deadline - now >= 1) {
      context.timer = setTimeout(endLate, deadline - now, context)
      return
    }
    end(timedOut())
  }
}

function toInjectOptions ({ method, url, headers, payload }: SubRequest, outer: FastifyRequest): InjectOptions {
  const { remoteAddress } = outer.raw.socket
  // `inject` makes up a user agent where this member is missing.
  headers['user-agent'] ??= undefined
  return {
    method: method as 'GET',
    url,
    headers,
    ...(payload !== undefined && { payload }),
    ...(remoteAddress !== undefined && { remoteAddress })
  }
}

function readResponse (state: SubRequestState, response: LightMyRequestResponse): SubRequestOutcome {
  const { res } = response.raw
  if (res.end === ServerResponse.prototype.end) return readBehindExpress(state, res)
  return toOutcome(state, res, { statusCode: response.statusCode, headers: response.headers, payload: response.rawPayload })
}

/**
 * Behind Express, which replaces the methods by which `inject` sees a body, takes the one that an onSend hook has seen, if
 * it is the one that was announced.
 */
function readBehindExpress (state: SubRequestState, response: ServerResponse): SubRequestOutcome {
  const { statusCode } = response
  const headers = response.getHeaders()
  const payload = Buffer.from(state.payload ?? '')
  const hasBody = state.method !== 'HEAD' && statusCode !== 204 && statusCode !== 304
  const isComplete = payload.length === Number(headers['content-length'] ?? 0)
  if (state.refusal === undefined && hasBody && !isComplete) return { failure: answerLost(statusCode) }
  return toOutcome(state, response, { statusCode, headers, payload: hasBody ? payload : Buffer.alloc(0) })
}

/** A hook that answers before the guard, as a rate limit does, can refuse a sub-request but not admit it. */
function toOutcome ({ refusal, error, response: guarded }: SubRequestState, response: ServerResponse, answer: Answer): SubRequestOutcome {
  if (guarded !== response) return answer.statusCode < 400 ? { failure: routeNotAllowed() } : { answer }
  return refusal === undefined ? { answer, thrown: error } : { failure: refusal }
}

/**
 * Reads the answer of a sub-request, if the batch can carry it.
 * @returns the answer, whatever its status
 * @throws ItemError when the batch cannot, and whatever has kept the sub-request from being answered
 */
export function readAnswer (context: BatchContext, { answer, failure }: SubRequestOutcome): Answer {
  if (answer === undefined) throw failure
  const { statusCode, payload } = answer
  const { response, total } = context.settings.limits
  if (statusCode < 200) throw upgradeNotAllowed()
  if (payload.length > response) throw answerTooLarge(statusCode, response, 'of one answer')
  if (payload.length > context.bytesLeft) throw answerTooLarge(statusCode, total, 'of all answers together')
  context.bytesLeft -= payload.length
  return answer
}
