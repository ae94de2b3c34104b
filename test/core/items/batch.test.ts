// Reading the items of a body, and validating each one.
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifyInstance, FastifySchema } from 'fastify'
import t, { type Test } from 'tap'
import { defineContract } from '../../../lib/index.js'
import { build, type BuildOptions } from '../../fixtures/build.js'

const contract = defineContract({
  name: 'Thing', key: 'id', success: 'done', failure: 'failed', reason: 'why', data: Type.Object({ seen: Type.Unknown() })
})

/** An app with a hand-written bulk route, and everything that its handler was given. */
async function buildThings (t: Test, body: TSchema | object, options: BuildOptions & { schema?: FastifySchema } = {}) {
  const app = await build(t, options)
  const ran: unknown[] = []
  app.post('/things', { config: { multiStatus: contract }, schema: { body, ...options.schema } }, async (request, reply) => {
    ran.push(request.body)
    const items = request.multiStatusBatch!.items
    return reply.multiStatus(items.map(seen => ({ status: 'fulfilled', value: { seen } })))
  })
  const post = (payload: unknown, headers: Record<string, string> = {}) => app.inject({
    method: 'POST', url: '/things', payload: JSON.stringify(payload), headers: { 'content-type': 'application/json', ...headers }
  })
  return { app, ran, post }
}

const Thing = Type.Object({ id: Type.Union([Type.Integer(), Type.String()]), n: Type.Integer() })
const Things = Type.Array(Thing)

function invalid (id: unknown, pointer: string, ...details: string[]) {
  const errors = details.map(detail => ({ pointer, detail }))
  return { id, status: 'failed', why: 'Invalid data', code: 'INVALID_ITEM', statusCode: 422, retryable: false, errors }
}

function refusal (statusCode: number, code: string, error: string, message: string) {
  return { statusCode, code: `FST_MULTI_STATUS_${code}`, error, message }
}

t.test('fails only the invalid items, and returns results in request order', async t => {
  const { ran, post } = await buildThings(t, Things)

  const response = await post([{ id: 1, n: '1' }, { id: 'b', n: 2 }, { id: 3 }, { id: 4, n: 4 }, 'five'])

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=5, succeeded=2, failed=3')
  t.strictSame(response.json(), {
    results: [
      invalid(1, '#/n', 'must be integer; received string'),
      { id: 'b', status: 'done', seen: { id: 'b', n: 2 } },
      invalid(3, '#/n', "must have required property 'n'"),
      { id: 4, status: 'done', seen: { id: 4, n: 4 } },
      invalid(null, '#', 'must be object; received string')
    ]
  })
  t.strictSame(ran, [[{ id: 'b', n: 2 }, { id: 4, n: 4 }]])
})

t.test('answers 207 when no item is valid', async t => {
  const { ran, post } = await buildThings(t, Things)

  const response = await post([{ id: 1 }, null])

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=2, succeeded=0, failed=2')
  t.strictSame(response.json(), {
    results: [invalid(1, '#/n', "must have required property 'n'"), invalid(null, '#', 'must be object; received null')]
  })
  t.strictSame(ran, [[]])
})

t.test('validates the body against the rest of its schema', async t => {
  for (const [more, wrong, right] of [
    [{ required: ['things', 'tenant'] }, {}, { tenant: 1 }],
    [{ patternProperties: { '^x-': { type: 'boolean' } } }, { 'x-a': 'neither' }, { 'x-a': true }],
    [{ not: { required: ['admin'] } }, { admin: 1 }, {}]
  ] as const) {
    const { post } = await buildThings(t, { type: 'object', properties: { things: Things }, ...more })
    const things = [{ id: 1, n: 1 }]
    t.equal((await post({ things, ...wrong })).statusCode, 400)
    t.equal((await post({ things, ...right })).statusCode, 207)
  }
})

