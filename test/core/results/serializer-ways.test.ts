// The ways in which results are serialized, which must not differ in what they answer; and answers that are large.
import assert from 'node:assert/strict'
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Transform } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import { compileSerializer, type SerializeResults } from '../../../lib/core/results/serializer.js'
import { defineContract, type AnyContract } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'

const contractOf = (data: TObject) => defineContract({ name: 'Thing', key: 'id', success: 'done', failure: 'failed', reason: 'why', data })

const rich = contractOf(Type.Object({
  text: Type.String({ minLength: 1, maxLength: 40 }),
  code: Type.String({ pattern: '^[a-z/"]*$' }),
  at: Type.Optional(Type.String({ format: 'date-time' })),
  count: Type.Integer({ minimum: -5, exclusiveMaximum: 2 ** 40 }),
  share: Type.Number(),
  flag: Type.Boolean(),
  size: Type.Union([Type.Literal('S'), Type.Literal('größer'), Type.Literal(7), Type.Null()]),
  color: Type.Unsafe({ enum: ['red', 'blue'] }),
  maybe: Type.Unsafe({ type: ['string', 'null'] }),
  tags: Type.Array(Type.String(), { minItems: 1, maxItems: 3 }),
  owner: Type.Object({ name: Type.String(), ümlaut: Type.Optional(Type.Integer()), pets: Type.Optional(Type.Array(Type.Object({ age: Type.Integer() }))) }),
  either: Type.Optional(Type.Union([Type.Array(Type.Integer()), Type.Object({ a: Type.String() }), Type.Boolean()])),
  labels: Type.Record(Type.String(), Type.String()),
  sizes: Type.Optional(Type.Unsafe({ type: 'object', additionalProperties: { type: 'object', properties: { mm: { type: 'integer' } } } }))
}))

/** What a schema as this one takes, each value now and then something else. */
const value = fc.oneof({
  weight: 12,
  arbitrary: fc.record({
    id: fc.oneof(fc.integer(), fc.string({ unit: 'binary' })),
    status: fc.constantFrom('done', 'done', 'failed', 'other'),
    why: fc.string(),
    text: fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
    code: fc.constantFrom('', 'a/b', 'a"b', 'a"b', 'A'),
    at: fc.oneof(fc.constant(undefined), fc.date({ noInvalidDate: true }).map(date => date.toISOString()), fc.date({ noInvalidDate: true })),
    count: fc.oneof(fc.integer({ min: -6 }), fc.constantFrom(-0, 0, 9, 10, 99, 100, 12345, 1e6, 12345678, 123456789, 2 ** 31 - 1, 2 ** 31, 1.5, NaN)),
    share: fc.double(),
    flag: fc.boolean(),
    size: fc.constantFrom('S', 'größer', 7, null, null),
    color: fc.constantFrom('red', 'blue'),
    maybe: fc.oneof(fc.string({ unit: 'grapheme', maxLength: 50 }), fc.constant(null)),
    tags: fc.array(fc.string({ minLength: 30, maxLength: 70, unit: fc.constantFrom('a', 'b', '"', 'é') }), { minLength: 1, maxLength: 3 }),
    owner: fc.record({ name: fc.string(), ümlaut: fc.integer(), pets: fc.array(fc.record({ age: fc.integer(), secret: fc.string() })), secret: fc.string() }, { requiredKeys: ['name'] }),
    either: fc.oneof(fc.constant(undefined), fc.array(fc.integer()), fc.record({ a: fc.string(), secret: fc.string() }), fc.boolean()),
    labels: fc.dictionary(fc.oneof(fc.string({ unit: 'binary', maxLength: 50 }), fc.constantFrom('__proto__', 'toJSON', 'a\nb', '7')), fc.oneof(
      { weight: 30, arbitrary: fc.string({ maxLength: 50 }) }, { weight: 1, arbitrary: fc.constantFrom(undefined, null, 7) })),
    sizes: fc.oneof(fc.constant(undefined), fc.dictionary(fc.string({ maxLength: 3 }), fc.record({ mm: fc.integer(), secret: fc.string() }))),
    secret: fc.string()
  })
}, { weight: 1, arbitrary: fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true }) })

interface Answer { text: string, failed: number, invalid: unknown[] }

const known = new Map<unknown, SerializeResults>()

function compiled (contract: AnyContract): SerializeResults {
  const serialize = known.get(contract) ?? compileSerializer(contract)
  known.set(contract, serialize)
  return serialize
}

