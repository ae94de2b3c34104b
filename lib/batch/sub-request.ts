// One request of a batch through the app's own router, with everything that a request of its own goes through.
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { BatchedRequest } from '../../schemas/index.js'
import { timedOut } from '../errors.js'
import { encodeBody } from './body.js'
import { ownHeaders } from './headers.js'
import { BatchedMessage, BatchedResponse, type Answer, type ConnectionView, type Listener, type RequestParts } from './message.js'
import type { Passport } from './sub-request-state.js'
import { answerTooLarge, badMethod, badUrl, routeNotAllowed, streamed, upgraded } from './errors.js'
import type { Running, Traveller } from './running.js'

/** How many bytes of answers one batch may still carry. */
export interface Budget { left: number }

/** What the requests of one batch have in common. */
export interface Journey {
  readonly app: FastifyInstance
  /** That of the batch, as its requests see it. */
  readonly connection: ConnectionView
  /** That the app knows. */
  readonly methods: readonly string[]
  /** The headers that every one of them inherits. */
  readonly inherited: IncomingHttpHeaders
  /** The headers that an item may have of its own. */
  readonly itemHeaders: ReadonlySet<string>
  /** Bytes of one answer, and of all together. */
  readonly limits: { readonly response: number, readonly total: number }
  readonly budget: Budget
  readonly running: Running
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
const DOTS = /^[^?]*\/(?:\.|%2e){1,2}(?:[/?]|$)/i

/** Also of one that references have made longer. */
const LONGEST_URL = BatchedRequest.properties.url.maxLength!

function expectUrl (url: string): string {
  if (url.length > LONGEST_URL) throw badUrl(`one of ${url.length} characters, which is more than ${LONGEST_URL}`)
  if (!url.startsWith('/')) throw badUrl(/^[a-z][a-z\d+.-]*:/i.test(url) ? 'an absolute URL' : 'something else')
  if (url.startsWith('//')) throw badUrl('one of another host')
  if (!ORIGIN_FORM.test(url)) throw badUrl('one with characters that must be percent-encoded')
  if (DOTS.test(url)) throw badUrl('one with "." or ".." as a segment')
  return url
}

/** What became of one request on its way: its passport, and its answer or why there is none. */
export interface Arrival {
  readonly passport: Passport
  readonly answer?: Answer
  readonly error?: unknown
}

/**
 * Sends a request through the router. Each begins in a turn of its own, as requests come from sockets: what a hook puts
 * off until its promise is settled is done before the next request begins, as the counting of a rate limit.
 * @param isTrial whether only as far as validation; neither `preHandler` hooks of the route nor its handler run
 */
export function send (journey: Journey, parts: RequestParts, isTrial: boolean): Promise<Arrival> {
  return new Promise(resolve => {
    const trip = new Trip(journey, parts, isTrial, resolve)
    journey.running.add(trip)
  })
}

function begin (trip: Trip): void {
  trip.begin()
}

/** A request on its way. A class, because as many closures as this has methods would cost more than the way. */
class Trip implements Listener, Traveller {
  readonly #journey: Journey
  readonly #message: BatchedMessage
  readonly #response: BatchedResponse
  readonly #arrive: (arrival: Arrival) => void
  readonly #start: NodeJS.Immediate

  constructor (journey: Journey, parts: RequestParts, isTrial: boolean, arrive: (arrival: Arrival) => void) {
    const passport: Passport = { isTrial, isAdmitted: false, refusal: undefined, error: undefined }
    this.#journey = journey
    this.#message = new BatchedMessage(journey.connection, parts, passport)
    this.#response = new BatchedResponse(this.#message, this)
    this.#arrive = arrive
    this.#start = setImmediate(begin, this)
  }

  begin (): void {
    try {
      this.#journey.app.routing(this.#message, this.#response)
    } catch (error) {
      this.#end(undefined, error)
    }
  }

  onAnswer (answer: Answer): void {
    this.#end(answer, undefined)
  }

  onStream (statusCode: number): void {
    this.#end(undefined, streamed(statusCode))
  }

  onAbort (): void {
    const { method, url } = this.#message
    this.#end(undefined, new Error(`${method} ${url} was ended without an answer`))
  }

  expire (): void {
    this.#end(undefined, timedOut())
    this.stop()
  }

  stop (): void {
    clearImmediate(this.#start)
    this.#message.destroy()
    this.#response.destroy()
  }

  #end (answer: Answer | undefined, error: unknown): void {
    this.#journey.running.delete(this)
    this.#arrive({ passport: this.#message.passport, answer, error })
  }
}

/**
 * What has arrived, if a batch can carry it.
 * @returns the answer, whatever its status
 * @throws ItemError when it cannot, and whatever has kept the request from being answered
 */
export function readAnswer ({ limits, budget }: Journey, arrival: Arrival): Answer {
  const answer = expectAnswer(arrival)
  const { statusCode, payload } = answer
  if (statusCode < 200) throw upgraded()
  const size = payload === undefined ? 0 : Buffer.byteLength(payload)
  if (size > limits.response) throw answerTooLarge(statusCode, limits.response, 'of one answer')
  if (size > budget.left) throw answerTooLarge(statusCode, limits.total, 'of all answers together')
  budget.left -= size
  return answer
}

/** What answers before the guard can refuse, as a rate limit does; it cannot admit. */
function expectAnswer ({ passport: { refusal, isAdmitted }, answer, error }: Arrival): Answer {
  if (answer === undefined) throw error
  if (refusal !== undefined) throw refusal
  if (!isAdmitted && answer.statusCode < 400) throw routeNotAllowed()
  return answer
}

/**
 * What has been found by trying out.
 * @returns undefined when the request is valid, else what is wrong with it: an error of validation, or the answer of a hook
 * @throws ItemError when there is no such answer
 */
export function readTrial (arrival: Arrival): { invalid: unknown, answer: Answer } | undefined {
  const answer = expectAnswer(arrival)
  // A hook may have the answer already, as a cache.
  return answer.statusCode < 400 ? undefined : { invalid: arrival.passport.error, answer }
}