t.test('finds the items in the one array of an object, and lets Fastify validate its other members', async t => {
  const body = Type.Object({ things: Things, dryRun: Type.Boolean(), note: Type.Optional(Type.String()) }, { additionalProperties: false })
  const { ran, post } = await buildThings(t, body)

  const response = await post({ things: [{ id: 1, n: null }, { id: 2, n: 2 }], dryRun: 'true', surplus: 1 })
  t.equal(response.statusCode, 207)
  t.strictSame(response.json(), { results: [invalid(1, '#/n', 'must be integer; received null'), { id: 2, status: 'done', seen: { id: 2, n: 2 } }] })
  t.strictSame(ran, [{ things: [{ id: 2, n: 2 }], dryRun: true }])

  const refused = await post({ things: [{ id: 2, n: 2 }] })
  t.equal(refused.statusCode, 400)
  t.strictSame(refused.json(), {
    statusCode: 400, code: 'FST_ERR_VALIDATION', error: 'Bad Request', message: "body must have required property 'dryRun'"
  })
  t.equal(ran.length, 1)
})

t.test('leaves a body with two arrays to Fastify', async t => {
  const app = await build(t)
  app.post('/', {
    config: { multiStatus: contract }, schema: { body: Type.Object({ a: Things, b: Things }) }
  }, async (request, reply) => reply.multiStatus([{ id: 1, status: 'done', seen: request.multiStatusBatch }]))

  const response = await app.inject({ method: 'POST', url: '/', payload: { a: [], b: [] } })
  t.equal(response.body, '{"results":[{"id":1,"status":"done","seen":null}]}')
  t.equal((await app.inject({ method: 'POST', url: '/', payload: { a: [{ id: 1 }], b: [] } })).statusCode, 400)
})

t.test('finds the items in an array that the schema does not require', async t => {
  const { post } = await buildThings(t, { properties: { things: Things } })

  t.strictSame((await post({ things: [{ id: 1, n: 1 }] })).json().results, [{ id: 1, status: 'done', seen: { id: 1, n: 1 } }])
  t.equal((await post({})).statusCode, 400)
})

t.test('accepts a recursive item schema', async t => {
  const Tree = Type.Recursive(This => Type.Union([
    Type.Object({ id: Type.Integer(), kind: Type.Literal('leaf') }),
    Type.Object({ id: Type.Integer(), kind: Type.Literal('branch'), of: Type.Array(This) })
  ]))
  const { post } = await buildThings(t, Type.Array(Tree))
  const leaf = { id: 2, kind: 'leaf' }

  const { results } = (await post([{ id: 1, kind: 'branch', of: [leaf] }, leaf, { id: 3, kind: 'branch', of: [{}] }])).json()
  t.strictSame(results.slice(0, 2), [{ id: 1, status: 'done', seen: { id: 1, kind: 'branch', of: [leaf] } }, { id: 2, status: 'done', seen: leaf }])
  t.match(results[2], { id: 3, status: 'failed', code: 'INVALID_ITEM', errors: Array })
  t.equal(results.length, 3)
})

t.test("coerces and removes nothing in an item, unlike Fastify's default", async t => {
  const body = Type.Object({ taskIds: Type.Array(Type.Integer()) })
  const { ran, post } = await buildThings(t, body)

  const nothing = await post({ taskIds: null })
  t.equal(nothing.statusCode, 400)
  t.strictSame(nothing.json(), refusal(400, 'BODY_NOT_BATCH', 'Bad Request',
    'Expected the body to be an object with an array of items in "taskIds"; received null there'))
  t.strictSame(ran, [])

  const response = await post({ taskIds: [null, '7', true, 8] })
  t.equal(response.statusCode, 207)
  t.strictSame(response.json().results, [
    invalid(null, '#', 'must be integer; received null'),
    invalid(null, '#', 'must be integer; received string'),
    invalid(null, '#', 'must be integer; received boolean'),
    { id: 8, status: 'done', seen: 8 }
  ])
  t.strictSame(ran, [{ taskIds: [8] }])
})

