// defineContract: results, their schemas and their OpenAPI.
import { Type, type Static, type TObject, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t from 'tap'
import {
  bulkRoute, defineContract, FileEntries, FileEntry, generic, ItemProblem, taskOf, tasks, toFailure, uploads,
  type AnyContract, type Body, type Failure, type FailureDetail, type GenericResult, type Result, type SuccessData,
  type TaskResult, type UploadResult, type Vocabulary
} from '../../lib/index.js'
import { build } from '../fixtures/build.js'

/** A schema as it is published, without the symbols of TypeBox. */
const json = (schema: unknown) => JSON.parse(JSON.stringify(schema)) as unknown

const anyKey = { anyOf: [{ type: 'integer' }, { type: 'string' }] }
const failureSchema = (key: string, keyType: object, word: string, reason: string, title: string) => ({
  title,
  type: 'object',
  required: [key, 'status', reason],
  properties: {
    [key]: { description: 'null where the item had no key that could be used', anyOf: [keyType, { type: 'null' }] },
    status: { const: word, type: 'string' },
    [reason]: { type: 'string' },
    code: { description: 'Stable and machine readable, for example FILE_TOO_LARGE', type: 'string' },
    statusCode: { minimum: 400, maximum: 599, description: 'The HTTP status code that this item alone would have had', type: 'integer' },
    retryable: { description: 'Whether sending this item again, unchanged, can succeed', type: 'boolean' },
    retryAfter: { minimum: 0, description: 'Seconds to wait before sending it again', type: 'number' },
    errors: { description: 'What exactly was wrong with the item', type: 'array', items: json(ItemProblem) }
  }
})

t.test('makes exactly these results with the built-in contracts', async t => {
  t.equal(
    JSON.stringify({ [generic.envelope]: [generic.succeed(1), generic.fail(2, { message: 'Invalid data' })] }),
    '{"results":[{"id":1,"status":"success"},{"id":2,"status":"error","message":"Invalid data"}]}'
  )
  t.equal(
    JSON.stringify({ [uploads.envelope]: [uploads.succeed('image1.png'), uploads.fail('image2.png', { message: 'File too large' })] }),
    '{"results":[{"file":"image1.png","status":"uploaded"},{"file":"image2.png","status":"failed","error":"File too large"}]}'
  )
  t.equal(
    JSON.stringify({ [tasks.envelope]: [tasks.succeed(101), tasks.fail(102, { message: 'Timeout' })] }),
    '{"tasks":[{"taskId":101,"status":"completed"},{"taskId":102,"status":"failed","reason":"Timeout"}]}'
  )
})

t.test('exposes the words of a contract', async t => {
  const { schemas: _, succeed, fail, ...words } = uploads
  t.strictSame(words, {
    name: 'File', envelope: 'results', key: 'file', successWords: ['uploaded'], failureWord: 'failed', reason: 'error'
  })
  t.equal(tasks.envelope, 'tasks')
})

t.test('has one titled branch for each status in the schemas of a contract', async t => {
  const success = {
    title: 'ItemSuccess',
    type: 'object',
    required: ['id', 'status'],
    properties: { id: anyKey, status: { const: 'success', type: 'string' } }
  }
  const failure = failureSchema('id', anyKey, 'error', 'message', 'ItemError')
  t.strictSame(json(generic.schemas), {
    key: anyKey,
    successes: [success],
    failure,
    result: { anyOf: [success, failure] },
    body: {
      type: 'object',
      required: ['results'],
      properties: {
        results: { description: 'One result per item, in request order', type: 'array', items: { anyOf: [success, failure] } }
      }
    }
  })
  const titles = ({ schemas }: AnyContract) => [...schemas.successes, schemas.failure].map(({ title }) => title as string)
  t.strictSame([uploads, tasks].flatMap(titles), ['FileUploaded', 'FileFailed', 'TaskCompleted', 'TaskFailed'])
})

t.test('accepts data for each of several success words', async t => {
  const orders = defineContract({
    name: 'Order',
    envelope: 'orders',
    key: 'orderId',
    keyType: Type.Integer(),
    success: ['placed', 'back-ordered', 'merged'],
    failure: 'refused',
    reason: 'why',
    data: {
      placed: Type.Object({ total: Type.Number() }),
      'back-ordered': Type.Object({ weeks: Type.Integer(), note: Type.Optional(Type.String()) })
    }
  })

  t.strictSame(orders.successWords, ['placed', 'back-ordered', 'merged'])
  t.strictSame(json(orders.schemas.successes), [
    {
      title: 'OrderPlaced',
      type: 'object',
      required: ['orderId', 'status', 'total'],
      properties: { orderId: { type: 'integer' }, status: { const: 'placed', type: 'string' }, total: { type: 'number' } }
    },
    {
      title: 'OrderBackOrdered',
      type: 'object',
      required: ['orderId', 'status', 'weeks'],
      properties: {
        orderId: { type: 'integer' }, status: { const: 'back-ordered', type: 'string' }, weeks: { type: 'integer' }, note: { type: 'string' }
      }
    },
    {
      title: 'OrderMerged',
      type: 'object',
      required: ['orderId', 'status'],
      properties: { orderId: { type: 'integer' }, status: { const: 'merged', type: 'string' } }
    }
  ])
  t.strictSame(json(orders.schemas.failure), failureSchema('orderId', { type: 'integer' }, 'refused', 'why', 'OrderRefused'))
  t.strictSame(orders.succeed(1, { total: 9.5 }), { orderId: 1, status: 'placed', total: 9.5 })
  t.strictSame(orders.succeed(2, { status: 'back-ordered', weeks: 3 }), { orderId: 2, status: 'back-ordered', weeks: 3 })
  t.strictSame(orders.succeed(3, { status: 'merged' }), { orderId: 3, status: 'merged' })
  t.strictSame(orders.succeed(4, { orderId: 5, total: 1 }), { orderId: 5, status: 'placed', total: 1 }, 'data may name its own key')
  t.strictSame(orders.fail(null, { message: 'Empty', code: 'EMPTY', statusCode: 422, retryable: false, retryAfter: 1, errors: [] }),
    { orderId: null, status: 'refused', why: 'Empty', code: 'EMPTY', statusCode: 422, retryable: false, retryAfter: 1, errors: [] })
})

t.test('writes key and status first, and null for a missing key', async t => {
  const bare: AnyContract = uploads
  t.equal(JSON.stringify(bare.succeed(undefined, { size: 1, status: 'uploaded' })), '{"file":null,"status":"uploaded","size":1}')
  t.equal(JSON.stringify(bare.fail(undefined, { message: 'No', code: 'NO' })), '{"file":null,"status":"failed","error":"No","code":"NO"}')
  t.strictSame(bare.succeed('a', { status: 'invented' }), { file: 'a', status: 'invented' }, 'no status is rewritten')
})

t.test('adds failureData to failures', async t => {
  const calls = defineContract({
    name: 'Call', key: 'id', success: 'answered', failure: 'missed', reason: 'why', failureData: Type.Object({ body: Type.Optional(Type.Unknown()) })
  })
  const failure: Failure<{ key: 'id', success: 'answered', failure: 'missed', reason: 'why', name: 'Call' }> & { body?: unknown } =
    calls.fail(1, { message: 'Busy', code: 'BUSY', body: { line: 7 } })
  t.strictSame(failure, { id: 1, status: 'missed', why: 'Busy', code: 'BUSY', body: { line: 7 } })
  t.ok(Value.Check(calls.schemas.failure, failure))
  t.strictSame(Object.keys(calls.schemas.failure.properties).at(-1), 'body')

  const app = await build(t)
  app.get('/calls', { config: { multiStatus: calls } }, async (_, reply) => reply.multiStatus([failure]))
  t.strictSame((await app.inject('/calls')).json(), { results: [failure] })
})

t.test('leaves out failureData in failures made by the plugin', async t => {
  const hints = defineContract({ name: 'Call', key: 'id', success: 'answered', failure: 'missed', reason: 'why', failureData: Type.Object({ hint: Type.String() }) })
  const app = await build(t)
  app.route(bulkRoute({ url: '/calls', contract: hints, item: Type.Object({ id: Type.Integer() }), handler: ({ id }) => { if (id === 3) throw new Error('secret') } }))

  const response = await app.inject({ method: 'POST', url: '/calls', payload: [{ id: 1 }, { id: 'x' }, { id: 3 }] })
  t.match(response.json().results, [{ id: 1, status: 'answered' }, { id: 'x', code: 'INVALID_ITEM' }, { id: 3, code: 'INTERNAL_ERROR' }])
  t.strictSame(hints.fail(1, { message: 'Busy', hint: 'later' }), { id: 1, status: 'missed', why: 'Busy', hint: 'later' })
})

t.test('accepts plain JSON schemas as data', async t => {
  const data = { type: 'object', properties: { a: { type: 'string' }, b: { type: 'string' } }, required: ['a'], additionalProperties: false }
  const plain = defineContract({ name: 'Call', key: 'id', success: 'answered', failure: 'missed', reason: 'why', data: data as unknown as TObject })
  const app = await build(t)
  app.get('/calls', { config: { multiStatus: plain } }, async (_, reply) => reply.multiStatus([plain.succeed(1, { a: 'x' }), plain.succeed(2, { b: 'x' })]))

  t.match((await app.inject('/calls')).json().results, [{ id: 1, status: 'answered', a: 'x' }, { id: 2, code: 'INVALID_RESULT' }])
})

t.test('accepts one data schema for all success words', async t => {
  const both = defineContract({
    name: 'Row', key: 'id', success: ['created', 'updated'], failure: 'failed', reason: 'message', data: Type.Object({ version: Type.Integer() })
  })
  for (const schema of both.schemas.successes) t.strictSame(schema.required, ['id', 'status', 'version'])
})

t.test('allows a data member "message" if the reason has another name', async t => {
  const chats = defineContract({
    name: 'Chat', key: 'message', success: 'sent', failure: 'unsent', reason: 'why', data: Type.Object({ reason: Type.String() })
  })
  t.strictSame(chats.fail('m1', { message: 'Blocked' }), { message: 'm1', status: 'unsent', why: 'Blocked' })
  t.strictSame(chats.succeed('m2', { reason: 'asked' }), { message: 'm2', status: 'sent', reason: 'asked' })
})

t.test('makes valid OpenAPI names from any word', async t => {
  const titleOf = (success: string) => {
    const { schemas } = defineContract({ name: 'Item', key: 'id', success, failure: 'no', reason: 'message' })
    return schemas.successes[0]!.title
  }
  const titles = ['done', 'not-changed', 'not_changed', 'already done', 'HTTP 200', 'isOk', 'done!', 'créé', '成功', '2nd'].map(titleOf)
  t.strictSame(titles, ['ItemDone', 'ItemNotChanged', 'ItemNotChanged', 'ItemAlreadyDone', 'ItemHTTP200', 'ItemIsOk', 'ItemDone', 'ItemCr', 'Item', 'Item2nd'])

  const taskTitles = ['resize', 'resize-image', '/a', 'étoile', '成功'].map(type => taskOf(type, Type.Unknown()).title)
  t.strictSame(taskTitles, ['ResizeTask', 'ResizeimageTask', 'ATask', 'ToileTask', 'Task'])
})

t.test('rejects invalid vocabularies with what was expected', async t => {
  const right = { name: 'Item', key: 'id', success: 'done', failure: 'failed', reason: 'message' }
  const word = (option: string, received: string) =>
    `defineContract: ${option} must be a word other than "__proto__"; received ${received}`
  const twice = (what: string, name: string) =>
    `defineContract: the ${what} of a result must differ from each other; received "${name}" twice`
  const data = (member: string) =>
    `defineContract: data must be Type.Object({...}), or an object with one for each success word; received one with the member "${member}"`
  const name = (received: string) =>
    `defineContract: name must be an UpperCamelCase word, because it becomes the name of a schema; received ${received}`
  const both = Type.Intersect([Type.Object({ a: Type.String() }), Type.Object({ b: Type.String() })])

  const wrong: Array<[object, string]> = [
    [{ name: 'item' }, name('"item"')],
    [{ name: 'My Item' }, name('"My Item"')],
    [{ name: undefined }, name('undefined')],
    [{ key: '' }, word('key', '""')],
    [{ key: '__proto__' }, word('key', '"__proto__"')],
    [{ envelope: ' results' }, word('envelope', '" results"')],
    [{ failure: null }, word('failure', 'null')],
    [{ reason: 3 }, word('reason', '3')],
    [{ success: '' }, word('success', '""')],
    [{ success: undefined }, word('success', 'undefined')],
    [{ success: [] }, word('success', '[]')],
    [{ success: ['done', 7] }, word('success', '7')],
    [{ success: 'failed' }, twice('words', 'failed')],
    [{ success: ['done', 'done'] }, twice('words', 'done')],
    [{ key: 'status' }, twice('members', 'status')],
    [{ reason: 'id' }, twice('members', 'id')],
    [{ reason: 'code' }, twice('members', 'code')],
    [{ key: 'errors' }, twice('members', 'errors')],
    [{ data: Type.Object({ id: Type.String() }) }, twice('members', 'id')],
    [{ data: { done: Type.Object({ status: Type.String() }) } }, twice('members', 'status')],
    [{ data: { don: Type.Object({}) } }, data('don')],
    [{ data: { done: Type.String() } }, data('done')],
    [{ data: both }, data('type')],
    [{ failureData: Type.Object({ code: Type.String() }) }, twice('members', 'code')],
    ...['additionalProperties', 'patternProperties', 'allOf', 'minProperties'].flatMap((keyword): Array<[object, string]> =>
      [{ data: Type.Object({}, { [keyword]: 1 }) }, { data: { done: Type.Object({}, { [keyword]: 1 }) } }].map(change => [change,
        `defineContract: data must name its members, with nothing that holds for all of them; received a schema with "${keyword}"`])),
    [{ failureData: Type.Object({ a: Type.String() }, { not: {} }) },
      'defineContract: failureData must name its members, with nothing that holds for all of them; received a schema with "not"'],
    [{ failureData: Type.String() }, 'defineContract: failureData must be Type.Object({...}); received {"type":"string"}']
  ]
  for (const [change, message] of wrong) {
    const define = () => defineContract({ ...right, ...change } as Vocabulary)
    t.throws(define, TypeError)
    t.throws(define, { message })
  }
})

t.test('makes results that fit the schema of the body', async t => {
  const detail = fc.record<FailureDetail, 'message'>({
    message: fc.string(),
    code: fc.string(),
    statusCode: fc.integer({ min: 400, max: 599 }),
    retryable: fc.boolean(),
    retryAfter: fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }),
    errors: fc.array(fc.record({ pointer: fc.string(), detail: fc.string() }))
  }, { requiredKeys: ['message'] })
  const data: Array<[AnyContract, fc.Arbitrary<string | number>, fc.Arbitrary<object>]> = [
    [generic, fc.oneof(fc.string(), fc.integer()), fc.constant({})],
    [tasks, fc.oneof(fc.string({ minLength: 1, maxLength: 255 }), fc.integer()), fc.record({ output: fc.jsonValue() }, { requiredKeys: [] })],
    [uploads, fc.string(), fc.record({ key: fc.string(), size: fc.nat(), type: fc.string(), sha256: fc.string() }, { requiredKeys: [] })]
  ]
  for (const [contract, key, success] of data) {
    fc.assert(fc.property(key, success, detail, (key, success, detail) => {
      const body = { [contract.envelope]: [contract.succeed(key, success), contract.fail(key, detail), contract.fail(null, toFailure(new Error()))] }
      return Value.Check(contract.schemas.body, body)
    }))
  }
})

