// reply.multiStatus: what it takes, what it answers, and how it gets on with the hooks of the app.
import { setTimeout } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { defineContract, generic, ItemError, type MultiStatusOptions, type Results } from '../../../lib/index.js'
import { build, type BuildOptions, type LogLine } from '../../fixtures/build.js'

const contacts = defineContract({
  name: 'Contact', key: 'email', success: 'created', failure: 'rejected', reason: 'message', data: Type.Object({ contactId: Type.Integer() })
})

const Contacts = Type.Array(Type.Object({ email: Type.String() }))

interface RouteSetup extends BuildOptions {
  results: Results | (() => Results)
  options?: MultiStatusOptions
  route?: Partial<RouteOptions>
  payload?: object
  prefer?: string
}

/** Asks a route that answers these results, and keeps the errors that were logged. */
async function ask (t: Test, { results, options, route, payload, prefer, ...setup }: RouteSetup) {
  const errors: LogLine[] = []
  const app = await build(t, { onLog: line => { if (line.level >= 50) errors.push(line) }, ...setup })
  app.route({
    method: 'POST',
    url: '/',
    handler: async (_request, reply) => reply.multiStatus(typeof results === 'function' ? results() : results, options),
    ...route
  })
  const response = await app.inject({ method: 'POST', url: '/', payload, headers: prefer === undefined ? {} : { prefer } })
  return { response, errors }
}

const withContract = { config: { multiStatus: contacts } }
const withItems = { ...withContract, schema: { body: Contacts } }

const created = (email: string, contactId: number) => ({ email, status: 'created', contactId })
const INTERNAL = { message: 'Internal error', code: 'INTERNAL_ERROR', statusCode: 500, retryable: false }
const INVALID = { message: 'Invalid result', code: 'INVALID_RESULT', statusCode: 500, retryable: false }
const refused = (email: string | null, why: object) => ({ email, status: 'rejected', ...why })
const fulfilled = (value: unknown) => ({ status: 'fulfilled', value })
const rejected = (reason: unknown) => ({ status: 'rejected', reason })
const abc = [{ email: 'a' }, { email: 'b' }, { email: 'c' }]

t.test('a bulk route that finds nothing leaves the answer, and its words, to the handler of what is not found', async t => {
  const lines: LogLine[] = []
  const { response } = await ask(t, {
    results: [],
    route: { ...withContract, handler: async (_request, reply) => reply.callNotFound() },
    before: app => app.setNotFoundHandler((_request, reply) => reply.multiStatus([{ id: 1, status: 'success' }, { id: 2, status: 'failed' }])),
    onLog: line => lines.push(line)
  })

  t.strictSame(response.json(), { results: [{ id: 1, status: 'success' }, { id: 2, status: 'failed' }] })
  t.match(lines.find(({ msg }) => msg === 'batch ended'), { route: '', total: 2, failed: 1 })
})

t.test('what is not there at all in the results is a result that does not fit', async t => {
  const results = new Array<object>(2)
  results[1] = created('b@b.org', 2)
  const { response } = await ask(t, { results, route: withContract, options: { keys: ['a@b.org', 'b@b.org'] } })

  t.match(response.json(), { results: [{ email: 'a@b.org', status: 'rejected', code: 'INVALID_RESULT' }, created('b@b.org', 2)] })
})

t.test('a hook of the app that comes before the plugin can answer too', async t => {
  const refused = [{ email: 'a@b.org', status: 'rejected', message: 'Not now' }]
  const { response } = await ask(t, {
    results: [], route: withContract, before: app => app.addHook('onRequest', async (_request, reply) => reply.multiStatus(refused))
  })

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=1, succeeded=0, failed=1')
  t.strictSame(response.json(), { results: refused })
})

t.test('results are answered as they are, in the envelope of the contract', async t => {
  const { response, errors } = await ask(t, {
    route: withContract, results: [created('a', 1), { email: 'b', status: 'rejected', message: 'Taken' }, created('c', 3)]
  })

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=3, succeeded=2, failed=1')
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(response.headers.vary, 'Prefer')
  t.equal(response.body, '{"results":[{"email":"a","status":"created","contactId":1},' +
    '{"email":"b","status":"rejected","message":"Taken"},{"email":"c","status":"created","contactId":3}]}')
  t.strictSame(errors, [])
})

