// Results that do not fit their contract, and everything else that could cost the other results.
import { inspect } from 'node:util'
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { defineContract, type AnyContract } from '../../../lib/index.js'
import { build, type LogLine } from '../../fixtures/build.js'

function contractOf (data: TObject) {
  return defineContract({ name: 'Thing', key: 'id', success: 'done', failure: 'failed', reason: 'why', data })
}

const contract = contractOf(Type.Object({ n: Type.Number() }))

const REFUSED = { code: 'INVALID_RESULT', statusCode: 500, retryable: false }

interface AnswerOptions { contract?: AnyContract, headers?: Record<string, string>, before?: (app: FastifyInstance) => unknown }

/** Answers these results on a route with a contract, and keeps the errors that were logged. */
async function answer (t: Test, results: readonly unknown[], { contract: words = contract, headers, before }: AnswerOptions = {}) {
  const errors: LogLine[] = []
  const app = await build(t, { before, onLog: line => { if (line.level >= 50) errors.push(line) } })
  app.post('/', { config: { multiStatus: words } }, (_request, reply) => { reply.multiStatus(results) })
  const response = await app.inject({ method: 'POST', url: '/', headers })
  return { response, errors }
}

function cyclic () {
  const result: Record<string, unknown> = { id: 2, status: 'done', n: 2 }
  result.self = result
  return { ...result, n: result }
}

function revoked (): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

function throwing (result: object, member: string, thrown: unknown): object {
  return Object.defineProperty({ ...result }, member, { enumerable: true, get () { throw thrown } })
}

const misfits: Record<string, [result: unknown, why: string, key?: number]> = {
  'an unknown status': [{ id: 2, status: 'pending', n: 2 }, 'its status is none of done, failed'],
  'a status of another type': [{ id: 2, status: ['done'], n: 2 }, 'its status is none of done, failed'],
  'no status': [{ id: 2, n: 2 }, 'its status is none of done, failed'],
  'an outcome with something more': [{ id: 2, status: 'fulfilled', value: 1 }, 'its status is none of done, failed'],
  'a missing member': [{ id: 2, status: 'done' }, 'its members do not fit the contract'],
  'a failure without its reason': [{ id: 2, status: 'failed' }, 'its members do not fit the contract'],
  'an Error as reason': [{ id: 2, status: 'failed', why: new Error('secret') }, 'its members do not fit the contract'],
  'a number in text': [{ id: 2, status: 'done', n: '2' }, 'its members do not fit the contract'],
  'NaN for a number': [{ id: 2, status: 'done', n: NaN }, 'its members do not fit the contract'],
  'Infinity for a number': [{ id: 2, status: 'done', n: Infinity }, 'its members do not fit the contract'],
  'a statusCode that is none': [{ id: 2, status: 'failed', why: 'x', statusCode: 200 }, 'its members do not fit the contract'],
  'an infinite retryAfter': [{ id: 2, status: 'failed', why: 'x', retryAfter: Infinity }, 'its members do not fit the contract'],
  'a cycle': [cyclic(), 'it cannot be read: Converting circular structure to JSON'],
  'a toJSON that gives something else': [{ id: 2, status: 'done', n: 2, toJSON: () => ({ id: 2, status: 'done', n: '3' }) }, 'its members do not fit the contract'],
  'a fraction for an integer': [{ id: 2, status: 'failed', why: 'x', statusCode: 400.5 }, 'its members do not fit the contract'],
  'a Date': [new Date(), 'it is no object', 0],
  null: [null, 'it is no object', 0],
  undefined: [undefined, 'it is no object', 0],
  text: ['done', 'it is no object', 0],
  'a Symbol': [Symbol('done'), 'it is no object', 0],
  'a function': [() => 1, 'it is no object', 0],
  'a key of another type': [{ id: { n: 2 }, status: 'done', n: 2 }, 'its members do not fit the contract', 0],
  'no key': [{ status: 'done', n: 2 }, 'its members do not fit the contract', 0],
  'a status that cannot be read': [throwing({ id: 2, n: 2 }, 'status', new Error('secret')), 'it cannot be read: secret'],
  'a member that cannot be read': [throwing({ id: 2, status: 'done' }, 'n', new Error('secret')), 'it cannot be read: secret'],
  'a key that cannot be read': [throwing({ status: 'done', n: 2 }, 'id', null), 'it cannot be read: object', 0],
  'a getter that throws what cannot be read': [throwing({ id: 2, status: 'done' }, 'n', revoked()), 'it cannot be read: object'],
  'a revoked proxy': [revoked(), "it cannot be read: Cannot perform 'get' on a proxy that has been revoked", 0]
}