t.test('keeps unknown members, unless the item schema forbids them', async t => {
  const open = await buildThings(t, Things)
  t.strictSame((await open.post([{ id: 1, n: 1, more: { x: 1 } }])).json().results, [{ id: 1, status: 'done', seen: { id: 1, n: 1, more: { x: 1 } } }])

  const closed = await buildThings(t, Type.Array(Type.Object({ id: Type.Integer() }, { additionalProperties: false })))
  t.strictSame((await closed.post([{ id: 1, 'a/b~c d': 1 }, { id: 2 }])).json().results, [
    invalid(1, '#/a~1b~0c%20d', 'must NOT have additional properties'),
    { id: 2, status: 'done', seen: { id: 2 } }
  ])
})

t.test('fills in the defaults of the item schema', async t => {
  const { post } = await buildThings(t, Type.Array(Type.Object({ id: Type.Integer(), n: Type.Integer({ default: 5 }) })))

  t.strictSame((await post([{ id: 1 }])).json().results, [{ id: 1, status: 'done', seen: { id: 1, n: 5 } }])
})

t.test('points to the invalid member, whatever its depth and name', async t => {
  const Deep = Type.Object({
    id: Type.Integer(),
    'a/b': Type.Optional(Type.Object({ '~c#?%': Type.Array(Type.Object({ 'é ü': Type.Integer() })) })),
    any: Type.Optional(Type.Record(Type.String(), Type.Integer())),
    color: Type.Optional(Type.Unsafe({ enum: ['red', 'green'] })),
    kind: Type.Optional(Type.Literal('a')),
    only: Type.Optional(Type.Unsafe({ enum: ['x'] })),
    list: Type.Optional(Type.Array(Type.Integer(), { minItems: 1 }))
  })
  const { post } = await buildThings(t, Type.Array(Deep))

  const { results } = (await post([
    { id: 1, 'a/b': { '~c#?%': [{ 'é ü': 1 }, { 'é ü': 'x' }] } },
    { id: 2, 'a/b': { '~c#?%': [{}] } },
    { id: 3, any: { 'x/y~z': 'no' } },
    { id: 4, color: 'blue' },
    { id: 5, kind: 'b' },
    { id: 6, list: [] },
    { id: 7, any: { 'lone \ud800': [] } },
    { id: 8, only: 'y' }
  ])).json()

  t.strictSame(results, [
    invalid(1, '#/a~1b/~0c%23%3F%25/1/%C3%A9%20%C3%BC', 'must be integer; received string'),
    invalid(2, '#/a~1b/~0c%23%3F%25/0/%C3%A9%20%C3%BC', "must have required property 'é ü'"),
    invalid(3, '#/any/x~1y~0z', 'must be integer; received string'),
    invalid(4, '#/color', 'must be one of "red", "green"'),
    invalid(5, '#/kind', 'must be "a"'),
    invalid(6, '#/list', 'must NOT have fewer than 1 items'),
    invalid(7, '#/any/lone%20%EF%BF%BD', 'must be integer; received array'),
    invalid(8, '#/only', 'must be "x"')
  ])
})

t.test('checks only the branch of a tagged union that the tag selects', async t => {
  const Circle = Type.Object({ id: Type.Integer(), shape: Type.Literal('circle'), r: Type.Number() })
  const Square = Type.Object({ id: Type.Integer(), shape: Type.Literal('square'), side: Type.Number() })
  const { post } = await buildThings(t, Type.Array(Type.Union([Circle, Square])))

  t.strictSame((await post([
    { id: 1, shape: 'circle', r: 1 },
    { id: 2, shape: 'square', r: 1 },
    { id: 3, shape: 'oval' },
    { id: 4 },
    [5],
    { id: 6, shape: 'constructor' }
  ])).json().results, [
    { id: 1, status: 'done', seen: { id: 1, shape: 'circle', r: 1 } },
    invalid(2, '#/side', "must have required property 'side'"),
    invalid(3, '#/shape', 'must be one of "circle", "square"'),
    invalid(4, '#/shape', 'must be one of "circle", "square"'),
    invalid(null, '#', 'must be object; received array'),
    invalid(6, '#/shape', 'must be one of "circle", "square"')
  ])
})

