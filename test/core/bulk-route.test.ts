// bulkRoute: items run one by one, bounded and timed, until the client is gone or the app closes.
import { setTimeout } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import { bulkRoute, ItemError, type ItemContext } from '../../lib/index.js'
import { type LogLine } from '../fixtures/build.js'
import { buildJobs, contract, Job, type JobsOptions, vocabulary } from '../fixtures/jobs.js'
import { post } from '../fixtures/post.js'

const jobs = (...ids: (number | string)[]) => ids.map(id => ({ id, n: Number(id) }))
const done = (id: unknown, n: number) => ({ id, status: 'done', n })
const failed = (id: unknown, why: string, code: string, statusCode: number, retryable: boolean) =>
  ({ id, status: 'failed', why, code, statusCode, retryable })
const internal = (id: unknown) => failed(id, 'Internal error', 'INTERNAL_ERROR', 500, false)
const never = () => new Promise<never>(() => {})

t.test('every item has its own result, whatever became of it', async t => {
  const errors: LogLine[] = []
  const app = await buildJobs(t, async ({ id, n }) => {
    if (id === 2) throw new ItemError('No such job', { code: 'NO_JOB', statusCode: 404 })
    if (id === 3) throw new Error('secret')
    if (id === 4) return never()
    return { n: n * 10 }
  }, { timeout: 20 }, { onLog: line => { if (line.level >= 50) errors.push(line) } })

  const response = await post(app, '/jobs', [...jobs(1, 2, 3, 4), { id: 5 }, ...jobs(6)])

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=6, succeeded=2, failed=4')
  t.strictSame(response.json(), {
    jobs: [
      done(1, 10),
      failed(2, 'No such job', 'NO_JOB', 404, false),
      internal(3),
      failed(4, 'Timeout', 'TIMEOUT', 504, true),
      { ...failed(5, 'Invalid data', 'INVALID_ITEM', 422, false), errors: [{ pointer: '#/n', detail: "must have required property 'n'" }] },
      done(6, 60)
    ]
  })
  t.match(errors, [{ index: 2, key: 3, err: { message: 'secret' } }, { index: 3, key: 4, code: 'TIMEOUT' }])
  t.equal(errors.length, 2)
})

t.test('a handler is told the place, the key and the attempt, and logs with them', async t => {
  const contexts: Pick<ItemContext, 'index' | 'key' | 'attempt'>[] = []
  const lines: LogLine[] = []
  const app = await buildJobs(t, ({ n }, { index, key, attempt, request, signal, log }) => {
    contexts.push({ index, key, attempt })
    log.warn({ url: request.url, aborted: signal.aborted }, 'here')
    if (attempt === 1) throw new Error('again')
    return { n }
  }, { retries: 1, backoff: 0, concurrency: 1 }, { onLog: line => { if (line.msg === 'here') lines.push(line) } })

  const response = await post(app, '/jobs', [{ id: 1 }, { id: 'b', n: 5 }])

  t.strictSame(response.json().jobs[1], done('b', 5))
  t.strictSame(contexts, [{ index: 1, key: 'b', attempt: 1 }, { index: 1, key: 'b', attempt: 2 }])
  t.match(lines, [{ index: 1, key: 'b', url: '/jobs', aborted: false }, { index: 1, key: 'b' }])
})

t.test('no more items run at a time than concurrency allows, 16 unless it says otherwise', async t => {
  for (const [concurrency, expected] of [[undefined, 16], [3, 3]] as const) {
    let running = 0
    let most = 0
    const app = await buildJobs(t, async ({ n }) => {
      most = Math.max(most, ++running)
      await setTimeout(1)
      running--
      return { n }
    }, { concurrency })

    const response = await post(app, '/jobs', jobs(...Array(40).keys()))
    t.strictSame(response.json().jobs, [...Array(40).keys()].map(n => done(n, n)))
    t.equal(most, expected)
  }
})

