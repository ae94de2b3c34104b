// A request and a response without a socket, for `fastify.routing`. Fastify's inject does the same for tests, at four
// times the price, and it cannot tell a stream from an answer before it has read all of it.
import { EventEmitter } from 'node:events'
import { IncomingMessage, ServerResponse, type IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { PASSENGER } from '../core/request/admission.js'
import type { Passport } from './sub-request-state.js'

/** What a request of a batch is made of. */
export interface RequestParts {
  readonly method: string
  /** In origin form: path and query. */
  readonly url: string
  /** By names in lower case. */
  readonly headers: IncomingHttpHeaders
  readonly payload: string | Buffer | undefined
}

/** What was answered. */
export interface Answer {
  readonly statusCode: number
  /** By names in lower case. */
  readonly headers: Readonly<Record<string, unknown>>
  readonly payload: string | Uint8Array | undefined
}

/** What a {@link BatchedResponse} tells of itself, once. */
export interface Listener {
  /** The answer is complete. */
  onAnswer (answer: Answer): void
  /** The answer comes in pieces; it has been ended. */
  onStream (statusCode: number): void
  /** There will be no answer. */
  onAbort (): void
}

/**
 * What the requests of a batch show of its connection: who is at the other end, and nothing to write to.
 * Hooks that look at an address or at a client certificate see what they would see of a request of its own.
 */
export class ConnectionView extends EventEmitter {
  readonly #socket: Socket

  constructor (socket: Socket) {
    super()
    this.#socket = socket
    // Each request may have a listener of its own.
    this.setMaxListeners(0)
  }

  get remoteAddress () { return this.#socket.remoteAddress }
  get remotePort () { return this.#socket.remotePort }
  get remoteFamily () { return this.#socket.remoteFamily }
  get localAddress () { return this.#socket.localAddress }
  get localPort () { return this.#socket.localPort }
  get destroyed () { return this.#socket.destroyed }
  get encrypted () { return (this.#socket as TlsLike).encrypted }
  get authorized () { return (this.#socket as TlsLike).authorized }
  get authorizationError () { return (this.#socket as TlsLike).authorizationError }
  getPeerCertificate (detailed?: boolean) { return (this.#socket as TlsLike).getPeerCertificate?.(detailed) }
  getPeerX509Certificate () { return (this.#socket as TlsLike).getPeerX509Certificate?.() }
}

/** What the socket of a connection over TLS has beside. */
interface TlsLike extends Socket {
  encrypted?: boolean
  authorized?: boolean
  authorizationError?: unknown
  getPeerCertificate? (detailed?: boolean): unknown
  getPeerX509Certificate? (): unknown
}

/** A request whose body is there already. */
export class BatchedMessage extends IncomingMessage {
  readonly [PASSENGER] = true
  readonly passport: Passport
  readonly #payload: string | Buffer | undefined

  constructor (connection: ConnectionView, { method, url, headers, payload }: RequestParts, passport: Passport) {
    super(connection as unknown as Socket)
    this.passport = passport
    this.#payload = payload
    this.method = method
    this.url = url
    this.headers = headers
    for (const name in headers) this.rawHeaders.push(name, String(headers[name]))
    this.httpVersion = '1.1'
    this.httpVersionMajor = 1
    this.httpVersionMinor = 1
    this.complete = true
  }

  /** Only then, because most have no body that anybody reads. */
  override _read (): void {
    if (this.#payload !== undefined) this.push(this.#payload)
    this.push(null)
  }

  /** Ends this request alone; what is inherited would end the connection. */
  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.readableEnded) {
      this.aborted = true
      this.emit('aborted')
    }
    callback(error)
  }
}

/** A response that keeps what is answered in one piece, and ends at once what is answered in several. */
export class BatchedResponse extends ServerResponse {
  readonly #listener: Listener
  #headers: Record<string, unknown> = {}

  constructor (request: IncomingMessage, listener: Listener) {
    super(request)
    this.#listener = listener
  }

  override writeHead (statusCode: number, reason?: unknown, headers?: unknown): this {
    super.writeHead(statusCode, reason as string, headers as IncomingHttpHeaders)
    this.#headers = this.getHeaders()
    addHeaders(this.#headers, typeof reason === 'string' ? headers : reason)
    return this
  }

  override write (_chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    if (!this.headersSent) this.writeHead(this.statusCode)
    if (!this.destroyed && !this.finished) this.#listener.onStream(this.statusCode)
    this.destroy()
    callLater(encoding, callback)
    return false
  }

  override end (chunk?: unknown, encoding?: unknown, callback?: unknown): this {
    callLater(chunk, encoding, callback)
    if (this.finished || this.destroyed) return this
    if (!this.headersSent) this.writeHead(this.statusCode)
    this.finished = true
    this.#listener.onAnswer({ statusCode: this.statusCode, headers: this.#headers, payload: this.#payloadOf(chunk, encoding) })
    this.emit('finish')
    this.destroy()
    return this
  }

  #payloadOf (chunk: unknown, encoding: unknown): string | Uint8Array | undefined {
    if (this.req.method === 'HEAD' || this.statusCode === 204 || this.statusCode === 304) return undefined
    if (typeof chunk !== 'string') return chunk instanceof Uint8Array ? chunk : undefined
    if (typeof encoding !== 'string' || /^utf-?8$/i.test(encoding)) return chunk
    return Buffer.from(chunk, encoding as BufferEncoding)
  }

  override destroy (): this {
    if (this.destroyed) return this
    this.destroyed = true
    if (!this.finished) this.#listener.onAbort()
    process.nextTick(emitClose, this)
    return this
  }

  override flushHeaders (): void {
    if (!this.headersSent) this.writeHead(this.statusCode)
  }

  // Nobody waits for news before the answer.
  override writeContinue (): void {}
  override writeProcessing (): void {}
  override writeEarlyHints (): void {}
}

function emitClose (response: BatchedResponse): void {
  response.emit('close')
}

/** Headers as writeHead takes them: an object, a list of pairs, or names and values by turns. */
function addHeaders (headers: Record<string, unknown>, given: unknown): void {
  if (given === null || typeof given !== 'object') return
  if (!Array.isArray(given)) {
    for (const name in given) headers[name.toLowerCase()] = (given as Record<string, unknown>)[name]
    return
  }
  const list = given.flat() as unknown[]
  for (let index = 0; index < list.length; index += 2) headers[String(list[index]).toLowerCase()] = list[index + 1]
}

/** Calls the first function among optional arguments, as a stream does once a piece is written. */
function callLater (...values: unknown[]): void {
  const callback = values.find(value => typeof value === 'function') as (() => void) | undefined
  if (callback !== undefined) process.nextTick(callback)
}
