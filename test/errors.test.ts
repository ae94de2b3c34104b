// Errors: what a client learns of a failed item and of a refused request, and what stays in the log.
import { Type } from '@sinclair/typebox'
import Fastify, { type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import multiStatus, { bulkRoute, generic, ItemError, toFailure } from '../lib/index.js'
import { build, type LogLine } from './fixtures/build.js'

const internal = { message: 'Internal error', code: 'INTERNAL_ERROR', statusCode: 500, retryable: false }

/** A route whose every item throws what stands at its id. */
function throwing (thrown: readonly unknown[]): RouteOptions {
  return bulkRoute({
    url: '/items',
    contract: generic,
    item: Type.Object({ id: Type.Integer() }),
    maxItems: 50,
    handler: ({ id }) => { throw thrown[id] }
  })
}

/** Answers a request for each thing thrown; also gives the lines of the log that are errors. */
async function throwEach (t: Test, thrown: readonly unknown[]) {
  const log: LogLine[] = []
  const app = await build(t, { onLog: line => log.push(line) })
  app.route(throwing(thrown))
  const response = await app.inject({ method: 'POST', url: '/items', payload: thrown.map((_, id) => ({ id })) })
  return { response, errors: log.filter(({ level }) => level >= 50) }
}

t.test('an ItemError says what it was told, else that the item failed for good', async t => {
  const cause = new Error('behind it')
  const bare = new ItemError('No')
  t.match(bare, { name: 'ItemError', message: 'No', code: 'ITEM_FAILED', statusCode: 422, retryable: false })
  t.ok(bare instanceof Error)
  t.equal('cause' in bare, false)

  const errors = [{ pointer: '#/a', detail: 'must be string' }]
  const full = new ItemError('No', { code: 'FULL', statusCode: 507, retryable: true, retryAfter: 0.5, errors, cause })
  t.match(full, { code: 'FULL', statusCode: 507, retryable: true, retryAfter: 0.5, errors })
  t.equal(full.cause, cause)
  t.equal('cause' in new ItemError('No', { cause: undefined }), true)
})

t.test('sending an item again makes sense after some statuses and not after others', async t => {
  const retryable = (statusCode: number) => new ItemError('No', { statusCode }).retryable
  t.strictSame([408, 425, 429, 502, 503, 504].map(retryable), [true, true, true, true, true, true])
  t.strictSame([400, 404, 409, 413, 422, 424, 500, 501, 507, 599].map(retryable), Array(10).fill(false))
  t.equal(new ItemError('No', { statusCode: 503, retryable: false }).retryable, false)
})

t.test('an ItemError cannot say what the contract does not allow', async t => {
  for (const statusCode of [0, 200, 399, 600, 422.5, NaN, '422']) {
    const make = () => new ItemError('No', { statusCode: statusCode as number })
    t.throws(make, RangeError)
    t.throws(make, { message: `ItemError: statusCode must be an integer from 400 to 599; received ${statusCode}` })
  }
  for (const retryAfter of [-1, NaN, Infinity, '120']) {
    const make = () => new ItemError('No', { retryAfter: retryAfter as number })
    t.throws(make, RangeError)
    t.throws(make, { message: `ItemError: retryAfter must be a finite number from 0; received ${retryAfter}` })
  }
})

const failures: Record<string, [() => unknown, object]> = {
  'an ItemError': [
    () => new ItemError('Email taken', { code: 'EMAIL_TAKEN', statusCode: 409, cause: new Error('secret') }),
    { message: 'Email taken', code: 'EMAIL_TAKEN', statusCode: 409, retryable: false }
  ],
  'an ItemError of a class of its own': [
    () => new (class Taken extends ItemError {})('Taken', { statusCode: 409 }),
    { message: 'Taken', code: 'ITEM_FAILED', statusCode: 409, retryable: false }
  ],
  'an ItemError with a wait and problems': [
    () => new ItemError('Slow down', { statusCode: 429, retryAfter: 0, errors: [] }),
    { message: 'Slow down', code: 'ITEM_FAILED', statusCode: 429, retryable: true, retryAfter: 0, errors: [] }
  ],
  'a public error with a code': [
    () => Object.assign(new Error('No such contact'), { expose: true, statusCode: 404, code: 'NO_CONTACT' }),
    { message: 'No such contact', code: 'NO_CONTACT', statusCode: 404, retryable: false }
  ],
  'a public error without a code': [
    () => Object.assign(new Error('Too many'), { expose: true, statusCode: 429 }),
    { message: 'Too many', code: 'ITEM_FAILED', statusCode: 429, retryable: true }
  ],
  'an error': [() => new Error('secret'), internal],
  'an error with a status but no leave to be shown': [() => Object.assign(new Error('secret'), { statusCode: 404 }), internal],
  'a public error of the server': [() => Object.assign(new Error('secret'), { expose: true, statusCode: 503 }), internal],
  'a public error without a status': [() => Object.assign(new Error('secret'), { expose: true }), internal],
  'a public error with half a status': [() => Object.assign(new Error('secret'), { expose: true, statusCode: 404.5 }), internal],
  'a public error with a success status': [() => Object.assign(new Error('secret'), { expose: true, statusCode: 200 }), internal],
  'a public error whose code is no string': [() => Object.assign(new Error('secret'), { expose: true, statusCode: 404, code: 7 }), internal],
  'an object that is no error': [() => ({ expose: true, statusCode: 404, message: 'secret' }), internal],
  undefined: [() => undefined, internal],
  null: [() => null, internal],
  'a string': [() => 'secret', internal],
  'a symbol': [() => Symbol('secret'), internal],
  'an error that throws when it is looked at': [
    () => Object.defineProperty(new Error('secret'), 'expose', { get () { throw new Error('secret') } }), internal
  ],
  'a public error whose message throws': [
    () => Object.defineProperty(Object.assign(new Error(), { expose: true, statusCode: 404 }), 'message', { get () { throw new Error('secret') } }),
    internal
  ]
}

t.test('a client learns of anything thrown only what is meant for it', async t => {
  for (const [name, [make, failure]] of Object.entries(failures)) t.strictSame(toFailure(make()), failure, name)

  const { proxy, revoke } = Proxy.revocable(new Error('secret'), {})
  revoke()
  t.strictSame(toFailure(proxy), internal, 'a revoked proxy')
  t.throws(() => { toFailure(new Error()).message = 'rewritten' }, TypeError, 'what all share cannot be changed')
})

t.test('nothing else of an error is in the answer, and the log has it with index and key', async t => {
  const thrown = Object.entries(failures).filter(([name]) => !name.includes('throws')).map(([, [make, failure]]) => ({ error: make(), failure }))
  const { response, errors } = await throwEach(t, thrown.map(({ error }) => error))

  t.equal(response.statusCode, 207)
  t.strictSame(response.json(), {
    results: thrown.map(({ failure }, id) => ({ id, status: 'error', ...failure }))
  })
  t.equal(response.headers['multi-status'], `total=${thrown.length}, succeeded=0, failed=${thrown.length}`)
  t.notMatch(response.body, 'secret')
  t.notMatch(response.body, 'stack')

  const masked = thrown.flatMap(({ failure }, id) => failure === internal ? [id] : [])
  t.strictSame(errors.map(({ index, key, code, msg }) => [index, key, code, msg]),
    masked.map(id => [id, id, 'INTERNAL_ERROR', 'item failed']))
  t.match(errors[0], { err: { type: 'Error', message: 'secret' } })
  t.match(errors.at(-2), { err: { message: "'secret'" } })
})

t.test('a client is told of its own ItemError from 500, and the log has what is behind it', async t => {
  const cause = new Error('disk is full')
  const { response, errors } = await throwEach(t, [new ItemError('No room', { code: 'NO_ROOM', statusCode: 507, cause })])

  t.strictSame(response.json(), {
    results: [{ id: 0, status: 'error', message: 'No room', code: 'NO_ROOM', statusCode: 507, retryable: false }]
  })
  t.equal(errors.length, 1)
  t.match(errors[0], { code: 'NO_ROOM', index: 0, key: 0, err: { message: /^No room: disk is full|^No room/, stack: /disk is full/ } })
})

t.test('what is wrong with a result is not the affair of the client, and in the log', async t => {
  const log: LogLine[] = []
  const app = await build(t, { onLog: line => log.push(line) })
  app.post('/items', { config: { multiStatus: generic } }, (_request, reply) => reply.multiStatus([{ id: 7, status: 'secret' }]))
  const response = await app.inject({ method: 'POST', url: '/items' })

  t.strictSame(response.json(), {
    results: [{ id: 7, status: 'error', message: 'Invalid result', code: 'INVALID_RESULT', statusCode: 500, retryable: false }]
  })
  const errors = log.filter(({ level }) => level >= 50)
  t.equal(errors.length, 1)
  t.match(errors[0], { msg: 'item failed', code: 'INVALID_RESULT', index: 0, key: 7, cause: /its status is none of success, error/ })
})

t.test('a request of which nothing ran is refused with what was expected and received', async t => {
  const app = await build(t)
  app.route(throwing([]))
  app.route(bulkRoute({
    url: '/inside', contract: generic, item: Type.Object({ id: Type.Integer() }), itemsIn: 'items', handler: () => { t.fail('nothing may run') }
  }))
  const ids = (length: number) => Array.from({ length }, (_, id) => ({ id }))
  const doubled = (length: number) => [...ids(length), ...ids(length)]
  const expected = 'Expected every item to have its own id; received more than once: '

  const refused: Array<[string, unknown, number, string, string]> = [
    ['/items', {}, 400, 'BODY_NOT_BATCH', 'Expected the body to be an array of items; received object'],
    ['/items', 'null', 400, 'BODY_NOT_BATCH', 'Expected the body to be an array of items; received null'],
    ['/items', undefined, 400, 'BODY_NOT_BATCH', 'Expected the body to be an array of items; received no body'],
    ['/inside', [], 400, 'BODY_NOT_BATCH', 'Expected the body to be an object with an array of items in "items"; received array'],
    ['/inside', { items: {} }, 400, 'BODY_NOT_BATCH', 'Expected the body to be an object with an array of items in "items"; received object there'],
    ['/items', [], 400, 'BATCH_EMPTY', 'Expected at least 1 item in the body; received 0'],
    ['/inside', { items: [] }, 400, 'BATCH_EMPTY', 'Expected at least 1 item in items; received 0'],
    ['/items', ids(51), 413, 'BATCH_TOO_LARGE', 'Expected at most 50 items in one request; received 51'],
    ['/items', doubled(1), 400, 'DUPLICATE_KEYS', `${expected}0`],
    ['/items', doubled(7), 400, 'DUPLICATE_KEYS', `${expected}0, 1, 2, 3, 4 and 2 more`]
  ]
  for (const [url, payload, statusCode, code, message] of refused) {
    const body = typeof payload === 'string' ? payload : payload === undefined ? undefined : JSON.stringify(payload)
    const response = await app.inject({ method: 'POST', url, body, headers: body === undefined ? {} : { 'content-type': 'application/json' } })
    t.equal(response.statusCode, statusCode)
    t.strictSame(response.json(), {
      statusCode, code: `FST_MULTI_STATUS_${code}`, error: statusCode === 413 ? 'Payload Too Large' : 'Bad Request', message
    })
    t.equal(response.headers['multi-status'], undefined)
  }
})

t.test('a second registration and a bulk route without the plugin are told what is missing', async t => {
  const app = await build(t)
  await t.rejects(async () => { await app.register(multiStatus, { upload: false, tasks: false, docs: false }) }, {
    code: 'FST_MULTI_STATUS_ALREADY_REGISTERED',
    message: 'fastify-multi-status must be registered once per application; this application has it already'
  })

  const bare = Fastify()
  t.teardown(() => bare.close())
  bare.route(throwing([]))
  const response = await bare.inject({ method: 'POST', url: '/items', payload: [{ id: 1 }] })
  t.equal(response.statusCode, 500)
  t.match(response.json(), {
    code: 'FST_MULTI_STATUS_NOT_REGISTERED',
    message: 'The bulk route /items needs fastify-multi-status; register the plugin before the route'
  })
})

t.test('a wrong option is told what was expected and what was received', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => { await app.register(multiStatus, { closeGrace: -1 }) }, {
    code: 'FST_MULTI_STATUS_INVALID_OPTION',
    message: 'fastify-multi-status: closeGrace must be an integer from 0 to 2147483647; received -1'
  })
  t.throws(() => bulkRoute({ url: '/x', contract: generic, item: Type.Object({}), maxItems: 0, handler: () => {} }), {
    message: 'fastify-multi-status: maxItems must be an integer from 1 to 2147483647; received 0'
  })
})

t.test('an ItemError is known by the plugin whichever copy of the package it comes from', async t => {
  const copy = await import('../lib/errors.js?copy' as string) as typeof import('../lib/errors.js')

  t.not(copy.ItemError, ItemError)
  t.strictSame(toFailure(new copy.ItemError('Gone', { statusCode: 410 })), { message: 'Gone', code: 'ITEM_FAILED', statusCode: 410, retryable: false })
})
