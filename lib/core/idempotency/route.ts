// Answers a repeated bulk request with its first answer (draft-ietf-httpapi-idempotency-key-header).
import { createHash } from 'node:crypto'
import { PassThrough, finished, type Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import {
  IdempotencyAnswerLost, IdempotencyInFlight, IdempotencyKeyMalformed, IdempotencyKeyMissing, IdempotencyKeyUnusable, IdempotencyMismatch
} from '../../errors.js'
import { configOf } from '../request/received.js'
import { stopReading } from '../request/unread-body.js'
import { documentIdempotency, documentRefusal } from './openapi.js'
import { fingerprintOf, isUnread, parseIdempotencyKey } from './key.js'
import { lockKey, type Lock } from './lock.js'
import { readIdempotencyOptions, type IdempotencyOptions, type IdempotencySettings } from './options.js'
import type { Answer } from './store.js'

/** The state of a request that has a key. */
interface Keyed {
  readonly fingerprint: string | undefined
  /** Present while the request runs. */
  lock?: Lock
  /** Present if the request has run before. */
  answer?: Answer
}

/** Makes the bulk routes of the app accept the header, and its streams refuse it, unless `config.idempotency` is false. */
export function prepareIdempotency (app: FastifyInstance, defaults: IdempotencyOptions | false): void {
  const plugin = defaults === false ? false : readIdempotencyOptions(defaults)
  app.addHook('onRoute', function (route) {
    const { multiStatus, multiStatusStream: stream, idempotency: own } = route.config ?? {}
    if ((multiStatus ?? stream) === undefined || [route.method].flat().every(isSafe)) return
    const settings = own ? readIdempotencyOptions(own) : own ?? plugin
    if (settings === false) return
    if (stream === undefined) protect(route, settings)
    else refuseKeys(route)
    // When the app is ready, because then the contract has documented the route.
    this.addHook('onReady', async () => {
      route.schema = stream === undefined ? documentIdempotency(route.schema!, settings) : documentRefusal(route.schema!)
    })
  })
}

function isSafe (method: string): boolean {
  return ['GET', 'HEAD', 'OPTIONS'].includes(method)
}

/** The most bytes of an answer that is stored. */
const MAX_ANSWER = 16 * 1024 * 1024

/**
 * Locks the key in the handler, when every hook has let the request pass, so that nobody gets a stored answer who may not
 * call the route. The answer is stored before the route's own onSend hooks, for example compression; a replay passes
 * them again.
 */
function protect (route: RouteOptions, settings: IdempotencySettings): void {
  const requests = new WeakMap<FastifyRequest, Keyed>()
  const { handler, preValidation = [], onSend = [] } = route

  route.preValidation = [async (request: FastifyRequest) => {
    // Before the validation, because that removes invalid items from the body.
    if (request.headers['idempotency-key'] !== undefined) requests.set(request, { fingerprint: fingerprintOf(request) })
  }, preValidation].flat()

  route.handler = async function (request, reply) {
    const keyed = requests.get(request)
    if (keyed === undefined) expectNoKeyNeeded(request, settings)
    else await claimKey(request, reply, keyed, settings)
    return keyed?.answer === undefined ? handler.call(this, request, reply) ?? reply : replay(reply, keyed.answer)
  }

  route.onSend = [async (request: FastifyRequest, reply: FastifyReply, payload: unknown) => {
    const { lock, answer } = requests.get(request) ?? {}
    if (answer !== undefined) return answer.body
    requests.delete(request)
    return lock === undefined ? payload : storeAnswer(reply, payload, lock)
  }, onSend].flat()
}

/** Refuses keys in the handler, when every hook has let the request pass, so that an error of a hook comes first. */
function refuseKeys (route: RouteOptions): void {
  const { handler } = route
  route.handler = function (request, reply) {
    if (request.headers['idempotency-key'] === undefined) return handler.call(this, request, reply)
    readKey(request)
    throw unusable(request, reply)
  }
}

function expectNoKeyNeeded (request: FastifyRequest, { required }: IdempotencySettings): void {
  if (required && !isUnread(request)) throw new IdempotencyKeyMissing()
}

/** Sets the lock or the earlier answer in `keyed`. If it throws, nothing runs. */
async function claimKey (request: FastifyRequest, reply: FastifyReply, keyed: Keyed, settings: IdempotencySettings): Promise<void> {
  const key = readKey(request)
  if (keyed.fingerprint === undefined) throw unusable(request, reply)

  const taken = await lockKey(await scopeKey(request, key, settings), keyed.fingerprint, settings, request.log)
  if ('lock' in taken) {
    keyed.lock = taken.lock
    // A handler that hijacks the reply never reaches onSend.
    reply.raw.once('close', () => { if (reply.raw.writableFinished) taken.lock.abandon() })
    return
  }
  const { fingerprint, answer } = taken.held
  if (fingerprint !== keyed.fingerprint) throw new IdempotencyMismatch()
  if (answer?.body === null) throw new IdempotencyAnswerLost()
  if (answer === undefined) {
    reply.header('retry-after', 1)
    throw new IdempotencyInFlight()
  }
  keyed.answer = answer
}

/**
 * Reads the key of a request.
 * @throws FST_MULTI_STATUS_IDEMPOTENCY_KEY_MALFORMED
 */
function readKey (request: FastifyRequest): string {
  const header = String(request.headers['idempotency-key'])
  const key = parseIdempotencyKey(header)
  if (key === undefined) throw new IdempotencyKeyMalformed(JSON.stringify(header.slice(0, 80)))
  return key
}

/** Creates the error for a body that cannot be fingerprinted, and stops reading that body. */
function unusable (request: FastifyRequest, reply: FastifyReply): Error {
  stopReading(request, reply)
  return new IdempotencyKeyUnusable()
}

/** Hashes the key with its route and principal, so that it is unique to them, short, and safe for any store. */
async function scopeKey (request: FastifyRequest, key: string, { principal }: IdempotencySettings): Promise<string> {
  const scope = JSON.stringify([request.method, configOf(request).url, await principal?.(request) ?? null, key])
  return createHash('sha256').update(scope).digest('base64url')
}

function replay (reply: FastifyReply, { status, headers, body }: Answer): FastifyReply {
  return reply.code(status).headers({ ...headers, 'idempotency-replayed': 'true' }).send(body)
}

/** The headers that are stored with an answer. */
const HEADERS = ['content-type', 'content-encoding', 'multi-status', 'preference-applied', 'vary', 'location', 'retry-after']

/** Stores an answer with results. Any other status means that nothing ran, so the key is released for another attempt. */
async function storeAnswer (reply: FastifyReply, payload: unknown, lock: Lock): Promise<unknown> {
  const status = reply.statusCode
  if (status >= 300) {
    await lock.release()
    return payload
  }
  const headers = Object.fromEntries(HEADERS.filter(name => reply.hasHeader(name)).map(name => [name, String(reply.getHeader(name))]))
  const store = (body: Buffer | null) => lock.complete({ status, headers, body })
  if (isStream(payload)) return storeStream(payload, store)
  await store(bytesOf(payload))
  return payload
}

function isStream (payload: unknown): payload is Readable {
  return typeof (payload as Readable | null | undefined)?.pipe === 'function'
}

/** @returns null for a payload that is too large, or that can be read only once */
function bytesOf (payload: unknown): Buffer | null {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload ?? Buffer.alloc(0)
  return Buffer.isBuffer(bytes) && bytes.length <= MAX_ANSWER ? bytes : null
}

/**
 * Forwards a stream to the client and stores a copy. It reads the stream to its end even if the client disconnects,
 * because the answer is still worth storing. For the client the stream ends only when the answer is stored.
 * @param store called with the whole body, or with null if it was too large or the stream failed
 */
function storeStream (source: Readable, store: (body: Buffer | null) => Promise<void>): Readable {
  const client = new PassThrough()
  const chunks: Buffer[] = []
  let size = 0
  source.on('data', (chunk: Buffer | string) => {
    const bytes = Buffer.from(chunk as string)
    size += bytes.length
    if (size <= MAX_ANSWER) chunks.push(bytes)
    else chunks.length = 0
  })
  source.pipe(client, { end: false })
  client.once('close', () => {
    source.unpipe(client)
    source.resume()
  })
  finished(source, async error => {
    await store(error || size > MAX_ANSWER ? null : Buffer.concat(chunks))
    if (error) client.destroy(error)
    else client.end()
  })
  return client
}
