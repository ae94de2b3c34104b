// POST /tasks: tasks of registered types in, the truth about each of them out.
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { defineTask, ItemError, type TaskContext, type TasksOptions } from '../../lib/index.js'
import { build, type LogLine } from '../fixtures/build.js'

const hang = { handler: () => new Promise(() => {}) }
const echo = { handler: (payload: unknown) => payload }

function buildTasks (t: Test, tasks: TasksOptions, onLog?: (line: LogLine) => void): Promise<FastifyInstance> {
  return build(t, { plugin: { tasks, closeGrace: 0 }, ...(onLog && { onLog }) })
}

async function post (app: FastifyInstance, tasks: unknown, url = '/tasks') {
  const { statusCode, headers, body } = await app.inject({ method: 'POST', url, payload: { tasks } as object })
  return { statusCode, counts: headers['multi-status'], body: JSON.parse(body) }
}

async function until (isSo: () => boolean): Promise<void> {
  for (let left = 1000; left > 0 && !isSo(); left--) await setTimeout(5)
  if (!isSo()) throw new Error('It did not come to that within 5 seconds')
}

t.test('one task hangs, one fails, one is invalid, and the fourth is completed nevertheless', async t => {
  const app = await buildTasks(t, {
    timeout: 50,
    handlers: {
      echo,
      hang,
      resize: defineTask({
        payload: Type.Object({ width: Type.Integer() }),
        handler: ({ width }) => { throw new ItemError(`No image is ${width} wide`) }
      })
    }
  })

  const response = await app.inject({
    method: 'POST',
    url: '/tasks',
    payload: {
      tasks: [
        { taskId: 101, type: 'hang' },
        { taskId: '102', type: 'resize', payload: { width: 640 } },
        { taskId: 103, type: 'resize', payload: { width: 'wide' } },
        { taskId: 104, type: 'echo', payload: [1, null, { a: 'b' }] }
      ]
    }
  })

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=4, succeeded=1, failed=3')
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(response.body, '{"tasks":[' +
    '{"taskId":101,"status":"failed","reason":"Timeout","code":"TIMEOUT","statusCode":504,"retryable":true},' +
    '{"taskId":"102","status":"failed","reason":"No image is 640 wide","code":"ITEM_FAILED","statusCode":422,"retryable":false},' +
    '{"taskId":103,"status":"failed","reason":"Invalid data","code":"INVALID_ITEM","statusCode":422,"retryable":false,' +
    '"errors":[{"pointer":"#/payload/width","detail":"must be integer; received string"}]},' +
    '{"taskId":104,"status":"completed","output":[1,null,{"a":"b"}]}]}')
})

t.test('an error that a handler returns instead of throwing it is a failure', async t => {
  const app = await buildTasks(t, {
    handlers: {
      now: defineTask({ handler: () => new ItemError('No') }), later: defineTask({ handler: async () => new Error('secret') })
    }
  })

  const { body } = await post(app, ['now', 'later'].map(type => ({ taskId: type, type })))
  t.match(body.tasks, [{ taskId: 'now', status: 'failed', reason: 'No' }, { taskId: 'later', status: 'failed', code: 'INTERNAL_ERROR' }])
})

t.test('results are in request order, whichever task is the first to end', async t => {
  const sleep = defineTask({ payload: Type.Integer(), handler: async ms => { await setTimeout(ms); return ms } })
  const app = await buildTasks(t, { handlers: { sleep } })

  const { body } = await post(app, [30, 15, 1].map(ms => ({ taskId: `of ${ms}`, type: 'sleep', payload: ms })))

  t.strictSame(body, {
    tasks: [
      { taskId: 'of 30', status: 'completed', output: 30 },
      { taskId: 'of 15', status: 'completed', output: 15 },
      { taskId: 'of 1', status: 'completed', output: 1 }
    ]
  })
})