t.test('rejects results in other words', async t => {
  const misfits: Array<[AnyContract, unknown]> = [
    [generic, { id: 1, status: 'failed', message: 'No' }],
    [generic, { id: 1, status: 'error' }],
    [generic, { id: null, status: 'success' }],
    [generic, { id: 1.5, status: 'success' }],
    [generic, { status: 'success' }],
    [uploads, { file: 1, status: 'uploaded' }],
    [uploads, { file: 'a', status: 'uploaded', size: -1 }],
    [tasks, { taskId: '', status: 'completed' }],
    [tasks, { taskId: 1, status: 'failed', reason: 'No', statusCode: 200 }],
    [tasks, { taskId: 1, status: 'failed', reason: 'No', retryAfter: -1 }]
  ]
  for (const [{ schemas }, result] of misfits) t.notOk(Value.Check(schemas.result, result), JSON.stringify(result))
})

t.test('defines the schemas of files and tasks in JSON', async t => {
  t.ok(Value.Check(FileEntries, { files: ['a.txt', { file: 'b.txt', content: '' }, { file: 'c.txt', content: 'aGVsbG8=', type: 'text/plain' }] }))
  t.notOk(Value.Check(FileEntries, { files: [] }))
  t.notOk(Value.Check(FileEntry, 3))
  t.notOk(Value.Check(FileEntry, { content: 'aGVsbG8=' }))
  t.notOk(Value.Check(FileEntry, { file: 'b.txt' }))

  const resize = taskOf('resize', Type.Object({ width: Type.Integer() }))
  const free = taskOf('free', Type.Optional(Type.Unknown()))
  t.ok(Value.Check(resize, { taskId: 101, type: 'resize', payload: { width: 10 } }))
  t.ok(Value.Check(free, { taskId: 'a', type: 'free' }))
  for (const taskId of ['', 'x'.repeat(256), 1.5, null]) t.notOk(Value.Check(free, { taskId, type: 'free' }))
  t.notOk(Value.Check(resize, { taskId: 101, type: 'other', payload: { width: 10 } }))
  t.notOk(Value.Check(resize, { taskId: 101, type: 'resize', payload: {} }))
})

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