for (const [name, [result, why, key = 2]] of Object.entries(misfits)) {
  t.test(`a result that does not fit becomes one failure, and the others survive: ${name}`, async t => {
    const { response, errors } = await answer(t, [{ id: 1, status: 'done', n: 1 }, result, { id: 3, status: 'failed', why: 'x' }])

    t.equal(response.statusCode, 207)
    t.equal(response.headers['multi-status'], 'total=3, succeeded=1, failed=2')
    t.strictSame(response.json(), {
      results: [
        { id: 1, status: 'done', n: 1 },
        { id: key || null, status: 'failed', why: 'Invalid result', ...REFUSED },
        { id: 3, status: 'failed', why: 'x' }
      ]
    })
    t.equal(errors.length, 1)
    const { msg, code, index, key: logged } = errors[0]!
    t.strictSame({ msg, code, index, logged }, { msg: 'item failed', code: 'INVALID_RESULT', index: 1, logged: key || null })
    t.match(JSON.stringify(errors[0]), why)
  })
}

t.test('a Date, a Proxy and an object of a class fit where what they are in JSON fits', async t => {
  class Made {
    id = 2
    status = 'done'
    at = new Date(86_400_000)
  }
  const { response, errors } = await answer(t, [
    { id: 1, status: 'done', at: new Date(0), maybe: new Date(0) },
    new Made(),
    new Proxy({ id: 3, status: 'done', at: 'now' }, {}),
    { id: 4, status: 'done', at: new Date(NaN) }
  ], { contract: contractOf(Type.Object({ at: Type.String({ format: 'date-time' }), maybe: Type.Optional(Type.Union([Type.Null(), Type.String({ format: 'date' })])) })) })

  t.strictSame(response.json(), {
    results: [
      { id: 1, status: 'done', at: '1970-01-01T00:00:00.000Z', maybe: '1970-01-01' },
      { id: 2, status: 'done', at: '1970-01-02T00:00:00.000Z' },
      { id: 3, status: 'done', at: 'now' },
      { id: 4, status: 'failed', why: 'Invalid result', ...REFUSED }
    ]
  })
  t.equal(errors.length, 1)
})

t.test('text is escaped, whatever its format', async t => {
  const at = '1970","status":"failed\u2028\ud800'
  const { response } = await answer(t, [{ id: '"', status: 'done', at }, { id: 2, status: 'failed', why: '"\n' }],
    { contract: contractOf(Type.Object({ at: Type.String({ format: 'date-time' }) })) })

  t.strictSame(response.json(), { results: [{ id: '"', status: 'done', at }, { id: 2, status: 'failed', why: '"\n' }] })
})

t.test('members that the contract does not declare stay in the server', async t => {
  const user = Type.Object({ name: Type.String(), more: Type.Optional(Type.Unknown()) })
  const { response } = await answer(t, [
    { id: 1, status: 'done', user: { name: 'Ada', password: 'secret' }, password: 'secret' },
    { id: 2, status: 'done', user: { name: 'Ada', more: { a: 1 }, password: 'secret' }, password: 'secret' },
    { id: 3, status: 'failed', why: 'x', stack: 'secret', user: 'secret' }
  ], { contract: contractOf(Type.Object({ user })) })

  t.equal(response.body, '{"results":[' +
    '{"id":1,"status":"done","user":{"name":"Ada"}},{"id":2,"status":"done","user":{"name":"Ada","more":{"a":1}}},{"id":3,"status":"failed","why":"x"}]}')
})

const conditional = Type.Unsafe({
  type: 'object', if: { properties: { kind: { const: 'x' } }, required: ['kind'] }, then: { properties: { a: {} } }, else: { properties: { b: {} } }
})