t.test('an ItemError says what the client sees of its task', async t => {
  const refuse = () => {
    throw new ItemError('Try later', { code: 'BUSY', statusCode: 429, retryAfter: 7, errors: [{ pointer: '#/payload', detail: 'too much' }] })
  }
  const app = await buildTasks(t, { handlers: { refuse: { handler: refuse } } })

  const { statusCode, counts, body } = await post(app, [{ taskId: 1, type: 'refuse' }])

  t.equal(statusCode, 207)
  t.equal(counts, 'total=1, succeeded=0, failed=1')
  t.strictSame(body.tasks, [{
    taskId: 1,
    status: 'failed',
    reason: 'Try later',
    code: 'BUSY',
    statusCode: 429,
    retryable: true,
    retryAfter: 7,
    errors: [{ pointer: '#/payload', detail: 'too much' }]
  }])
})

t.test('any other error is a masked 500, logged with the place and the name of the task', async t => {
  const log: LogLine[] = []
  const app = await buildTasks(t, {
    handlers: {
      echo,
      error: { handler: () => { throw new Error('the password is hunter2') } },
      // eslint-disable-next-line prefer-promise-reject-errors
      nothing: { handler: () => Promise.reject() },
      public: { handler: () => { throw Object.assign(new Error('hunter2'), { statusCode: 503, expose: true }) } }
    }
  }, line => log.push(line))

  const { body } = await post(app, ['echo', 'error', 'nothing', 'public'].map(type => ({ taskId: type, type })))

  const masked = { status: 'failed', reason: 'Internal error', code: 'INTERNAL_ERROR', statusCode: 500, retryable: false }
  t.strictSame(body.tasks, [
    { taskId: 'echo', status: 'completed' },
    { taskId: 'error', ...masked },
    { taskId: 'nothing', ...masked },
    { taskId: 'public', ...masked }
  ])
  const failures = log.filter(({ msg }) => msg === 'item failed').sort((a, b) => Number(a.index) - Number(b.index))
  t.match(failures, [
    { index: 1, key: 'error', code: 'INTERNAL_ERROR', err: { message: 'the password is hunter2' } },
    { index: 2, key: 'nothing', code: 'INTERNAL_ERROR', err: { message: 'undefined' } },
    { index: 3, key: 'public', code: 'INTERNAL_ERROR', err: { message: 'hunter2' } }
  ])
})

t.test('a task that cannot be understood fails alone, and says which part of it', async t => {
  const app = await buildTasks(t, { handlers: { echo, sum: { ...echo, payload: Type.Array(Type.Number()) } } })

  const { counts, body } = await post(app, [
    { taskId: 1, type: 'constructor' },
    { taskId: 2 },
    { taskId: 3, type: 'sum' },
    { taskId: 4, type: 'sum', payload: ['1'] },
    { type: 'echo' },
    null,
    { taskId: 5, type: 'sum', payload: [1] }
  ])

  t.equal(counts, 'total=7, succeeded=1, failed=6')
  const invalid = (taskId: number | null, pointer: string, detail: string) => ({
    taskId, status: 'failed', reason: 'Invalid data', code: 'INVALID_ITEM', statusCode: 422, retryable: false, errors: [{ pointer, detail }]
  })
  t.strictSame(body.tasks, [
    invalid(1, '#/type', 'must be one of "echo", "sum"'),
    invalid(2, '#/type', 'must be one of "echo", "sum"'),
    invalid(3, '#/payload', "must have required property 'payload'"),
    invalid(4, '#/payload/0', 'must be number; received string'),
    invalid(null, '#/taskId', "must have required property 'taskId'"),
    invalid(null, '#', 'must be object; received null'),
    { taskId: 5, status: 'completed', output: [1] }
  ])
})

