// One request of a batch through the app's own router, with everything that a request of its own goes through.
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { BatchedRequest } from '../../schemas/index.js'
import { letPass } from '../core/admission.js'
import { timedOut } from '../errors.js'
import { encodeBody } from './body.js'
import { issuePassport, type Passport } from './guard.js'
import { ownHeaders } from './headers.js'
import { BatchedMessage, BatchedResponse, type Answer, type RequestParts } from './message.js'
import { answerTooLarge, badMethod, badUrl, routeNotAllowed, streamed, upgraded } from './refusals.js'

/** How many bytes of answers one batch may still carry. */
export interface Budget { left: number }

/** What the requests of one batch have in common. */
export interface Journey {
  readonly app: FastifyInstance
  readonly outer: FastifyRequest
  /** That the app knows. */
  readonly methods: readonly string[]
  /** The headers that every one of them inherits. */
  readonly inherited: IncomingHttpHeaders
  /** The headers that an item may have of its own. */
  readonly itemHeaders: ReadonlySet<string>
  /** Milliseconds for each. */
  readonly timeout: number
  /** Bytes of one answer, and of all together. */
  readonly limits: { readonly response: number, readonly total: number }
  readonly budget: Budget
  /** Functions that end what is on its way, as if its client had gone, so that what a route has begun can stop. */
  readonly running: Set<() => void>
}

/**
 * Makes of an item what goes through the router.
 * @throws ItemError INVALID_URL, METHOD_NOT_ALLOWED, HEADER_NOT_ALLOWED, INVALID_BODY
 */
export function prepareRequest (journey: Journey, { method = 'GET', url, headers, body, encoding }: BatchedRequest): RequestParts {
  const verb = expectMethod(method, journey.methods)
  const own = ownHeaders(journey.inherited, headers, journey.itemHeaders)
  const payload = encodeBody(verb, body, encoding, own)
  return { method: verb, url: expectUrl(url), headers: own, payload }
}

/** CONNECT asks for a tunnel, and TRACE would show the headers that the batch has inherited. */
function expectMethod (method: string, supported: readonly string[]): string {
  const verb = method.toUpperCase()
  if (!supported.includes(verb) || verb === 'CONNECT' || verb === 'TRACE') throw badMethod(method)
  return verb
}

/** RFC 9112 section 3.2.1: origin form. Visible ASCII, as Node takes it from a socket, without a fragment or a backslash. */
const ORIGIN_FORM = /^\/[!"$-[\]-~]*$/

/** A path segment that a proxy behind the route could take for a step upwards. */
const DOTS = /\/(?:\.|%2e){1,2}(?:\/|$)/i

/** Also of one that references have made longer. */
const LONGEST_URL = BatchedRequest.properties.url.maxLength!

function expectUrl (url: string): string {
  if (url.length > LONGEST_URL) throw badUrl(`one of ${url.length} characters, which is more than ${LONGEST_URL}`)
  if (!url.startsWith('/')) throw badUrl(/^[a-z][a-z\d+.-]*:/i.test(url) ? 'an absolute URL' : 'something else')
  if (url.startsWith('//')) throw badUrl('one of another host')
  if (!ORIGIN_FORM.test(url)) throw badUrl('one with characters that must be percent-encoded')
  if (DOTS.test(url.split('?', 1)[0]!)) throw badUrl('one with "." or ".." as a segment')
  return url
}

/** What became of one request on its way: its passport, and its answer or why there is none. */
interface Arrival {
  readonly passport: Passport
  readonly answer?: Answer
  readonly error?: unknown
}

/**
 * Sends a request through the router. Each begins in a turn of its own, as requests come from sockets: what a hook puts
 * off until its promise is settled is done before the next request begins, as the counting of a rate limit.
 */
function send (journey: Journey, parts: RequestParts, isTrial: boolean): Promise<Arrival> {
  return new Promise(resolve => {
    const message = new BatchedMessage(journey.outer.raw.socket, parts)
    const passport = issuePassport(message, isTrial)
    letPass(message)
    const end = (how: Omit<Arrival, 'passport'>) => {
      clearTimeout(timer)
      journey.running.delete(stop)
      resolve({ passport, ...how })
    }
    const response = new BatchedResponse(message, {
      onAnswer: answer => end({ answer }),
      onStream: statusCode => end({ error: streamed(statusCode) }),
      onAbort: () => end({ error: new Error(`${parts.method} ${parts.url} was ended without an answer`) })
    })
    const stop = () => {
      clearImmediate(start)
      message.destroy()
      response.destroy()
    }
    const start = setImmediate(() => {
      try {
        journey.app.routing(message, response)
      } catch (error) {
        end({ error })
      }
    })
    const timer = setTimeout(() => {
      end({ error: timedOut() })
      stop()
    }, journey.timeout)
    journey.running.add(stop)
  })
}

/**
 * Sends a request through the router.
 * @returns its answer, whatever its status
 * @throws ItemError when there is none that a batch can carry
 */
export async function dispatch (journey: Journey, parts: RequestParts): Promise<Answer> {
  const { passport, answer, error } = await send(journey, parts, false)
  if (answer === undefined) throw error
  expectAdmitted(passport, answer)
  const { limits, budget } = journey
  const { statusCode, payload } = answer
  if (statusCode < 200) throw upgraded()
  const size = payload === undefined ? 0 : Buffer.byteLength(payload)
  if (size > limits.response) throw answerTooLarge(statusCode, limits.response, 'of one answer')
  if (size > budget.left) throw answerTooLarge(statusCode, limits.total, 'of all answers together')
  budget.left -= size
  return answer
}

/** What answers before the guard can refuse, as a rate limit does; it cannot admit. */
function expectAdmitted ({ refusal, isAdmitted }: Passport, { statusCode }: Answer): void {
  if (refusal !== undefined) throw refusal
  if (!isAdmitted && statusCode < 400) throw routeNotAllowed()
}

/**
 * Sends a request through the router as far as validation; neither `preHandler` hooks of the route nor its handler run.
 * @returns undefined when it is valid, else what is wrong with it: an error of validation, or the answer of a hook
 * @throws ItemError when there is no such answer
 */
export async function tryOut (journey: Journey, parts: RequestParts): Promise<{ invalid: unknown, answer: Answer } | undefined> {
  const { passport, answer, error } = await send(journey, parts, true)
  if (answer === undefined) throw error
  expectAdmitted(passport, answer)
  // A hook may have the answer already, as a cache.
  return answer.statusCode < 400 ? undefined : { invalid: passport.error, answer }
}