t.test('infers the types of results from the contract', async t => {
  interface Words extends Vocabulary {
    envelope: 'rows'
    key: 'rowId'
    keyType: ReturnType<typeof Type.Integer>
    success: ['made', 'kept']
    failure: 'lost'
    reason: 'why'
    data: undefined
  }
  const checks: true[] = [
    true satisfies Same<GenericResult['status'], 'success' | 'error'>,
    true satisfies Same<UploadResult['status'], 'uploaded' | 'failed'>,
    true satisfies Same<Extract<UploadResult, { status: 'failed' }>['error'], string>,
    true satisfies Same<Extract<UploadResult, { status: 'failed' }>['file'], string | null>,
    true satisfies Same<Extract<UploadResult, { status: 'uploaded' }>['size'], number | undefined>,
    true satisfies Same<Extract<TaskResult, { status: 'completed' }>['taskId'], string | number>,
    true satisfies Same<Extract<TaskResult, { status: 'failed' }>['reason'], string>,
    true satisfies Same<Result<Words>['status'], 'made' | 'kept' | 'lost'>,
    true satisfies Same<Failure<Words>['rowId'], number | null>,
    true satisfies Same<keyof Body<Words>, 'rows'>,
    true satisfies Same<SuccessData<Words>['rowId'], number | undefined>,
    true satisfies Same<SuccessData<Words>['status'], 'made' | 'kept' | undefined>,
    true satisfies Same<Extract<SuccessData<Words>, { status: unknown }>['status'], 'kept'>,
    true satisfies Same<Static<typeof tasks.schemas.body>['tasks'], TaskResult[]>
  ]
  t.equal(checks.length, 14)
})