t.test('the output of Promise.allSettled is worded, with the keys of the items', async t => {
  const save = async ({ email }: { email: string }) => {
    if (email === 'a') throw new ItemError('Taken', { code: 'TAKEN', statusCode: 409, retryAfter: 2, errors: [{ pointer: '#/email', detail: 'taken' }] })
    if (email === 'b') throw new Error('secret')
    return { contactId: 3 }
  }
  const { response, errors } = await ask(t, {
    route: {
      ...withItems,
      handler: async (request, reply) => reply.multiStatus(await Promise.allSettled((request.body as typeof abc).map(save)))
    },
    results: [],
    payload: abc
  })

  t.equal(response.headers['multi-status'], 'total=3, succeeded=1, failed=2')
  t.strictSame(response.json(), {
    results: [
      refused('a', { message: 'Taken', code: 'TAKEN', statusCode: 409, retryable: false, retryAfter: 2, errors: [{ pointer: '#/email', detail: 'taken' }] }),
      refused('b', INTERNAL),
      created('c', 3)
    ]
  })
  t.equal(errors.length, 1)
  const { msg, err, index, key, code } = errors[0]!
  t.match({ msg, err, index, key, code }, { msg: 'item failed', err: { message: 'secret' }, index: 1, key: 'b', code: 'INTERNAL_ERROR' })
})

t.test('an outcome may hold a whole result, a failure, what a success carries, or what a success does without', async t => {
  const words = defineContract({ name: 'Row', key: 'id', success: ['made', 'kept'], failure: 'lost', reason: 'why' })
  const values = [{ id: 1, status: 'kept' }, { status: 'lost', why: 'gone' }, {}, undefined, null, 'text', 7, [1], { id: 'mine' }, { status: 'unheard of' }, { status: undefined }, { toJSON: () => 1 }, { toJSON: () => ({ id: 'its own', more: 1 }) }]
  const keys = values.map((_, index) => index + 1)
  const { response } = await ask(t, { results: values.map(fulfilled), options: { contract: words, keys } })

  t.strictSame(response.json().results, [
    { id: 1, status: 'kept' },
    { id: 2, status: 'lost', why: 'gone' },
    ...[3, 4, 5, 6, 7, 8, 9].map(id => ({ id, status: 'made' })),
    { id: 10, status: 'lost', why: 'Invalid result', code: 'INVALID_RESULT', statusCode: 500, retryable: false },
    { id: 11, status: 'made' },
    { id: 12, status: 'made' },
    { id: 13, status: 'made' }
  ])
})