t.test('resolves references of an item schema to shared schemas', async t => {
  const addSchemas = (app: FastifyInstance) => app.addSchema({ $id: 'thing', type: 'object', required: ['id'], properties: { id: { type: 'integer' } } })
  const { post } = await buildThings(t, { type: 'array', items: { $ref: 'thing#' } }, { before: addSchemas })

  t.strictSame((await post([{ id: 1 }, { id: '2' }])).json().results, [
    { id: 1, status: 'done', seen: { id: 1 } },
    invalid('2', '#/id', 'must be integer; received string')
  ])
})

const thing = { type: 'object', required: ['id'], properties: { id: { $ref: '#/definitions/id' } } }
const definitions = { id: { type: 'integer' } }

const bodies: [name: string, body: object, items: (things: object[]) => object, shared?: object][] = [
  ['be a shared schema', { $ref: 'things#' }, things => things, { $id: 'things', type: 'array', items: thing, definitions }],
  ['be a place in a shared schema', { $ref: 'all#/definitions/a~1b' }, things => things,
    { $id: 'all', definitions: { 'a/b': { type: 'array', items: thing }, ...definitions } }],
  ['be a shared object', { $ref: 'request' }, list => ({ list, more: 1 }),
    { $id: 'request', type: 'object', required: ['more'], properties: { list: { type: 'array', items: thing }, more: { type: 'integer' } }, definitions }],
  ['have definitions of its own', { type: 'array', items: { $ref: '#/$defs/thing' }, $defs: { thing: { type: 'object', required: ['id'], properties: { id: { type: 'integer' } } } } }, things => things],
  ['have a union whose branches refer to its definitions', {
    type: 'array',
    items: { anyOf: ['a', 'b'].map(kind => ({ ...thing, required: ['id', 'kind'], properties: { ...thing.properties, kind: { const: kind } } })) },
    definitions
  }, things => things.map(one => ({ ...one, kind: 'b' }))],
  ['be the content of one media type', { content: { 'application/json': { schema: { type: 'array', items: thing, definitions } } } }, things => things],
  ['be an object in the content of one media type',
    { content: { 'application/json': { schema: { type: 'object', required: ['more'], properties: { list: { type: 'array', items: thing }, more: { type: 'integer' } }, definitions } } } },
    list => ({ list, more: 1 })]
]

for (const [name, body, wrap, shared] of bodies) {
  t.test(`accepts the schema of a body that may ${name}`, async t => {
    const { post } = await buildThings(t, body, { before: app => shared !== undefined && app.addSchema(shared) })

    const response = await post(wrap([{ id: 1 }, { id: '2' }]))
    t.equal(response.statusCode, 207)
    t.match(response.json().results, [
      { id: 1, status: 'done' },
      invalid('2', '#/id', 'must be integer; received string')
    ])
    const rest = wrap([{ id: 1 }])
    if ('more' in rest) t.match((await post({ ...rest, more: {} })).json(), { statusCode: 400, code: 'FST_ERR_VALIDATION' })
  })
}

t.test('reports a shared schema that is added after the route', async t => {
  const before = (app: FastifyInstance) => app.addSchema({ $id: 'all', definitions: {} })

  for (const reference of ['things#', 'all#/definitions/things', 'all#/nothing/at/all']) {
    await t.rejects(buildThings(t, { $ref: reference }, { before }), {
      code: 'FST_MULTI_STATUS_INVALID_OPTION',
      message: `fastify-multi-status: the body of a bulk route must be a schema that the app has already; call addSchema before the route; received "${reference}"`
    })
  }
})

t.test('leaves a body with several media types to Fastify', async t => {
  const schema = { type: 'array', items: { type: 'object', properties: { id: { type: 'integer' } } } }
  const { ran, post } = await buildThings(t, { content: { 'application/json': { schema }, 'application/other': { schema } } })

  t.match((await post([{ id: 'x' }])).json(), { statusCode: 400, code: 'FST_ERR_VALIDATION' })
  t.strictSame(ran, [])
})