/** The OpenAPI document of an app with one bulk route. */
async function publish (t: Parameters<typeof build>[0], item: TSchema, contract: AnyContract = generic) {
  const app = await build(t, { plugin: { docs: {} } })
  app.route(bulkRoute({ url: '/items', contract: contract as typeof generic, item, handler: () => {} }))
  await app.ready()
  const response = await app.inject('/documentation/json')
  t.equal(response.statusCode, 200)
  return { app, document: response.json<OpenApi>() }
}

interface OpenApi {
  components: { schemas: Record<string, unknown> }
  paths: {
    '/items': {
      post: {
        requestBody: { content: { 'application/json': { schema: { items: object } } } }
        responses: { 207: { content: { 'application/json': { schema: object, examples: Record<string, { value: unknown }> } } } }
      }
    }
  }
}

t.test('publishes a 207 body as oneOf of named components with a discriminator', async t => {
  const { document } = await publish(t, Type.Object({ id: Type.Integer() }))
  const { schema } = document.paths['/items'].post.responses[207].content['application/json']
  t.strictSame(schema, {
    type: 'object',
    required: ['results'],
    properties: {
      results: {
        description: 'One result per item, in request order',
        type: 'array',
        items: {
          oneOf: [{ $ref: '#/components/schemas/ItemSuccess' }, { $ref: '#/components/schemas/ItemError' }],
          discriminator: {
            propertyName: 'status',
            mapping: { success: '#/components/schemas/ItemSuccess', error: '#/components/schemas/ItemError' }
          }
        }
      }
    }
  })
  t.strictSame(document.components.schemas.ItemSuccess, json(generic.schemas.successes[0]))
})