t.test('an outcome may hold a document with toJSON, or an object of a class with getters', async t => {
  class Row {
    readonly #id = 7
    readonly own = true
    get contactId () { return this.#id }
  }
  const document = { toJSON: () => ({ email: 'ignored', contactId: 8 }) }
  const { response } = await ask(t, { route: withContract, results: [new Row(), document].map(fulfilled), options: { keys: ['a', 'b'] } })

  t.strictSame(response.json().results, [created('a', 7), created('b', 8)])
})

t.test('a result whose reason is called reason is no outcome', async t => {
  const words = defineContract({ name: 'Row', key: 'id', success: 'fulfilled', failure: 'rejected', reason: 'reason', data: Type.Object({ value: Type.Integer() }) })
  const { response } = await ask(t, {
    options: { contract: words }, results: [{ id: 1, status: 'rejected', reason: 'x' }, { id: 2, status: 'fulfilled', value: 5 }]
  })

  t.equal(response.body, '{"results":[{"id":1,"status":"rejected","reason":"x"},{"id":2,"status":"fulfilled","value":5}]}')
})

t.test('without a contract, outcomes are worded in the generic words', async t => {
  const { response } = await ask(t, {
    results: [fulfilled({ id: 1, n: 1 }), rejected(new ItemError('No')), fulfilled(undefined), { plain: true }]
  })

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=4, succeeded=3, failed=1')
  t.equal(response.body, '{"results":[{"id":1,"status":"success","n":1},' +
    '{"id":null,"status":"error","message":"No","code":"ITEM_FAILED","statusCode":422,"retryable":false},' +
    '{"id":null,"status":"success"},{"plain":true}]}')
})

t.test('no results are no failures', async t => {
  const { response } = await ask(t, { results: [] })

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=0, succeeded=0, failed=0')
  t.equal(response.body, '{"results":[]}')
})

t.test('an async iterable is read to its end, also from a handler that is not async', async t => {
  async function * results () {
    yield created('a', 1)
    await setTimeout(1)
    yield rejected(new ItemError('No'))
    yield fulfilled({ contactId: 3 })
  }
  const { response } = await ask(t, {
    results: [], route: { ...withItems, handler: (_request, reply) => { reply.multiStatus(results()) } }, payload: abc
  })

  t.equal(response.headers['multi-status'], 'total=3, succeeded=2, failed=1')
  t.strictSame(response.json().results, [
    created('a', 1), refused('b', { message: 'No', code: 'ITEM_FAILED', statusCode: 422, retryable: false }), created('c', 3)
  ])
})

t.test('an async iterable that breaks costs no result that it gave before', async t => {
  async function * broken (...first: unknown[]) {
    yield * first
    throw new Error('secret')
  }
  const bare = await ask(t, { results: () => broken({ a: 1 }, { b: 2 }) })
  t.equal(bare.response.statusCode, 207)
  t.equal(bare.response.body, '{"results":[{"a":1},{"b":2},{"id":null,"status":"error",' +
    '"message":"Internal error","code":"INTERNAL_ERROR","statusCode":500,"retryable":false}]}')
  t.match(bare.errors, [{ msg: 'item failed', index: 2, key: null, err: { message: 'secret' } }])

  const inOrder = await ask(t, { route: withItems, payload: [...abc, { email: 'd' }], results: () => broken(fulfilled({ contactId: 1 }), created('b', 2)) })
  t.strictSame(inOrder.response.json().results, [created('a', 1), created('b', 2), refused('c', INTERNAL), refused('d', INVALID)])
  t.match(inOrder.errors, [{ index: 2, key: 'c', err: { message: 'secret' } }, { index: 3, key: 'd', code: 'INVALID_RESULT' }])

  const otherwise = await ask(t, { route: withItems, payload: abc, results: () => broken(created('c', 3)) })
  t.strictSame(otherwise.response.json().results, [refused('a', INVALID), refused('b', INVALID), created('c', 3)])

  const atTheEnd = await ask(t, { route: withItems, payload: abc, results: () => broken(...abc.map((_, index) => fulfilled({ contactId: index }))) })
  t.equal(atTheEnd.response.headers['multi-status'], 'total=3, succeeded=3, failed=0')
  t.strictSame(atTheEnd.response.json().results, [created('a', 0), created('b', 1), created('c', 2)])

  const besideAnInvalidOne = await ask(t, {
    route: { ...withItems, schema: { body: Type.Array(Type.Object({ email: Type.String({ maxLength: 1 }) })) } },
    payload: [{ email: 'invalid' }, { email: 'b' }],
    results: () => broken(created('b', 2))
  })
  t.match(besideAnInvalidOne.response.json().results, [{ email: 'invalid', code: 'INVALID_ITEM' }, created('b', 2)])
})

t.test('an iterable is as good as an array', async t => {
  const { response } = await ask(t, { results: new Set([{ a: 1 }]) as never })

  t.equal(response.body, '{"results":[{"a":1}]}')
})

t.test('what are no results at all is an error that says what was expected, unless there are items to answer for', async t => {
  for (const nothing of [undefined, null, 'text', 7, {}]) {
    const { response } = await ask(t, { results: nothing as never })
    t.equal(response.statusCode, 500)
    t.match(response.json(), { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: /^fastify-multi-status: results must be an array or an async iterable; received / })
    t.equal(response.headers['multi-status'], undefined)
  }
  const { response } = await ask(t, { route: withItems, payload: abc, results: undefined as never })
  t.equal(response.statusCode, 207)
  t.strictSame(response.json().results, [refused('a', INTERNAL), refused('b', INVALID), refused('c', INVALID)])
})

t.test('words that are no contract end in an error, not in silence', async t => {
  async function * results () { yield rejected(1) }
  for (const route of [withContract, withItems]) {
    const { response } = await ask(t, { route, payload: abc, results, options: { contract: {} as never } })
    t.equal(response.statusCode, 500)
  }
})

t.test('results in another order, too few or too many, are matched to their items by key', async t => {
  const reordered = await ask(t, { route: withItems, payload: abc, results: [created('c', 3), created('b', 2), created('a', 1)] })
  t.strictSame(reordered.response.json().results, [created('a', 1), created('b', 2), created('c', 3)])
  t.match(reordered.errors, [{ expected: 3, received: 3, msg: 'results do not follow the items of the request, so they are matched by key' }])

  const tooFew = await ask(t, { route: withItems, payload: abc, results: [created('c', 3), fulfilled({ email: 'a', contactId: 1 })] })
  t.strictSame(tooFew.response.json().results, [created('a', 1), refused('b', INVALID), created('c', 3)])
  t.match(JSON.stringify(tooFew.errors[1]), 'the handler gave none for this item')
  t.match(tooFew.errors, [{ expected: 3, received: 2 }, { index: 1, key: 'b', code: 'INVALID_RESULT' }])

  const tooMany = await ask(t, { route: withItems, payload: abc, results: [created('a', 1), created('z', 9), created('b', 2), created('b', 8), null, created('c', 3)] })
  t.equal(tooMany.response.headers['multi-status'], 'total=3, succeeded=3, failed=0')
  t.strictSame(tooMany.response.json().results, [created('a', 1), created('b', 2), created('c', 3)])

  const foreign = await ask(t, { route: withItems, payload: abc, results: [created('a', 1), created('z', 9), created('c', 3)] })
  t.strictSame(foreign.response.json().results, [created('a', 1), refused('b', INVALID), created('c', 3)])
})

t.test('outcomes in another order are never taken for those of another item', async t => {
  const { response } = await ask(t, {
    route: withItems,
    payload: abc,
    results: [fulfilled({ email: 'c', contactId: 3 }), rejected(new Error('secret')), fulfilled({ email: 'a', contactId: 1 })]
  })

  t.strictSame(response.json().results, [created('a', 1), refused('b', INVALID), created('c', 3)])
})

t.test('outcomes whose values have keys of their own, as of a database, follow the items', async t => {
  const own = async (...results: unknown[]) => (await ask(t, { route: withItems, payload: abc, results })).response.json().results
  const from = (email: string, contactId: number) => fulfilled({ email, contactId })

  t.strictSame(await own(from('b', 1), from('c', 2), from('d', 3)), [created('a', 1), created('b', 2), created('c', 3)])
  t.strictSame(await own(from('b', 1), from('b', 2), rejected(new Error('secret'))), [created('a', 1), created('b', 2), refused('c', INTERNAL)])
})

t.test('an error that is returned instead of thrown is a failure', async t => {
  const { response, errors } = await ask(t, {
    route: withItems, payload: abc, results: [fulfilled(new Error('secret')), fulfilled(new ItemError('Email taken')), fulfilled({ contactId: 3 })]
  })

  t.match(response.json().results, [refused('a', INTERNAL), { email: 'b', status: 'rejected', message: 'Email taken', code: 'ITEM_FAILED' }, created('c', 3)])
  t.match(errors, [{ index: 0, key: 'a', err: { message: 'secret' } }])
})

t.test("a key of the handler's own in an outcome gives way to the client's", async t => {
  const { response, errors } = await ask(t, {
    route: withItems, payload: [{ email: 'A@b.org' }], results: [fulfilled({ email: 'a@b.org', contactId: 1 })]
  })

  t.strictSame(response.json().results, [created('A@b.org', 1)])
  t.strictSame(errors, [])
})

t.test('results for items without keys are taken in their order', async t => {
  const body = Type.Array(Type.Object({ n: Type.Integer() }))
  const route = { config: withContract.config, schema: { body } }
  const inOrder = await ask(t, { route, payload: [{ n: 1 }, { n: 'x' }, { n: 3 }], results: [created('one', 1), created('three', 3)] })
  t.match(inOrder.response.json().results, [created('one', 1), { email: null, code: 'INVALID_ITEM' }, created('three', 3)])

  const tooFew = await ask(t, { route, payload: [{ n: 1 }, { n: 3 }], results: [created('one', 1)] })
  t.strictSame(tooFew.response.json().results, [refused(null, INVALID), refused(null, INVALID)])
})

t.test('the failures of invalid items and the results of valid ones are logged and answered at their own places', async t => {
  const { response, errors } = await ask(t, {
    route: withItems, payload: [{}, { email: 'b' }, { email: 3 }, { email: 'd' }], results: [rejected(new Error('secret')), { email: 'd', status: '?' }]
  })

  t.strictSame(response.json().results.map(({ email, code }: Record<string, unknown>) => [email, code]), [
    [null, 'INVALID_ITEM'], ['b', 'INTERNAL_ERROR'], [3, 'INVALID_ITEM'], ['d', 'INVALID_RESULT']
  ])
  t.match(errors, [{ index: 1, key: 'b', code: 'INTERNAL_ERROR' }, { index: 3, key: 'd', code: 'INVALID_RESULT' }])
  t.equal(errors.length, 2)
})

const hostile = Object.defineProperty(new Error('x'), 'extra', { enumerable: true, get () { throw new Error('secret') } })
const revocable = Proxy.revocable({}, {})
revocable.revoke()
const whatever: [unknown, object][] = [
  [undefined, { message: 'undefined' }],
  [null, { message: 'null' }],
  ['secret', { message: "'secret'" }],
  [Symbol('secret'), { message: 'Symbol(secret)' }],
  [7n, { message: '7n' }],
  [{ statusCode: 400, expose: true, message: 'secret' }, { message: "{ statusCode: 400, expose: true, message: 'secret' }" }],
  [new Error('secret'), { type: 'Error', message: 'secret' }],
  [hostile, { message: 'it cannot be shown' }],
  [revocable.proxy, { message: 'it cannot be shown' }]
]

t.test('whatever is thrown is a failure that says nothing of it to the client, and is logged', async t => {
  const keys = whatever.map((_, index) => index)
  const { response, errors } = await ask(t, {
    route: withContract, results: [...whatever.map(([reason]) => rejected(reason))], options: { keys: keys.map(String) }
  })

  t.equal(response.statusCode, 207)
  t.strictSame(response.json().results, keys.map(key => refused(String(key), INTERNAL)))
  t.notMatch(response.body, 'secret')
  t.match(errors, whatever.map(([, err], index) => ({ msg: 'item failed', index, key: String(index), code: 'INTERNAL_ERROR', err })))
})

t.test('an ItemError with a 5xx status is logged with its cause, one with a 4xx status is not logged', async t => {
  const { response, errors } = await ask(t, {
    route: withContract,
    options: { keys: ['a', 'b', 'c'] },
    results: [
      rejected(new ItemError('Down', { statusCode: 503, cause: 'a reason' })),
      rejected(new ItemError('Down', { statusCode: 503, cause: new Error('root') })),
      rejected(new ItemError('No', { statusCode: 404, cause: 'another' }))
    ]
  })

  t.strictSame(response.json().results.map((one: Record<string, unknown>) => [one.message, one.statusCode, one.retryable]), [
    ['Down', 503, true], ['Down', 503, true], ['No', 404, false]
  ])
  t.match(errors, [{ key: 'a', cause: "'a reason'" }, { key: 'b', err: { message: 'Down: root' } }])
  t.equal(errors.length, 2)
  t.equal(errors[1]!.cause, undefined)
})

t.test('an outcome whose value cannot be read is one failure', async t => {
  const value = Object.defineProperty({}, 'contactId', { enumerable: true, get () { throw new Error('secret') } })
  const { response } = await ask(t, {
    route: withItems, payload: abc, results: [fulfilled({ contactId: 1 }), fulfilled(value), fulfilled({ contactId: 3 })]
  })

  t.strictSame(response.json().results, [created('a', 1), refused('b', INVALID), created('c', 3)])
})

t.test('a result whose key cannot be read keeps its place', async t => {
  const result = Object.defineProperty({}, 'email', { enumerable: true, get () { throw new Error('secret') } })
  for (const bad of [result, fulfilled(result), revocable.proxy]) {
    const { response } = await ask(t, { route: withItems, payload: abc, results: [created('a', 1), bad, fulfilled({ contactId: 3 })] })
    t.strictSame(response.json().results, [created('a', 1), refused('b', INVALID), created('c', 3)])
  }
})

t.test('the status is 200 without a failure where the plugin or the call says collapse, else 207', async t => {
  const good = [{ id: 1, status: 'success' }]
  const bad = [...good, { id: 2, status: 'error', message: 'x' }]
  const statusOf = async (status: 'collapse' | 'multi-status' | undefined, results: unknown[], options?: MultiStatusOptions) => {
    const { response } = await ask(t, { plugin: status === undefined ? {} : { status }, results, options })
    t.equal(response.headers['multi-status'], `total=${results.length}, succeeded=${Math.min(results.length, 1)}, failed=${Math.max(results.length - 1, 0)}`)
    return response.statusCode
  }

  t.equal(await statusOf(undefined, good), 207)
  t.equal(await statusOf('collapse', good), 200)
  t.equal(await statusOf('collapse', bad), 207)
  t.equal(await statusOf('collapse', good, { status: 'multi-status' }), 207)
  t.equal(await statusOf(undefined, good, { status: 'collapse' }), 200)
  t.equal(await statusOf(undefined, bad, { status: 'collapse' }), 207)
  t.equal(await statusOf('collapse', [], { status: undefined }), 200)
})

t.test('a result that does not fit counts as a failure, for the status too', async t => {
  const { response } = await ask(t, { route: withContract, results: [created('a', 1), { email: 'b', status: 'created' }], options: { status: 'collapse' } })

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=2, succeeded=1, failed=1')
})

t.test('return=minimal is honoured where there is a contract, and Vary keeps what it said', async t => {
  const handler = (contract: boolean) => async (_request: unknown, reply: FastifyReply) => reply
    .header('vary', 'Origin').header('preference-applied', 'other')
    .multiStatus([created('a', 1)], contract ? { contract: contacts } : {})
  const minimal = await ask(t, { results: [], route: { handler: handler(true) }, prefer: 'return=minimal' })
  t.equal(minimal.response.body, '{"results":[{"email":"a","status":"created"}]}')
  t.equal(minimal.response.headers.vary, 'Origin, Prefer')
  t.equal(minimal.response.headers['preference-applied'], 'other, return=minimal')

  const bare = await ask(t, { results: [], route: { handler: handler(false) }, prefer: 'return=minimal' })
  t.equal(bare.response.body, '{"results":[{"email":"a","status":"created","contactId":1}]}')
  t.equal(bare.response.headers.vary, 'Origin')
  t.equal(bare.response.headers['preference-applied'], 'other')
})

t.test('the app may have set its own content type', async t => {
  const { response } = await ask(t, {
    results: [], route: { handler: async (_request, reply) => reply.type('application/vnd.batch+json').multiStatus([{ a: 1 }]) }
  })

  t.equal(response.headers['content-type'], 'application/vnd.batch+json')
  t.equal(response.body, '{"results":[{"a":1}]}')
})

t.test("the app's preSerialization hooks see the results, and what they make of them is checked and counted", async t => {
  const { response } = await ask(t, {
    route: {
      ...withContract,
      preSerialization: async (_request, _reply, payload) => {
        const { results } = payload as { results: object[] }
        return { results: [...results, { email: 'b', status: 'rejected', message: 'x' }, { email: 'c', status: 'odd' }] }
      }
    },
    results: [created('a', 1)]
  })

  t.equal(response.headers['multi-status'], 'total=3, succeeded=1, failed=2')
  t.strictSame(response.json(), { results: [created('a', 1), { email: 'b', status: 'rejected', message: 'x' }, refused('c', INVALID)] })
})

t.test('what a preSerialization hook puts beside or around the results is answered too', async t => {
  const results = [created('a', 1), { email: 'b', status: 'created', contactId: 1.5 }]
  const answered = [created('a', 1), refused('b', INVALID)]
  const hooked = (hook: (payload: object) => unknown) => ask(t, {
    route: { ...withContract, preSerialization: async (_request, _reply, payload) => hook(payload as object) }, results
  })

  const beside = await hooked(payload => ({ took: 5, ...payload }))
  t.strictSame(beside.response.json(), { took: 5, results: answered })
  const around = await hooked(data => ({ ok: true, data }))
  t.strictSame(around.response.json(), { ok: true, data: { results: answered } })
  for (const { response } of [beside, around]) {
    t.equal(response.statusCode, 207)
    t.equal(response.headers['multi-status'], 'total=2, succeeded=1, failed=1')
  }
  const instead = await hooked(() => ({ mine: true }))
  t.equal(instead.response.body, '{"mine":true}')
  t.equal(instead.response.headers['multi-status'], undefined)
  const nothing = await hooked(() => null)
  t.equal(nothing.response.body, 'null')
  t.equal(nothing.response.statusCode, 207)
})

t.test("the app's onSend hooks see and may change what is sent", async t => {
  const seen: unknown[] = []
  const { response } = await ask(t, {
    route: { onSend: async (_request, reply, payload) => { seen.push(payload, reply.getHeader('multi-status')); return `${payload as string} ` } },
    results: [{ a: 1 }]
  })

  t.strictSame(seen, ['{"results":[{"a":1}]}', 'total=1, succeeded=1, failed=0'])
  t.equal(response.body, '{"results":[{"a":1}]} ')
})

t.test('a hook of the app that fails is answered as everywhere in Fastify', async t => {
  const { response } = await ask(t, {
    route: { preSerialization: async () => { throw Object.assign(new Error('hook'), { statusCode: 502 }) } }, results: [{ a: 1 }]
  })

  t.equal(response.statusCode, 502)
  t.strictSame(response.json(), { statusCode: 502, error: 'Bad Gateway', message: 'hook' })
  t.equal(response.headers['multi-status'], undefined)
})

t.test("a response schema of the route's own does not reach into the results", async t => {
  const { response } = await ask(t, {
    route: { schema: { response: { 207: Type.Object({ other: Type.String() }), '2xx': Type.Object({ other: Type.String() }) } } }, results: [{ a: 1 }]
  })

  t.equal(response.statusCode, 207)
  t.equal(response.body, '{"results":[{"a":1}]}')
})

t.test('a large answer is sent in turns of the event loop, also to a client that takes all of it at once', async t => {
  const results = Array.from({ length: 30_000 }, (_, index) => created(`${index}@${'example'.repeat(20)}.org`, index))
  let turns = 0
  let timer: NodeJS.Immediate | undefined
  const count = () => {
    turns++
    timer = setImmediate(count)
  }
  const onSend: RouteOptions['onSend'] = async (_request, _reply, payload) => {
    count()
    return payload
  }

  const { response } = await ask(t, { results, route: { ...withContract, onSend } })
  clearImmediate(timer)
  t.equal(response.json().results.length, results.length)
  // One for each quarter of a megabyte.
  t.ok(turns >= response.body.length / 2 ** 18 - 4, `${turns} turns for ${response.body.length} bytes`)
})

t.test('very many results are worded in turns, each in its place', async t => {
  const app = await build(t)
  const count = 25_000
  const ids = Array.from({ length: count }, (_, id) => ({ id }))
  app.post('/', { schema: { body: Type.Array(Type.Object({ id: Type.Integer() }), { maxItems: count }) }, config: { multiStatus: generic } }, async (request, reply) =>
    reply.multiStatus(await Promise.allSettled((request.body as { id: number }[]).map(async ({ id }) => {
      if (id % 1000 === 7) throw new ItemError(`No ${id}`)
    }))))
  const response = await app.inject({ method: 'POST', url: '/', payload: [...ids.slice(0, 500), { id: 'x' }, ...ids.slice(501)] })

  t.equal(response.headers['multi-status'], 'total=25000, succeeded=24974, failed=26')
  const results = response.json().results as { id: unknown, status: string, message?: string }[]
  t.ok(results.every(({ id }, place) => id === (place === 500 ? 'x' : place)))
  t.strictSame(results.filter(({ status }) => status === 'error').map(({ message }) => message),
    ['No 7', 'Invalid data', ...Array.from({ length: 24 }, (_, thousand) => `No ${thousand + 1}007`)])
})