t.test('refuses a batch with duplicate keys, and names them', async t => {
  const { ran, post } = await buildThings(t, Things)

  const twice = await post([{ id: 1, n: 1 }, { id: 'a', n: 1 }, { id: 1, n: 2 }, { id: 'a' }])
  t.equal(twice.statusCode, 400)
  t.strictSame(twice.json(), refusal(400, 'DUPLICATE_KEYS', 'Bad Request', 'Expected every item to have its own id; received more than once: 1, "a"'))

  const mixed = await post([{ id: 10, n: 1 }, { id: '11', n: 1 }, { id: '9', n: 1 }, { id: 10, n: 1 }])
  t.match(mixed.json(), { code: 'DUPLICATE_KEYS', message: /more than once: 10$/ })

  const many = await post([...Array(14).keys()].map(n => ({ id: `${n % 7}`.repeat(100), n })))
  t.equal(many.statusCode, 400)
  t.equal(many.json().message, 'Expected every item to have its own id; received more than once: ' +
    ['0', '1', '2', '3', '4'].map(digit => `"${digit.repeat(79)}`).join(', ') + ' and 2 more')
  t.strictSame(ran, [])
})

t.test('distinguishes long keys that differ in one character', async t => {
  const { post } = await buildThings(t, Things)
  // The first key differs from the others at its start and at its end.
  const thingsOf = (key: (n: number) => string) => ['b', ...Array.from({ length: 40 }, (_, n) => key((n * 7) % 40))].map(id => ({ id, n: 1 }))
  const [near, far] = ['z'.repeat(9), 'z'.repeat(90)]

  for (const around of [near, far]) {
    const distinct = await post(thingsOf(n => `a${around}${n}${around}a`))
    t.equal(distinct.headers['multi-status'], 'total=41, succeeded=41, failed=0')
    const twice = await post(thingsOf(n => `a${around}${n === 8 ? 5 : n}${around}a`))
    t.match(twice.json(), { code: 'DUPLICATE_KEYS', message: new RegExp(`more than once: "a${around}`.slice(0, 80)) })
  }
  const within = await post(['aa', 'aazaa', 'aabaa', 'aacaa'].map(id => ({ id, n: 1 })))
  t.equal(within.headers['multi-status'], 'total=4, succeeded=4, failed=0')
})

t.test('treats 1 and "1" as two keys, and does not compare items without a key', async t => {
  const { post } = await buildThings(t, Things)

  t.strictSame((await post([{ id: 1, n: 1 }, { id: '1', n: 1 }, { id: null, n: 1 }, {}, { id: 1.5, n: 1 }])).json().results, [
    { id: 1, status: 'done', seen: { id: 1, n: 1 } },
    { id: '1', status: 'done', seen: { id: '1', n: 1 } },
    invalid(null, '#/id', 'must be integer; received null', 'must be string; received null', 'must match a schema in anyOf'),
    invalid(null, '#/id', "must have required property 'id'"),
    invalid(null, '#/id', 'must be integer; received number', 'must be string; received number', 'must match a schema in anyOf')
  ])
})

t.test('answers 413 with the limit for more than maxItems', async t => {
  const { ran, post } = await buildThings(t, Type.Array(Thing, { maxItems: 2 }))
  const refused = await post([1, 2, 3])
  t.equal(refused.statusCode, 413)
  t.strictSame(refused.json(), refusal(413, 'BATCH_TOO_LARGE', 'Payload Too Large', 'Expected at most 2 items in one request; received 3'))
  t.strictSame(ran, [])

  const unsaid = await buildThings(t, Things)
  const things = [...Array(1001).keys()].map(id => ({ id, n: 1 }))
  t.equal((await unsaid.post(things.slice(1))).headers['multi-status'], 'total=1000, succeeded=1000, failed=0')
  t.equal((await unsaid.post(things)).json().message, 'Expected at most 1000 items in one request; received 1001')
})