t.test('publishes the given examples, or plain values of each type', async t => {
  const all = defineContract({
    name: 'Thing',
    key: 'thingId',
    keyType: Type.Integer({ examples: [7, 8] }),
    success: 'made',
    failure: 'unmade',
    reason: 'why',
    data: Type.Object({
      text: Type.String(),
      count: Type.Integer(),
      share: Type.Number(),
      flag: Type.Boolean(),
      nothing: Type.Null(),
      anything: Type.Unknown(),
      word: Type.Union([Type.Literal('a'), Type.Literal('b')]),
      one: Type.Unsafe<string>({ oneOf: [{ type: 'string', example: 'one' }] }),
      size: Type.Unsafe<string>({ enum: ['S', 'M'] }),
      color: Type.String({ default: 'red' }),
      unshown: Type.String({ examples: [] }),
      maybe: Type.Unsafe<string | null>({ type: ['string', 'null'] }),
      list: Type.Array(Type.String({ examples: ['x'] })),
      pair: Type.Tuple([Type.String(), Type.Integer()]),
      open: Type.Unsafe<unknown[]>({ type: 'array' }),
      inner: Type.Object({ a: Type.Integer(), b: Type.Optional(Type.Integer()), c: Type.Optional(Type.Integer({ examples: [3] })) }),
      free: Type.Unsafe<object>({ type: 'object' }),
      both: Type.Intersect([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.String() })])
    })
  })
  const { document } = await publish(t, Type.Object({}), all)
  const success = {
    thingId: 7,
    status: 'made',
    text: 'string',
    count: 1,
    share: 1,
    flag: true,
    nothing: null,
    anything: {},
    word: 'a',
    one: 'one',
    size: 'S',
    color: 'red',
    unshown: 'string',
    maybe: 'string',
    list: ['x'],
    pair: ['string', 1],
    open: [{}],
    inner: { a: 1, c: 3 },
    free: {},
    both: { a: 1, b: 'string' }
  }
  const { succeeded } = document.paths['/items'].post.responses[207].content['application/json'].examples
  t.strictSame(succeeded!.value, { results: [success] })
})