/** What is declared of data of this schema comes through, and nothing else. */
const declared: Record<string, [schema: TSchema, data: unknown, answered: unknown]> = {
  'all parts of an intersection': [
    Type.Intersect([Type.Object({ a: Type.String() }), Type.Object({ b: Type.Any() })]), { a: 'x', b: { c: 1 }, secret: 1 }, { a: 'x', b: { c: 1 } }],
  'the branch that declares all of it': [
    Type.Union([Type.Object({ a: Type.String() }), Type.Object({ a: Type.String(), b: Type.String() })]), { a: 'x', b: 'y' }, { a: 'x', b: 'y' }],
  'the first branch that fits': [
    Type.Union([Type.Object({ a: Type.String() }), Type.Object({ a: Type.String(), b: Type.String() })]), { a: 'x', b: 'y', secret: 1 }, { a: 'x' }],
  'no branch that does not fit': [
    Type.Unsafe({ oneOf: [Type.Object({ k: Type.Literal('a'), a: Type.Integer() }), Type.Object({ k: Type.Literal('b'), b: Type.Integer() })] }),
    { k: 'a', a: 1, b: 2 }, { k: 'a', a: 1 }],
  'items of a tuple': [Type.Tuple([Type.Object({ a: Type.Integer() }), Type.Integer()]), [{ a: 1, secret: 1 }, 2], [{ a: 1 }, 2]],
  'open items of a tuple': [Type.Tuple([Type.Union([Type.Object({ a: Type.Integer() }), Type.Null()]), Type.Unknown()]), [{ a: 1 }, { b: 1 }], [{ a: 1 }, { b: 1 }]],
  'items of any kind': [Type.Unsafe({ type: 'array', uniqueItems: true }), [{ a: 1 }], [{ a: 1 }]],
  'items that are all alike': [Type.Array(Type.Object({ a: Type.Integer() }), { uniqueItems: true }), [{ a: 1, secret: 1 }], [{ a: 1 }]],
  'members whose names fit a pattern': [
    Type.Object({ r: Type.Record(Type.String({ pattern: '^[a-z]+$' }), Type.Number()) }, { minProperties: 1 }), { r: { e: 1, 7: 1 } }, { r: { e: 1 } }],
  'members of any name': [Type.Object({ a: Type.Integer() }, { additionalProperties: Type.Object({ b: Type.Integer() }) }), { a: 1, c: { b: 1, secret: 1 } }, { a: 1, c: { b: 1 } }],
  'anything that is open': [Type.Object({ a: Type.Integer() }, { additionalProperties: true }), { a: 1, c: { b: 1 } }, { a: 1, c: { b: 1 } }],
  'all of a constant': [Type.Unsafe({ type: 'object', const: { a: 1 } }), { a: 1 }, { a: 1 }],
  'all of one of several constants': [Type.Unsafe({ type: 'object', enum: [{ a: 1 }, { b: { c: 1 } }] }), { b: { c: 1 } }, { b: { c: 1 } }],
  'nothing that is closed': [Type.Unsafe({ type: 'object', minProperties: 0, additionalProperties: false }), {}, {}],
  'what holds under a condition': [conditional, { kind: 'x', a: 1, b: 1 }, { a: 1 }],
  'what holds without a condition': [conditional, { kind: 'y', a: 1, b: 1 }, { b: 1 }],
  'what neither says': [Type.Unsafe({ type: 'object', if: { required: ['a'] } }), { b: 1 }, {}],
  'what it refers to in itself': [
    Type.Recursive(This => Type.Object({ n: Type.Integer(), nodes: Type.Array(This) }), { $id: 'Node' }), { n: 1, x: 1, nodes: [{ n: 2, nodes: [], x: 1 }] }, { n: 1, nodes: [{ n: 2, nodes: [] }] }],
  'what it refers to elsewhere': [Type.Unsafe({ $ref: 'User#' }), { name: { first: 'Ada', secret: 1 }, secret: 1 }, { name: { first: 'Ada' } }],
  'what it refers to in a part of elsewhere': [Type.Unsafe({ $ref: 'User#/definitions/name' }), { first: 'Ada', secret: 1 }, { first: 'Ada' }],
  'members that have the names of methods': [
    Type.Object({ constructor: Type.Optional(Type.Unknown()), valueOf: Type.Optional(Type.String()), o: Type.Object({ toString: Type.Optional(Type.String()) }) }), { o: {} }, { o: {} }]
}