t.test('a task of an unknown type is told the one that is known, and not what that would need', async t => {
  const app = await buildTasks(t, { handlers: { sum: { ...echo, payload: Type.Array(Type.Number()) } } })

  const { body } = await post(app, [{ taskId: 1, type: 'mean' }, { taskId: 2, type: 'sum' }, { taskId: 3, type: 'sum', payload: [1] }])

  t.match(body.tasks, [
    { taskId: 1, status: 'failed', code: 'INVALID_ITEM', errors: [{ pointer: '#/type', detail: 'must be "sum"' }] },
    { taskId: 2, status: 'failed', code: 'INVALID_ITEM', errors: [{ pointer: '#/payload', detail: "must have required property 'payload'" }] },
    { taskId: 3, status: 'completed', output: [1] }
  ])
})

t.test('where no task is registered, every task is refused by its type', async t => {
  const app = await buildTasks(t, {})

  const { statusCode, body } = await post(app, [{ taskId: 1, type: 'echo' }, { taskId: 2, type: '' }, { taskId: 3 }, null])

  t.equal(statusCode, 207)
  const detail = 'must be a type of task that is known here; there is none'
  t.match(body.tasks, [
    ...[1, 2, 3].map(taskId => ({ taskId, status: 'failed', code: 'INVALID_ITEM', statusCode: 422, errors: [{ pointer: '#/type', detail }] })),
    { taskId: null, status: 'failed', code: 'INVALID_ITEM', errors: [{ pointer: '#', detail: 'must be object; received null' }] }
  ])
})

t.test('a handler gets the payload as it was sent, whatever the app has told Ajv', async t => {
  const received: unknown[] = []
  const app = await build(t, {
    fastify: { ajv: { customOptions: { coerceTypes: 'array', removeAdditional: 'all', allErrors: true } } },
    plugin: {
      tasks: {
        handlers: {
          keep: {
            payload: Type.Object({ list: Type.Array(Type.Integer()) }),
            handler: payload => { received.push(payload) }
          }
        }
      }
    }
  })

  const { body } = await post(app, [
    { taskId: 1, type: 'keep', payload: { list: [1], more: { than: 'declared' } } },
    { taskId: 2, type: 'keep', payload: { list: '1' } }
  ])

  t.strictSame(received, [{ list: [1], more: { than: 'declared' } }])
  t.match(body.tasks, [{ taskId: 1, status: 'completed' }, { taskId: 2, code: 'INVALID_ITEM', errors: [{ pointer: '#/payload/list' }] }])
})

t.test('a request without tasks is refused as a whole, and says why', async t => {
  let ran = 0
  const app = await buildTasks(t, { maxItems: 2, handlers: { count: { handler: () => { ran++ } } } })
  const task = (taskId: unknown) => ({ taskId, type: 'count' })
  const expected = 'Expected the body to be an object with an array of items in "tasks"; received '
  const cases: [payload: unknown, statusCode: number, code: string, message: string][] = [
    [null, 400, 'BODY_NOT_BATCH', `${expected}null`],
    ['tasks', 400, 'BODY_NOT_BATCH', `${expected}string`],
    [[task(1)], 400, 'BODY_NOT_BATCH', `${expected}array`],
    [{}, 400, 'BODY_NOT_BATCH', `${expected}undefined there`],
    [{ tasks: task(1) }, 400, 'BODY_NOT_BATCH', `${expected}object there`],
    [{ tasks: [] }, 400, 'BATCH_EMPTY', 'Expected at least 1 item in tasks; received 0'],
    [{ tasks: [task(1), task(1)] }, 400, 'DUPLICATE_KEYS', 'Expected every item to have its own taskId; received more than once: 1'],
    [{ tasks: [task(1), task(2), task(3)] }, 413, 'BATCH_TOO_LARGE', 'Expected at most 2 items in one request; received 3']
  ]

  for (const [payload, statusCode, code, message] of cases) {
    const response = await app.inject({
      method: 'POST', url: '/tasks', headers: { 'content-type': 'application/json' }, payload: JSON.stringify(payload)
    })
    t.equal(response.statusCode, statusCode)
    t.match(response.json(), { statusCode, code: `FST_MULTI_STATUS_${code}`, message })
    t.notOk(response.headers['multi-status'])
  }
  t.equal(ran, 0)
  t.equal((await post(app, [task(1), task('1')])).counts, 'total=2, succeeded=2, failed=0', '1 and "1" are two tasks')
})