function serialize (contract: AnyContract, results: unknown[], { minimal = false, length = Infinity } = {}): Answer {
  const invalid: unknown[] = []
  const serialization = compiled(contract)(results, {
    minimal, keys: results.map((_, index) => index), onInvalid: (index, key, why) => invalid.push([index, key, why])
  })
  const texts = []
  for (let isLast = false; !isLast;) {
    const next = serialization.next(length)
    texts.push(next.text)
    isLast = next.isLast
  }
  return { text: `{"results":${texts.join('')}}`, failed: serialization.failed(), invalid }
}

/** The same contract with a keyword that cannot be closed, so that every result goes the slow way. */
function slowly (contract: typeof rich): typeof rich {
  const slow = (schema: TSchema) => ({ ...schema, not: { type: 'string' } })
  const { schemas } = contract
  return { ...contract, schemas: { ...schemas, successes: schemas.successes.map(slow), failure: slow(schemas.failure) } } as unknown as typeof rich
}

/** In which order the members are is up to each way. */
function parsed ({ text, ...rest }: Answer) {
  return { ...rest, body: JSON.parse(text) as unknown }
}

t.test('whichever way a result goes, the answer is the same', async () => {
  const slow = slowly(rich)
  fc.assert(fc.property(fc.array(value, { maxLength: 30 }), fc.boolean(), fc.constantFrom(1, 100, Infinity), (results, minimal, length) => {
    assert.deepStrictEqual(parsed(serialize(rich, results, { minimal, length })), parsed(serialize(slow, results, { minimal })))
  }), { numRuns: 150 })
})

t.test('members that are missing are left out, of whatever is the last one, and however many there may be', async t => {
  for (const count of [3, 12]) {
    const maybes = Object.fromEntries(Array.from({ length: count }, (_, index) => [`m"${index}`, Type.Optional(Type.Integer())]))
    const contract = contractOf(Type.Object({ inner: Type.Object(maybes), ...maybes }))
    const some = fc.record(Object.fromEntries(Object.keys(maybes).map(name => [name, fc.integer()])), { requiredKeys: [] })
    fc.assert(fc.property(fc.array(fc.tuple(some, some), { maxLength: 10 }), pairs => {
      const results = pairs.map(([inner, rest], id) => ({ id, status: 'done', inner, ...rest }))
      t.strictSame(JSON.parse(serialize(contract, results).text), { results: JSON.parse(JSON.stringify(results)) })
    }), { numRuns: 50 })
  }
})

t.test('what lies in an object that leaves it open is written too', async t => {
  const open = contractOf(Type.Object({
    x: Type.Optional(Type.Unknown()),
    list: Type.Optional(Type.Array(Type.Unknown())),
    record: Type.Optional(Type.Unsafe({ type: 'object', additionalProperties: true }))
  }))
  const result = fc.record({
    id: fc.integer(), status: fc.constant('done'), x: fc.jsonValue(), list: fc.array(fc.jsonValue()), record: fc.dictionary(fc.string(), fc.jsonValue())
  }, { requiredKeys: ['id', 'status'] })
  fc.assert(fc.property(fc.array(result), results => {
    t.equal(serialize(open, results).text, JSON.stringify({ results }))
    const minimal = serialize(open, [...results, { id: 7, status: 'done', x: 7n }], { minimal: true })
    t.equal(JSON.stringify(JSON.parse(minimal.text).results.slice(0, -1)), JSON.stringify(results.map(({ id, status }) => ({ id, status }))))
    t.equal(minimal.failed, 1, 'also what is left out must be JSON')
  }), { numRuns: 50 })
})