t.test('after stopAfter failures nothing more is started', async t => {
  const app = await buildJobs(t, () => { throw new ItemError('No') }, { concurrency: 1, stopAfter: 2 })

  t.strictSame((await post(app, '/jobs', jobs(1, 2, 3, 4))).json().jobs.map((one: { code: string }) => one.code), ['ITEM_FAILED', 'ITEM_FAILED', 'NOT_RUN', 'NOT_RUN'])
})

t.test('a handler that throws or returns anything at all costs no other item', async t => {
  const revocable = Proxy.revocable({}, {})
  revocable.revoke()
  const hostile = Object.defineProperty(new Error('x'), 'message', { get () { throw new Error('secret') } })
  const anything: unknown[] = [undefined, null, 'secret', 0, 1n, Symbol('secret'), {}, [], () => {}, new Error('secret'), hostile, revocable.proxy, Promise.resolve(1)]
  const thrown = await buildJobs(t, ({ n }) => {
    if (n < anything.length) throw anything[n]
    return { n }
  })
  const ids = [...anything.keys()]

  const answer = await post(thrown, '/jobs', jobs(...ids, 99))
  t.equal(answer.statusCode, 207)
  t.strictSame(answer.json().jobs, [...ids.map(internal), done(99, 99)])
  t.notMatch(answer.body, 'secret')

  const returned = await buildJobs(t, (async ({ n }) => n < anything.length ? anything[n] : { n }) as JobsOptions['handler'])
  const second = await post(returned, '/jobs', jobs(...ids, 99))
  t.equal(second.statusCode, 207)
  // What a promise cannot be resolved with has been thrown, and an error is one also when it is returned.
  const isError = (one: unknown) => one === revocable.proxy || one instanceof Error
  t.strictSame(second.json().jobs, [
    ...ids.map(id => isError(anything[id]) ? internal(id) : failed(id, 'Invalid result', 'INVALID_RESULT', 500, false)),
    done(99, 99)
  ])
})

t.test('what a handler returns belongs to its own item, also when it has the key of another in it', async t => {
  const app = await buildJobs(t, ({ id, n }) => ({ id: 3 - Number(id), n }))
  t.strictSame((await post(app, '/jobs', jobs(1, 2))).json().jobs, [done(1, 1), done(2, 2)])
})

t.test('the items can be in a member of the body', async t => {
  const app = await buildJobs(t, ({ n }) => ({ n }), { itemsIn: 'work', maxItems: 2 })

  t.strictSame((await post(app, '/jobs', { work: jobs(1, 2) })).json(), { jobs: [done(1, 1), done(2, 2)] })
  t.equal((await post(app, '/jobs', { work: jobs(1, 2, 3) })).statusCode, 413)
  t.equal((await post(app, '/jobs', jobs(1))).statusCode, 400)
  t.equal((await post(app, '/jobs', { work: [] })).statusCode, 400)
})

t.test('preferences are honoured: strict refuses before anything runs, minimal leaves key and status', async t => {
  const ran: unknown[] = []
  const app = await buildJobs(t, ({ id, n }) => { ran.push(id); return { n } })

  const refused = await post(app, '/jobs', [...jobs(1), { id: 2 }], { prefer: 'handling=strict, return=minimal' })
  t.equal(refused.statusCode, 422)
  t.strictSame(refused.json().errors, [{ pointer: '#/1/n', detail: "must have required property 'n'" }])
  t.strictSame(ran, [])

  const minimal = await post(app, '/jobs', jobs(1, 2), { prefer: 'handling=strict, return=minimal' })
  t.equal(minimal.statusCode, 207)
  t.equal(minimal.headers['preference-applied'], 'handling=strict, return=minimal')
  t.equal(minimal.headers.vary, 'Prefer')
  t.strictSame(minimal.json(), { jobs: [{ id: 1, status: 'done' }, { id: 2, status: 'done' }] })
})