t.test('each type may have a time limit of its own; its signal tells a handler that the time is up', async t => {
  const reasons: unknown[] = []
  const watch = (_payload: unknown, { signal }: TaskContext) => new Promise(() => {
    signal.addEventListener('abort', () => reasons.push(signal.reason))
  })
  const app = await buildTasks(t, { timeout: 60_000, handlers: { quick: { timeout: 20, handler: watch } } })

  const { body } = await post(app, [{ taskId: 1, type: 'quick' }])

  t.strictSame(body.tasks, [
    { taskId: 1, status: 'failed', reason: 'Timeout', code: 'TIMEOUT', statusCode: 504, retryable: true }
  ])
  t.match(reasons, [{ code: 'TIMEOUT' }])
})

t.test('what a task does after its time is up concerns nobody', async t => {
  let late = false
  const app = await buildTasks(t, {
    timeout: 10,
    handlers: { late: { handler: async () => { await setTimeout(30); late = true; throw new Error('late') } } }
  })

  const { body } = await post(app, [{ taskId: 1, type: 'late' }])
  await until(() => late)

  t.match(body.tasks, [{ taskId: 1, status: 'failed', code: 'TIMEOUT' }])
})

t.test('a task is tried again as often as told, but not when its ItemError says that this is no use', async t => {
  const attempts: string[] = []
  const note = ({ taskId, attempt }: TaskContext) => attempts.push(`${taskId} ${attempt}`)
  const app = await buildTasks(t, {
    retries: 2,
    concurrency: 1,
    handlers: {
      third: { handler: (_, context) => { note(context); if (context.attempt < 3) throw new Error('Not yet'); return context.attempt } },
      never: { handler: (_, context) => { note(context); throw new ItemError('No') } }
    }
  })

  const { body } = await post(app, [{ taskId: 'a', type: 'third' }, { taskId: 'b', type: 'never' }])

  t.strictSame(attempts, ['a 1', 'a 2', 'a 3', 'b 1'])
  t.match(body.tasks, [{ taskId: 'a', status: 'completed', output: 3 }, { taskId: 'b', status: 'failed', reason: 'No' }])
})

t.test('an output that does not fit its schema makes the task a failure, and stays on the server', async t => {
  const log: LogLine[] = []
  const output = Type.Object({ pixels: Type.Integer() })
  const app = await buildTasks(t, {
    handlers: {
      right: { output, handler: () => ({ pixels: 4 }) },
      wrong: { output, handler: () => ({ pixels: 'hunter2' }) },
      none: { output, handler: () => undefined }
    }
  }, line => log.push(line))

  const { counts, body } = await post(app, ['right', 'wrong', 'none'].map(type => ({ taskId: type, type })))

  const invalid = { status: 'failed', reason: 'Invalid result', code: 'INVALID_RESULT', statusCode: 500, retryable: false }
  t.equal(counts, 'total=3, succeeded=1, failed=2')
  t.strictSame(body.tasks, [
    { taskId: 'right', status: 'completed', output: { pixels: 4 } },
    { taskId: 'wrong', ...invalid },
    { taskId: 'none', ...invalid }
  ])
  t.match(log.filter(({ msg }) => msg === 'item failed'), [
    { index: 1, key: 'wrong', cause: 'the output #/pixels must be integer; received string' },
    { index: 2, key: 'none', cause: 'the output # must be object; received undefined' }
  ])
})