t.test('validates the array itself, for example uniqueItems', async t => {
  const { ran, post } = await buildThings(t, Type.Array(Type.Integer(), { minItems: 2, uniqueItems: true, $id: 'numbers' }))

  t.strictSame((await post([1])).json(), refusal(400, 'BODY_NOT_BATCH', 'Bad Request',
    'Expected the body to be an array of items, which must NOT have fewer than 2 items; received 1 there'))
  t.equal((await post([null, null])).statusCode, 400)
  t.strictSame(ran, [])
  t.equal((await post([1, 'x'])).headers['multi-status'], 'total=2, succeeded=1, failed=1')
})

t.test('refuses an empty batch, a body without an array, and no body', async t => {
  const array = await buildThings(t, Things)
  const object = await buildThings(t, Type.Object({ things: Things }))
  const cases: [typeof array, unknown, string, string][] = [
    [array, [], 'BATCH_EMPTY', 'Expected at least 1 item in the body; received 0'],
    [array, {}, 'BODY_NOT_BATCH', 'Expected the body to be an array of items; received object'],
    [array, 'x', 'BODY_NOT_BATCH', 'Expected the body to be an array of items; received string'],
    [array, null, 'BODY_NOT_BATCH', 'Expected the body to be an array of items; received null'],
    [object, { things: [] }, 'BATCH_EMPTY', 'Expected at least 1 item in things; received 0'],
    [object, { things: {} }, 'BODY_NOT_BATCH', 'Expected the body to be an object with an array of items in "things"; received object there'],
    [object, {}, 'BODY_NOT_BATCH', 'Expected the body to be an object with an array of items in "things"; received undefined there'],
    [object, [], 'BODY_NOT_BATCH', 'Expected the body to be an object with an array of items in "things"; received array'],
    [object, null, 'BODY_NOT_BATCH', 'Expected the body to be an object with an array of items in "things"; received null']
  ]
  for (const [{ post }, payload, code, message] of cases) {
    const response = await post(payload)
    t.equal(response.statusCode, 400)
    t.strictSame(response.json(), refusal(400, code, 'Bad Request', message))
    t.equal(response.headers['multi-status'], undefined)
  }
  for (const [{ app }, what] of [[array, 'be an array of items'], [object, 'be an object with an array of items in "things"']] as const) {
    const response = await app.inject({ method: 'POST', url: '/things' })
    t.equal(response.statusCode, 400)
    t.strictSame(response.json(), refusal(400, 'BODY_NOT_BATCH', 'Bad Request', `Expected the body to ${what}; received no body`))
  }
  t.strictSame([array.ran, object.ran], [[], []])
})