t.test('adds a discriminator to unions with a tag, and to no others', async t => {
  const kind = (kind: TSchema, rest: Record<string, TSchema> = {}) => Type.Object({ id: Type.Integer(), kind, ...rest })
  const [a, b] = [kind(Type.Literal('a')), kind(Type.Literal('b'), { size: Type.Integer() })]
  const tagged: Record<string, TSchema> = {
    'constants as const': Type.Union([a, b]),
    'constants as enum of one': Type.Union([kind(Type.Unsafe({ enum: ['a'] })), b]),
    'written as oneOf': Type.Unsafe({ oneOf: [a, b] })
  }
  const untagged: Record<string, TSchema> = {
    'no constants': Type.Union([kind(Type.String()), b]),
    'the same constant twice': Type.Union([b, kind(Type.Literal('b'), { size: Type.Integer() })]),
    'a constant that is not required': Type.Union([kind(Type.Optional(Type.Literal('a'))), b]),
    'a constant that is not required in the second branch': Type.Union([b, kind(Type.Optional(Type.Literal('a')))]),
    'constants that are no strings': Type.Union([kind(Type.Literal(1)), b]),
    'enums of several': Type.Union([kind(Type.Unsafe({ enum: ['a', 'c'] })), b]),
    'a branch without properties': Type.Union([Type.Unsafe({ required: ['kind'] }), b]),
    'a branch that is no object': Type.Union([Type.String(), b])
  }
  const invalid = async (item: TSchema) => {
    const { app, document } = await publish(t, item)
    const response = await app.inject({ method: 'POST', url: '/items', payload: [{ id: 1, kind: 'b', size: 'x' }, { id: 2, kind: 'z' }] })
    t.equal(response.statusCode, 207)
    const { items } = document.paths['/items'].post.requestBody.content['application/json'].schema
    const problems = response.json<{ results: Array<{ errors?: unknown[] }> }>().results.map(({ errors = [] }) => errors)
    return { problems, items }
  }

  for (const [name, item] of Object.entries(tagged)) {
    const { problems, items } = await invalid(item)
    t.strictSame(problems, [
      [{ pointer: '#/size', detail: 'must be integer; received string' }],
      [{ pointer: '#/kind', detail: 'must be one of "a", "b"' }]
    ], name)
    t.ok('oneOf' in items, name)
  }
  for (const [name, item] of Object.entries(untagged)) {
    const { problems, items } = await invalid(item)
    t.ok('anyOf' in items && !('oneOf' in items), name)
    t.notMatch(JSON.stringify(problems), 'must be one of \\"a\\", \\"b\\"', name)
  }
})

t.test('treats a data member called __proto__ as an ordinary member', async t => {
  const given = JSON.parse('{"__proto__":{"n":1}}') as object
  const result = generic.succeed(1, given) as Record<string, unknown>
  t.equal(result.n, undefined)
  t.equal(JSON.stringify(result), '{"id":1,"status":"success","__proto__":{"n":1}}')
})