t.test('an output that JSON cannot hold costs its own task only', async t => {
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  const outputs: Record<string, unknown> = { bigint: 1n, cycle, toJSON: { toJSON () { throw new Error('hunter2') } } }
  const app = await buildTasks(t, { handlers: { echo, odd: { handler: name => outputs[String(name)] } } })

  const { body } = await post(app, [
    ...Object.keys(outputs).map(name => ({ taskId: name, type: 'odd', payload: name })),
    { taskId: 'last', type: 'echo', payload: 1 }
  ])

  const invalid = { status: 'failed', reason: 'Invalid result', code: 'INVALID_RESULT', statusCode: 500, retryable: false }
  t.strictSame(body.tasks, [
    { taskId: 'bigint', ...invalid },
    { taskId: 'cycle', ...invalid },
    { taskId: 'toJSON', ...invalid },
    { taskId: 'last', status: 'completed', output: 1 }
  ])
})

t.test('an output with members like those of a result rewrites nothing of the result', async t => {
  const app = await buildTasks(t, { handlers: { echo } })
  const output = { taskId: 9, status: 'failed', reason: 'none', output: 'inner' }

  const { counts, body } = await post(app, [{ taskId: 1, type: 'echo', payload: output }])

  t.equal(counts, 'total=1, succeeded=1, failed=0')
  t.strictSame(body, { tasks: [{ taskId: 1, status: 'completed', output }] })
})

t.test('no more tasks run at a time than allowed', async t => {
  let running = 0
  let most = 0
  const handler = async () => {
    most = Math.max(most, ++running)
    await setTimeout(2)
    running--
  }
  const app = await buildTasks(t, { concurrency: 3, handlers: { busy: { handler } } })

  const { counts } = await post(app, Array.from({ length: 20 }, (_, taskId) => ({ taskId, type: 'busy' })))

  t.equal(counts, 'total=20, succeeded=20, failed=0')
  t.equal(most, 3)
})

t.test('a handler is told the name of its task, and its log lines carry it', async t => {
  const log: LogLine[] = []
  const app = await buildTasks(t, {
    url: '/jobs',
    handlers: { tell: { handler: (_, { taskId, attempt, log }) => { log.info('at work'); return { taskId, attempt } } } }
  }, line => log.push(line))

  const { body } = await post(app, [{ taskId: 0, type: 'nonsense' }, { taskId: 'x', type: 'tell' }], '/jobs')

  t.match(body.tasks, [{ status: 'failed' }, { taskId: 'x', status: 'completed', output: { taskId: 'x', attempt: 1 } }])
  t.match(log.filter(({ msg }) => msg === 'at work'), [{ index: 1, key: 'x' }])
})

t.test('Prefer: handling=strict runs nothing when one task is invalid, return=minimal leaves outputs out', async t => {
  const app = await buildTasks(t, { handlers: { echo } })
  const send = (prefer: string, tasks: object[]) => app.inject({ method: 'POST', url: '/tasks', headers: { prefer }, payload: { tasks } })

  const strict = await send('handling=strict', [{ taskId: 1, type: 'echo' }, { taskId: 2, type: 'nonsense' }])
  const minimal = await send('return=minimal', [{ taskId: 1, type: 'echo', payload: 'long' }, { taskId: 2, type: 'nonsense' }])

  t.equal(strict.statusCode, 422)
  t.match(strict.json(), { code: 'FST_MULTI_STATUS_INVALID_ITEMS' })
  t.equal(minimal.statusCode, 207)
  t.equal(minimal.headers['preference-applied'], 'return=minimal')
  t.strictSame(minimal.json().tasks[0], { taskId: 1, status: 'completed' })
  t.match(minimal.json().tasks[1], { taskId: 2, status: 'failed', code: 'INVALID_ITEM' })
})