const user = {
  $id: 'User',
  type: 'object',
  properties: { name: { $ref: '#/definitions/name' } },
  definitions: { name: { type: 'object', properties: { first: { type: 'string' } } } }
}

for (const [what, [schema, data, answered]] of Object.entries(declared)) {
  t.test(`of what a result has in it, all that the contract declares is answered, and nothing else: ${what}`, async t => {
    const { response, errors } = await answer(t, [{ id: 1, status: 'done', data }],
      { contract: contractOf(Type.Object({ data: schema })), before: app => app.addSchema(user) })

    t.strictSame(errors, [])
    t.equal(response.body, JSON.stringify({ results: [{ id: 1, status: 'done', data: answered }] }))
  })
}

t.test('what is inside a result is held against the contract as what it is in JSON', async t => {
  const nested = (toJSON: () => unknown) => ({ status: 'done', o: { a: 'x', toJSON } })
  const { response } = await answer(t, [
    { id: 1, ...nested(() => ({ a: 'y', secret: 1 })) }, { id: 2, ...nested(() => ({ a: 5 })) }, { id: 3, ...nested(() => 'text') },
    { id: 4, status: 'done', o: { a: 'x', b: () => 1 } }
  ], { contract: contractOf(Type.Object({ o: Type.Object({ a: Type.String(), b: Type.Optional(Type.Unknown()) }) })) })

  t.strictSame(response.json().results.map(({ id, status, o }: Record<string, unknown>) => [id, status, o]), [
    [1, 'done', { a: 'y' }], [2, 'failed', undefined], [3, 'failed', undefined], [4, 'done', { a: 'x' }]
  ])
})

t.test("what Fastify's serializer cannot write, or would write with undeclared members, fails the result, and the log says so", async t => {
  const behind = Type.Unsafe({ type: 'array', items: [{ type: 'string' }], additionalItems: { type: 'object', properties: { a: {} } } })
  const { response, errors } = await answer(t, [{ id: 1, status: 'done', data: ['x', { a: 1, secret: 1 }] }, { id: 2, status: 'done', data: ['x'] }],
    { contract: contractOf(Type.Object({ data: behind })) })

  t.match(response.json().results, [{ id: 1, code: 'INVALID_RESULT' }, { id: 2, status: 'done', data: ['x'] }])
  t.match(JSON.stringify(errors), "Fastify's serializer cannot write what the contract says of it")
})

t.test("dates, BigInts, documents with toJSON and objects of classes become what Fastify's own serializer makes of them", async t => {
  class Account {
    readonly id = 5
    readonly status = 'done'
    readonly secret = 'secret'
    get n () { return 2n ** 60n }
    get owner () { return new Owner() }
  }
  class Owner {
    get name () { return 'Ada' }
    get since () { return new Date(0) }
  }
  const document = { $secret: 1, toJSON: () => ({ id: 4, status: 'done', n: 1, secret: 1, owner: { toJSON: () => ({ name: 'Ada', since: 'x' }) } }) }
  const owner = Type.Optional(Type.Object({ name: Type.String(), since: Type.String({ format: 'date' }) }))
  const words = contractOf(Type.Object({ n: Type.Integer(), owner, maybe: Type.Optional(Type.Number({ default: 7 })) }))
  const results = [{ id: 9007199254740993n, status: 'done', n: 3n }, { id: 3n, status: 'failed', why: 'x' }, document, new Account(), { id: 6n, status: 'done', n: 1, extra: [1n] }]
  const { response, errors } = await answer(t, results, { contract: words })

  t.strictSame(errors, [])
  t.equal(response.body, '{"results":[{"id":9007199254740993,"status":"done","n":3},{"id":3,"status":"failed","why":"x"},' +
    '{"id":4,"status":"done","n":1,"owner":{"name":"Ada","since":"x"}},' +
    '{"id":5,"status":"done","n":1152921504606846976,"owner":{"name":"Ada","since":"1970-01-01"}},{"id":6,"status":"done","n":1}]}')
  const minimal = await answer(t, results, { contract: words, headers: { prefer: 'return=minimal' } })
  t.equal(minimal.response.body, '{"results":[{"id":9007199254740993,"status":"done"},{"id":3,"status":"failed","why":"x"},' +
    '{"id":4,"status":"done"},{"id":5,"status":"done"},{"id":6,"status":"done"}]}')
})