t.test('every keyword of a schema is checked', async t => {
  const more: [TSchema, good: unknown, bad: unknown][] = [
    [Type.Integer({ multipleOf: 5 }), 10, 11],
    [Type.Array(Type.Integer(), { uniqueItems: true }), [1, 2], [1, 1]],
    [Type.Tuple([Type.Integer()]), [1], ['x']],
    [Type.Object({ a: Type.Integer() }, { additionalProperties: false }), { a: 1 }, { b: 2 }],
    [Type.Union([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.Integer() })]), { a: 1 }, { a: 'x' }],
    [Type.Union([Type.Object({ a: Type.Integer() }), Type.Record(Type.String(), Type.String())]), { a: 'x' }, { b: 1 }],
    [Type.Record(Type.String(), Type.Integer(), { minProperties: 1 }), { a: 1 }, {}],
    [Type.Record(Type.Integer(), Type.Integer(), { additionalProperties: false }), { 1: 1 }, { 1: 'x' }],
    [Type.Unsafe({ type: 'object', patternProperties: { '^a': { type: 'integer' }, '^b': { type: 'string' } } }), { a: 1, b: 'x' }, { a: 'x' }],
    [Type.Unsafe({ type: 'object', additionalProperties: { type: 'integer', multipleOf: 5 } }), { a: 5 }, { a: 6 }],
    [Type.Unsafe({ type: 'object', additionalProperties: false }), {}, 1],
    [Type.Unsafe({ type: 'boolean', not: { const: false } }), true, false],
    [Type.Unsafe({ type: 'string', const: 7 }), undefined, 7],
    [Type.Unsafe({ type: 'null', const: null }), null, 0],
    [Type.Unsafe({ type: 'boolean', const: null }), undefined, null],
    [Type.Unsafe({ type: 'object', required: ['z'], properties: {} }), undefined, {}],
    [Type.Unsafe({ const: { deep: true } }), { deep: true }, { deep: false }],
    [Type.Intersect([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.Integer() })]), { a: 1, b: 2 }, { a: 1 }]
  ]
  for (const [schema, good, bad] of more) {
    const contract = contractOf(Type.Object({ x: schema }))
    const results = [{ id: 1, status: 'done', x: good }, { id: 2, status: 'done', x: bad }]
    t.equal(serialize(contract, results).failed, good === undefined ? 2 : 1, JSON.stringify(schema))
  }
})

const row = contractOf(Type.Object({ text: Type.String(), at: Type.Any() }))
const rows = (count: number) => Array.from({ length: count }, (_, id) => ({ id, status: 'done', text: 'ü'.repeat(id % 50), at: id % 1000 === 0 ? 1n : new Date(0) }))

t.test('a large answer is made in pieces, with a header that says what is in it, and nothing is held up by it', async t => {
  const app = await build(t)
  const results = rows(20_000)
  app.post('/', { config: { multiStatus: row } }, (_request, reply) => { reply.multiStatus(results, { status: 'collapse' }) })
  app.post('/around', { config: { multiStatus: row }, preSerialization: async (_request, _reply, payload) => ({ before: 1, payload, after: 2 }) },
    (_request, reply) => { reply.multiStatus(results) })
  app.post('/changed', {
    config: { multiStatus: row },
    onSend: async (_request, _reply, payload) => (payload as NodeJS.ReadableStream).pipe(new Transform({ transform (chunk, _, done) { done(null, chunk) } }))
  }, (_request, reply) => { reply.multiStatus(results) })
  const expected = rows(20_000).map(({ at, ...rest }) => typeof at === 'bigint'
    ? { id: rest.id, status: 'failed', why: 'Invalid result', code: 'INVALID_RESULT', statusCode: 500, retryable: false }
    : { ...rest, at: '1970-01-01T00:00:00.000Z' })

  for (const url of ['/', '/around', '/changed']) {
    const turns = monitorEventLoopDelay()
    turns.enable()
    const response = await app.inject({ method: 'POST', url })
    turns.disable()
    t.equal(response.statusCode, 207)
    t.equal(response.headers['multi-status'], 'total=20000, succeeded=19980, failed=20')
    t.ok(response.body.length > 1024 * 1024)
    t.ok(turns.count > 0, 'the event loop has turned meanwhile')
    if (url === '/around') t.strictSame(response.json(), { before: 1, payload: { results: expected }, after: 2 })
    else t.strictSame(response.json(), { results: expected })
    t.equal(response.headers['content-length'], undefined)
  }
})

t.test('a large answer without a failure can be a 200, and small ones are sent as they always were', async t => {
  const app = await build(t)
  const good = (count: number) => Array.from({ length: count }, (_, id) => ({ id, status: 'done', text: 'x'.repeat(100), at: 0 }))
  app.post('/:count', { config: { multiStatus: row } }, (request, reply) => {
    reply.multiStatus(good(Number((request.params as { count: string }).count)), { status: 'collapse' })
  })
  for (const count of [1, 10_000, 30_000]) {
    const response = await app.inject({ method: 'POST', url: `/${count}` })
    t.equal(response.statusCode, 200)
    t.strictSame(response.json(), { results: good(count) })
  }
})

t.test('a large answer of which a hook leaves nothing is null', async t => {
  const app = await build(t)
  app.post('/', { config: { multiStatus: row }, preSerialization: async () => ({ toJSON: () => undefined }) }, (_request, reply) => { reply.multiStatus(rows(20_000)) })

  t.strictSame((await app.inject({ method: 'POST', url: '/' })).json(), null)
})