t.test('leaves unknown media types and malformed JSON to Fastify', async t => {
  const { ran, app } = await buildThings(t, Things)
  const post = (payload: string, type: string) => app.inject({ method: 'POST', url: '/things', payload, headers: { 'content-type': type } })

  const unknown = await post('<things/>', 'application/xml')
  t.equal(unknown.statusCode, 415)
  t.equal(unknown.json().code, 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
  const text = await post('[{"id":1,"n":1}]', 'text/plain')
  t.equal(text.statusCode, 400)
  t.equal(text.json().message, 'Expected the body to be an array of items; received string')
  const broken = await post('[{"id":1', 'application/json')
  t.equal(broken.statusCode, 400)
  t.strictSame(ran, [])
})

t.test('refuses the batch for an invalid item with handling=strict, and points to it from the root of the body', async t => {
  const { ran, post } = await buildThings(t, Type.Object({ 'th/ings': Things }))

  const refused = await post({ 'th/ings': [{ id: 1, n: 1 }, { id: 2, n: 'x' }, 7] }, { prefer: 'handling=strict' })
  t.equal(refused.statusCode, 422)
  t.equal(refused.headers['preference-applied'], 'handling=strict')
  t.equal(refused.headers.vary, 'Prefer')
  t.equal(refused.headers['multi-status'], undefined)
  t.strictSame(refused.json(), {
    ...refusal(422, 'INVALID_ITEMS', 'Unprocessable Entity',
      'Expected only valid items (Prefer: handling=strict); received 2 invalid of 3, so nothing ran'),
    errors: [
      { pointer: '#/th~1ings/1/n', detail: 'must be integer; received string' },
      { pointer: '#/th~1ings/2', detail: 'must be object; received number' }
    ]
  })
  t.strictSame(ran, [])

  const accepted = await post({ 'th/ings': [{ id: 1, n: 1 }] }, { prefer: 'handling=strict' })
  t.equal(accepted.statusCode, 207)
  t.equal(accepted.headers['preference-applied'], 'handling=strict')
})

t.test('points from the array if the body is the array', async t => {
  const { post } = await buildThings(t, Things)

  const refused = await post([{ id: 1, n: 1 }, {}], { prefer: 'handling=strict' })

  t.strictSame(refused.json().errors, [{ pointer: '#/1/id', detail: "must have required property 'id'" }])
})

t.test("formats a strict refusal by the app's error handler and 422 schema", async t => {
  const own = await buildThings(t, Things, {
    before: app => app.setErrorHandler<Error & { errors?: unknown }>((error, _request, reply) =>
      reply.code(422).send({ mine: error.message.length > 0, list: error.errors }))
  })
  t.strictSame((await own.post([{ id: 1 }], { prefer: 'handling=strict' })).json(), {
    mine: true, list: [{ pointer: '#/0/n', detail: "must have required property 'n'" }]
  })

  const schema = { response: { '4xx': Type.Object({ code: Type.String() }) } }
  const narrow = await buildThings(t, Things, { schema })
  t.strictSame((await narrow.post([{ id: 1 }], { prefer: 'handling=strict' })).json(), { code: 'FST_MULTI_STATUS_INVALID_ITEMS' })
})

t.test("reads the items after the route's preValidation hooks", async t => {
  const app = await build(t)
  const order: unknown[] = []
  app.post('/', {
    config: { multiStatus: contract },
    schema: { body: Things },
    preValidation: async request => { order.push(request.multiStatusBatch, request.body) }
  }, async (request, reply) => reply.multiStatus([]))

  await app.inject({ method: 'POST', url: '/', payload: [{ id: 1 }] })

  t.strictSame(order, [null, [{ id: 1 }]])
})

t.test('does not read the body of a route without items', async t => {
  const app = await build(t)
  app.get('/', { config: { multiStatus: contract } }, async (request, reply) =>
    reply.multiStatus([{ id: 1, status: 'done', seen: request.multiStatusBatch }]))
  app.post('/any', { config: { multiStatus: contract }, schema: { body: {} } }, async (request, reply) =>
    reply.multiStatus([{ id: 1, status: 'done', seen: request.body }]))
  app.post('/', { config: { multiStatus: contract }, schema: { body: Type.Object({ n: Type.Integer() }) } }, async (request, reply) =>
    reply.multiStatus([{ id: 1, status: 'done', seen: request.body }]))

  t.equal((await app.inject('/')).body, '{"results":[{"id":1,"status":"done","seen":null}]}')
  t.equal((await app.inject({ method: 'POST', url: '/any', payload: [] })).body, '{"results":[{"id":1,"status":"done","seen":[]}]}')
  t.equal((await app.inject({ method: 'POST', url: '/', payload: { n: '5' } })).body, '{"results":[{"id":1,"status":"done","seen":{"n":5}}]}')
  t.equal((await app.inject({ method: 'HEAD', url: '/' })).statusCode, 207)
})

t.test('does not take an invalid non-object item for a key', async t => {
  const { post } = await buildThings(t, Type.Array(Thing))

  const response = await post([{ id: 5, n: 1 }, 5])

  t.equal(response.statusCode, 207)
  t.match(response.json().results, [{ id: 5 }, { id: null, code: 'INVALID_ITEM' }])
})