t.test('a result is checked against pattern and length, and no default is made up', async t => {
  const data = Type.Object({ code: Type.String({ pattern: '^a+$', minLength: 2, maxLength: 5 }), n: Type.Optional(Type.Number({ default: 5 })) })
  const { response } = await answer(t, [
    { id: 1, status: 'done', code: 'aaa' }, { id: 2, status: 'done', code: 'a' }, { id: 3, status: 'done', code: 'aab' }, { id: 4, status: 'done', code: 'aa', secret: 1 }
  ], { contract: contractOf(data) })

  const failure = { status: 'failed', why: 'Invalid result', ...REFUSED }
  t.strictSame(response.json().results, [{ id: 1, status: 'done', code: 'aaa' }, { id: 2, ...failure }, { id: 3, ...failure }, { id: 4, status: 'done', code: 'aa' }])
})

t.test('the log says which member does not fit', async t => {
  const { errors } = await answer(t, [{ id: 1, status: 'done', n: '1' }])
  t.match(JSON.stringify(errors), 'its members do not fit the contract: #/n must be number')
})

const Open = {
  'an unknown member': Type.Unknown(),
  'a list of anything': Type.Array(Type.Unknown()),
  'a list that does not say of what': Type.Unsafe({ type: 'array' }),
  'a record of anything': Type.Record(Type.String(), Type.Unknown()),
  'an object with more': Type.Object({}, { additionalProperties: true }),
  'a union with anything': Type.Union([Type.Integer(), Type.Unknown()])
}

for (const [name, x] of Object.entries(Open)) {
  t.test(`what is no JSON does not get into the answer through a contract that leaves it open: ${name}`, async t => {
    const wrap = (value: unknown) => x.type === 'array' ? [value] : x.type === 'object' ? { value } : value
    const values = [() => 1, Symbol('x'), { toJSON: () => undefined }, undefined, NaN, 'text', { a: [new Date(0)] }, 1n]
    const { response } = await answer(t, values.map((value, id) => ({ id, status: 'done', x: wrap(value) })),
      { contract: contractOf(Type.Object({ x: Type.Optional(x) })) })

    t.strictSame(response.json(), {
      results: [
        ...values.slice(0, -1).map((value, id) => JSON.parse(JSON.stringify({ id, status: 'done', x: wrap(value) }))),
        { id: 7, status: 'failed', why: 'Invalid result', ...REFUSED }
      ]
    })
  })
}

t.test('a member that must be there is not there when it is no JSON', async t => {
  const { response } = await answer(t, [{ id: 1, status: 'done', x: Symbol('x') }, { id: 2, status: 'done', x: null }],
    { contract: contractOf(Type.Object({ x: Type.Unknown() })) })

  t.strictSame(response.json(), {
    results: [{ id: 1, status: 'failed', why: 'Invalid result', ...REFUSED }, { id: 2, status: 'done', x: null }]
  })
})

t.test('every success word has its own data', async t => {
  const words = defineContract({
    name: 'Row',
    key: 'id',
    success: ['made', 'kept'],
    failure: 'lost',
    reason: 'why',
    data: { made: Type.Object({ at: Type.Integer() }), kept: Type.Object({ since: Type.Integer() }) }
  })
  const { response } = await answer(t, [
    { id: 1, status: 'made', at: 1 }, { id: 2, status: 'kept', since: 2, at: 1 }, { id: 3, status: 'kept', at: 3 }
  ], { contract: words })

  t.equal(response.headers['multi-status'], 'total=3, succeeded=2, failed=1')
  t.strictSame(response.json().results, [
    { id: 1, status: 'made', at: 1 }, { id: 2, status: 'kept', since: 2 }, { id: 3, status: 'lost', why: 'Invalid result', ...REFUSED }
  ])
})

