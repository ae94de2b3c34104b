// Answers a bulk request that comes again as it was answered first (draft-ietf-httpapi-idempotency-key-header).
import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import {
  IdempotencyAnswerLost, IdempotencyInFlight, IdempotencyKeyMalformed, IdempotencyKeyMissing, IdempotencyKeyUnusable, IdempotencyMismatch
} from '../../errors.js'
import { configOf } from '../request/received.js'
import { stopReading } from '../request/unread-body.js'
import { documentIdempotency, documentRefusal } from './openapi.js'
import { fingerprintOf, isUnread } from './fingerprint.js'
import { parseIdempotencyKey } from './key.js'
import { takeLease, type Lease } from './lock.js'
import { readIdempotencyOptions, type IdempotencyOptions, type IdempotencySettings } from './options.js'
import { keepStream } from './stream.js'
import type { Answer } from './store.js'

/** What is known of a request that has a key. */
interface Keyed {
  readonly fingerprint: string | undefined
  /** While it runs. */
  lease?: Lease
  /** When it has run before. */
  answer?: Answer
}

/** From now on, every bulk route of the app honours the header, and every stream refuses it, unless its `config.idempotency` is false. */
export function prepareIdempotency (app: FastifyInstance, defaults: IdempotencyOptions | false): void {
  const plugin = defaults === false ? false : readIdempotencyOptions(defaults)
  app.addHook('onRoute', function (route) {
    const { multiStatus, multiStatusStream: stream, idempotency: own } = route.config ?? {}
    if ((multiStatus ?? stream) === undefined || [route.method].flat().every(isSafe)) return
    const settings = own ? readIdempotencyOptions(own) : own ?? plugin
    if (settings === false) return
    if (stream === undefined) protect(route, settings)
    else refuseKeys(route)
    // After the contract has had its say.
    this.addHook('onReady', async () => {
      route.schema = stream === undefined ? documentIdempotency(route.schema!, settings) : documentRefusal(route.schema!)
    })
  })
}

function isSafe (method: string): boolean {
  return ['GET', 'HEAD', 'OPTIONS'].includes(method)
}

/** Answers of which more bytes than this are not kept. */
const MAX_ANSWER = 16 * 1024 * 1024

/**
 * The key is looked at when every hook has let the request pass, so that nobody gets an answer who would not get the
 * first one. What is kept is what the route's own onSend hooks get to see, as those that compress; a replay passes them again.
 */
function protect (route: RouteOptions, settings: IdempotencySettings): void {
  const requests = new WeakMap<FastifyRequest, Keyed>()
  const { handler, preValidation = [], onSend = [] } = route

  route.preValidation = [async (request: FastifyRequest) => {
    // Now, because the validation takes invalid items out of the body.
    if (request.headers['idempotency-key'] !== undefined) requests.set(request, { fingerprint: fingerprintOf(request) })
  }, preValidation].flat()

  route.handler = async function (request, reply) {
    const keyed = requests.get(request)
    if (keyed === undefined) expectNoKeyNeeded(request, settings)
    else await claimKey(request, reply, keyed, settings)
    return keyed?.answer === undefined ? handler.call(this, request, reply) ?? reply : replay(reply, keyed.answer)
  }

  route.onSend = [async (request: FastifyRequest, reply: FastifyReply, payload: unknown) => {
    const { lease, answer } = requests.get(request) ?? {}
    if (answer !== undefined) return answer.body
    requests.delete(request)
    return lease === undefined ? payload : keepAnswer(reply, payload, lease)
  }, onSend].flat()
}

/** Also when every hook has let the request pass, so that who may not stream hears that first. */
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

/** Leaves either a lease or the answer of before in `keyed`; or throws, and nothing runs. */
async function claimKey (request: FastifyRequest, reply: FastifyReply, keyed: Keyed, settings: IdempotencySettings): Promise<void> {
  const key = readKey(request)
  if (keyed.fingerprint === undefined) throw unusable(request, reply)

  const taken = await takeLease(await scopeKey(request, key, settings), keyed.fingerprint, settings, request.log)
  if ('lease' in taken) {
    keyed.lease = taken.lease
    // Whoever takes the reply into their own hands never comes to onSend.
    reply.raw.once('close', () => { if (reply.raw.writableFinished) taken.lease.drop() })
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

/** @throws FST_MULTI_STATUS_IDEMPOTENCY_KEY_MALFORMED */
function readKey (request: FastifyRequest): string {
  const header = String(request.headers['idempotency-key'])
  const key = parseIdempotencyKey(header)
  if (key === undefined) throw new IdempotencyKeyMalformed(JSON.stringify(header.slice(0, 80)))
  return key
}

/** What is said to a client that may still be sending what nobody is going to read. */
function unusable (request: FastifyRequest, reply: FastifyReply): Error {
  stopReading(request, reply)
  return new IdempotencyKeyUnusable()
}

/** A key is one of its route and its principal; hashed, it is short and has no character that a store could mind. */
async function scopeKey (request: FastifyRequest, key: string, { principal }: IdempotencySettings): Promise<string> {
  const scope = JSON.stringify([request.method, configOf(request).url, await principal?.(request) ?? null, key])
  return createHash('sha256').update(scope).digest('base64url')
}

function replay (reply: FastifyReply, { status, headers, body }: Answer): FastifyReply {
  return reply.code(status).headers({ ...headers, 'idempotency-replayed': 'true' }).send(body)
}

/** What of an answer's head belongs to the answer and not to its connection. */
const HEADERS = ['content-type', 'content-encoding', 'multi-status', 'preference-applied', 'vary', 'location', 'retry-after']

/** An answer that says that nothing ran is not kept, so that the request can be tried again under its key. */
async function keepAnswer (reply: FastifyReply, payload: unknown, lease: Lease): Promise<unknown> {
  const status = reply.statusCode
  if (status >= 300) {
    await lease.giveBack()
    return payload
  }
  const headers = Object.fromEntries(HEADERS.filter(name => reply.hasHeader(name)).map(name => [name, String(reply.getHeader(name))]))
  const keep = (body: Buffer | null) => lease.keep({ status, headers, body })
  if (isStream(payload)) return keepStream(payload, MAX_ANSWER, keep)
  await keep(bytesOf(payload))
  return payload
}

function isStream (payload: unknown): payload is Readable {
  return typeof (payload as Readable | null | undefined)?.pipe === 'function'
}

/** @returns null for what is too large, or cannot be read without being used up */
function bytesOf (payload: unknown): Buffer | null {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload ?? Buffer.alloc(0)
  return Buffer.isBuffer(bytes) && bytes.length <= MAX_ANSWER ? bytes : null
}