t.test('the tasks of three clients at once run in the async context of their own request, also when they are tried again', async t => {
  const storage = new AsyncLocalStorage<string>()
  const seen: string[] = []
  const handler = async (_: unknown, { attempt, taskId }: TaskContext) => {
    await setTimeout(1)
    seen.push(`${taskId} for ${storage.getStore()}`)
    if (attempt === 1) throw new ItemError('Again', { retryable: true, retryAfter: 0.005 })
    return storage.getStore()
  }
  const app = await build(t, {
    before: app => app.addHook('onRequest', (request, _reply, next) => storage.run(String(request.headers.client), next)),
    plugin: { tasks: { maxRunning: 1, retries: 1, handlers: { who: { handler } } } }
  })
  const clients = ['a', 'b', 'c']
  const answers = await Promise.all(clients.map(client => app.inject({
    method: 'POST', url: '/tasks', headers: { client }, payload: { tasks: [1, 2, 3].map(n => ({ taskId: `${client}${n}`, type: 'who' })) }
  })))

  t.strictSame(answers.map(answer => answer.json().tasks.map((task: { output: unknown }) => task.output)), clients.map(client => [client, client, client]))
  t.equal(seen.length, 18)
  t.strictSame(seen.filter(one => one[0] !== one.at(-1)), [])
})

t.test('a client that goes away aborts what runs, and the rest does not start', async t => {
  const started: unknown[] = []
  const reasons: unknown[] = []
  const handler = (_: unknown, { taskId, signal }: TaskContext) => new Promise(() => {
    started.push(taskId)
    signal.addEventListener('abort', () => reasons.push(signal.reason))
  })
  const app = await buildTasks(t, { concurrency: 2, handlers: { watch: { handler } } })
  const client = await send(app, [1, 2, 3, 4].map(taskId => ({ taskId, type: 'watch' })))
  await until(() => started.length === 2)

  client.destroy()
  await until(() => reasons.length === 2)
  await app.close()

  t.strictSame(started, [1, 2])
  t.match(reasons, [{ code: 'CANCELLED' }, { code: 'CANCELLED' }])
})

t.test('app.close() lets running tasks end within the grace period', async t => {
  let isRunning = false
  let isClosing = false
  const handler = async () => { isRunning = true; await until(() => isClosing); return 'done' }
  const app = await build(t, { plugin: { closeGrace: 5_000, tasks: { handlers: { slow: { handler } } } } })
  const client = await send(app, [{ taskId: 1, type: 'slow' }])
  const answered = once(client, 'response')
  await until(() => isRunning)

  const closed = app.close()
  isClosing = true
  const [response] = await answered
  const body = await readAll(response)
  await closed

  t.equal(response.statusCode, 207)
  t.equal(body, '{"tasks":[{"taskId":1,"status":"completed","output":"done"}]}')
})

t.test('after the grace period app.close() ends the tasks, and the client is told', async t => {
  let started = 0
  const app = await build(t, {
    plugin: { closeGrace: 30, tasks: { concurrency: 1, handlers: { hang: { handler: () => { started++; return new Promise(() => {}) } } } } }
  })
  const client = await send(app, [{ taskId: 1, type: 'hang' }, { taskId: 2, type: 'hang' }])
  const answered = once(client, 'response')
  await until(() => started === 1)

  const closed = app.close()
  const [response] = await answered
  const body = JSON.parse(await readAll(response))
  await closed

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=2, succeeded=0, failed=2')
  t.strictSame(body.tasks, [
    { taskId: 1, status: 'failed', reason: 'Cancelled', code: 'CANCELLED', statusCode: 424, retryable: true },
    { taskId: 2, status: 'failed', reason: 'Server closing', code: 'NOT_RUN', statusCode: 424, retryable: true }
  ])
  t.equal(started, 1)
})

/** Sends tasks over a real socket. */
async function send (app: FastifyInstance, tasks: object[]) {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const client = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: '/tasks', headers: { 'content-type': 'application/json' } })
  client.on('error', () => {})
  client.end(JSON.stringify({ tasks }))
  return client
}

async function readAll (stream: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += chunk
  return text
}