t.test('return=minimal leaves of a success its key and status, of a failure everything, and hides no misfit', async t => {
  const { response } = await answer(t, [
    { id: 1, status: 'done', n: 1 }, { id: 2, status: 'failed', why: 'x', code: 'X' }, { id: 3, status: 'done' }, { id: 4, status: 'done', n: new Date(0) }
  ], { headers: { prefer: 'return=minimal' } })

  t.equal(response.headers['preference-applied'], 'return=minimal')
  t.equal(response.headers['multi-status'], 'total=4, succeeded=1, failed=3')
  t.strictSame(response.json().results, [
    { id: 1, status: 'done' },
    { id: 2, status: 'failed', why: 'x', code: 'X' },
    { id: 3, status: 'failed', why: 'Invalid result', ...REFUSED },
    { id: 4, status: 'failed', why: 'Invalid result', ...REFUSED }
  ])
})

t.test('a contract may refer to what the app has added with addSchema', async t => {
  const words = contractOf(Type.Object({ owner: Type.Unsafe({ $ref: 'owner#' }) }))
  const before = (app: FastifyInstance) => app.addSchema({ $id: 'owner', type: 'object', required: ['name'], properties: { name: { type: 'string' } } })
  const { response } = await answer(t, [
    { id: 1, status: 'done', owner: { name: 'Ada', password: 'secret' } }, { id: 2, status: 'done', owner: {} }
  ], { contract: words, before })

  t.strictSame(response.json().results, [
    { id: 1, status: 'done', owner: { name: 'Ada' } }, { id: 2, status: 'failed', why: 'Invalid result', ...REFUSED }
  ])
})

t.test('a contract that cannot be compiled keeps the app from starting, instead of failing when the work is done', async t => {
  const app = await build(t)
  app.post('/', { config: { multiStatus: contractOf(Type.Object({ x: Type.Unsafe({ $ref: 'nowhere#' }) })) } }, async () => 'never')

  await t.rejects(Promise.resolve(app.ready()), { message: /nowhere/ })
})

t.test('without a contract, results are what JSON.stringify makes of them, byte for byte', async t => {
  const app = await build(t)
  const results = [
    { status: 'weird', nested: { b: 1, a: [null, 'ü"\u2028'] }, gone: undefined, big: 1e21, at: new Date(0) },
    { zebra: 1, id: 'x', status: 500 }, { status: 'error' }, { status: 'failed' }, {}, { status: 399 }, { toJSON: () => ({ made: 'here' }) }
  ]
  app.post('/', (_request, reply) => { reply.multiStatus(results) })

  const response = await app.inject({ method: 'POST', url: '/' })

  t.equal(response.body, JSON.stringify({ results }))
  t.equal(response.headers['multi-status'], 'total=7, succeeded=4, failed=3')
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(response.headers['content-length'], String(Buffer.byteLength(response.body)))
  t.equal(response.headers.vary, undefined)
})

t.test('without a contract, what is no JSON object becomes one failure in the generic words', async t => {
  const app = await build(t)
  const bad = [1n, 'text', null, undefined, [1], Symbol('x'), cyclic(), { toJSON: () => 'text' }, revoked(), throwing({}, 'x', 1)]
  app.post('/', (_request, reply) => { reply.multiStatus([{ ok: true }, ...bad, { id: 'z', big: 1n }, { ok: true }]) })

  const response = await app.inject({ method: 'POST', url: '/' })

  const failure = (id: unknown) => ({ id, status: 'error', message: 'Invalid result', ...REFUSED })
  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=13, succeeded=2, failed=11')
  t.strictSame(response.json(), { results: [{ ok: true }, ...bad.map(one => failure(hasId(one) ? 2 : null)), failure('z'), { ok: true }] })
})

function hasId (one: unknown): boolean {
  return inspect(one).includes('id: 2')
}