t.test('a route may have its own status policy', async t => {
  const collapsing = await buildJobs(t, ({ n }) => ({ n }), { status: 'collapse' })
  t.equal((await post(collapsing, '/jobs', jobs(1))).statusCode, 200)
  t.equal((await post(collapsing, '/jobs', [{ id: 1 }])).statusCode, 207)

  const plain = await buildJobs(t, ({ n }) => ({ n }), { status: 'multi-status' }, { plugin: { status: 'collapse' } })
  t.equal((await post(plain, '/jobs', jobs(1))).statusCode, 207)
})

t.test("Fastify's own route options stay, and may add to the schema", async t => {
  const app = await buildJobs(t, ({ n }, { request }) => ({ n: n + Number((request.params as { by: number }).by) }), {
    url: '/jobs/:by',
    method: 'PUT',
    schema: { params: Type.Object({ by: Type.Integer() }) },
    preHandler: async (request, reply) => { if (request.headers.authorization === undefined) return reply.code(401).send({ who: 'are you' }) }
  })

  const stranger = await app.inject({ method: 'PUT', url: '/jobs/5', payload: jobs(1) })
  t.equal(stranger.statusCode, 401)
  t.strictSame(stranger.json(), { who: 'are you' })
  const response = await app.inject({ method: 'PUT', url: '/jobs/5', payload: jobs(1), headers: { authorization: 'me' } })
  t.strictSame(response.json(), { jobs: [done(1, 6)] })
  t.equal((await app.inject({ method: 'PUT', url: '/jobs/x', payload: jobs(1), headers: { authorization: 'me' } })).statusCode, 400)
})

t.test('wrong options are refused when the route is made', async t => {
  const make = (options: Partial<JobsOptions>) => () => bulkRoute({ url: '/', contract, item: Job, handler: ({ n }) => ({ n }), ...options })
  for (const [option, value] of [['maxItems', 0], ['concurrency', 1.5], ['timeout', -1], ['retries', -1], ['backoff', NaN], ['stopAfter', 0]] as const) {
    t.throws(make({ [option]: value }), { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: new RegExp(`${option} must be an integer`) })
  }
})

t.test('a route whose parts are not what they should be is refused when it is made', async t => {
  const aContract = 'a contract, as defineContract makes'
  const aFunction = 'a function that does the work of one item'
  const aStream = 'true, false or an object of options'
  const wrong: [option: string, value: unknown, expected: string, received: string][] = [
    ['contract', undefined, aContract, 'undefined'],
    ['contract', null, aContract, 'null'],
    ['contract', vocabulary.name, aContract, '"Job"'],
    ['contract', { name: 'Job' }, aContract, "{ name: 'Job' }"],
    ['contract', { schemas: null }, aContract, '{ schemas: null }'],
    ['contract', { schemas: {} }, aContract, '{ schemas: {} }'],
    ['item', undefined, 'the schema of one item', 'undefined'],
    ['item', 'Job', 'the schema of one item', '"Job"'],
    ['handler', undefined, aFunction, 'undefined'],
    ['handler', {}, aFunction, '{}'],
    ['itemsIn', 1, 'the name of a member of the body', '1'],
    ['stream', 'yes', aStream, '"yes"'],
    ['stream', null, aStream, 'null'],
    ['schema.body', {}, 'left out, as item describes the items', '{}']
  ]
  for (const [name, value, expected, received] of wrong) {
    const options = name === 'schema.body' ? { schema: { body: value } } : { [name]: value }
    t.throws(() => bulkRoute({ url: '/', contract, item: Job, handler: ({ n }: { n: number }) => ({ n }), ...options } as JobsOptions), {
      code: 'FST_MULTI_STATUS_INVALID_OPTION', message: `fastify-multi-status: ${name} must be ${expected}; received ${received}`
    })
  }
})

t.test('an app without the plugin says that it is missing', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.route(bulkRoute({ url: '/jobs', contract, item: Job, handler: ({ n }) => ({ n }) }))

  const response = await post(app, '/jobs', jobs(1))

  t.equal(response.statusCode, 500)
  t.match(response.json(), { code: 'FST_MULTI_STATUS_NOT_REGISTERED', message: 'The bulk route /jobs needs fastify-multi-status; register the plugin before the route' })
})
