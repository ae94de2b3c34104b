// Asynchronous batches: accepted, read, cancelled, expired.
import { setTimeout } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import type { TaskResult } from '../../../schemas/index.js'
import { EngineUnavailable } from '../../../lib/errors.js'
import { inProcess, ItemError, type TaskContext, type TasksOptions } from '../../../lib/index.js'
import { createTaskRunner } from '../../../lib/tasks/run-task.js'
import { build, type LogLine } from '../../fixtures/build.js'
import { createGate } from '../../fixtures/gate.js'
import { silent } from '../../fixtures/task-processes.js'
import { waitFor } from '../../fixtures/wait.js'

const echo = { handler: (payload: unknown) => payload }
const hang = { handler: () => new Promise(() => {}) }
const refuse = { handler: () => { throw new ItemError('No') } }
const UNKNOWN = '/tasks/00000000-0000-4000-8000-000000000000'

function buildTasks (t: Test, tasks: TasksOptions, onLog?: (line: LogLine) => void): Promise<FastifyInstance> {
  return build(t, { plugin: { tasks, closeGrace: 0 }, ...(onLog && { onLog }) })
}

const tasksOf = (...types: string[]) => types.map((type, index) => ({ taskId: index + 1, type, payload: index }))

function post (app: FastifyInstance, tasks: object[], headers: Record<string, string> = { prefer: 'respond-async' }, url = '/tasks') {
  return app.inject({ method: 'POST', url, headers, payload: { tasks } })
}

/** Submits a batch and gives the place to ask for it. */
async function submit (app: FastifyInstance, tasks: object[], headers = {}): Promise<string> {
  const response = await post(app, tasks, { prefer: 'respond-async', ...headers })
  return String(response.headers.location)
}

async function ended (app: FastifyInstance, location: string) {
  await waitFor('the batch to end', async () => (await app.inject(location)).statusCode === 207)
  return app.inject(location)
}

t.test('respond-async is answered 202 with the place, the progress and when to come back; later there is the 207', async t => {
  const gate = createGate()
  const app = await buildTasks(t, { handlers: { echo, refuse, wait: { handler: () => gate.opened } } })
  const tasks = [...tasksOf('echo', 'wait', 'refuse', 'nonsense'), { taskId: 5, type: 'echo', payload: { a: [null] } }]

  const accepted = await post(app, tasks, { prefer: 'respond-async' })
  const location = String(accepted.headers.location)
  await waitFor('the others to end', async () => (await app.inject(location)).json().summary.pending === 1)
  const running = await app.inject(location)
  gate.open()
  const done = await ended(app, location)
  const sync = await post(app, tasks, {})

  t.equal(accepted.statusCode, 202)
  t.match(location, /^\/tasks\/[0-9a-f-]{36}$/)
  t.match(accepted.headers, { 'preference-applied': 'respond-async', vary: 'Prefer', 'retry-after': /^\d+$/ })
  t.match(accepted.json(), { batchId: location.slice('/tasks/'.length), summary: { total: 5 } })
  t.equal(running.statusCode, 202)
  t.match(running.headers, { 'retry-after': /^[1-9]\d*$/, 'cache-control': 'no-store' })
  t.strictSame(running.json(), { batchId: accepted.json().batchId, summary: { total: 5, succeeded: 2, failed: 2, pending: 1 } })
  t.equal(done.statusCode, 207)
  t.equal(done.headers['multi-status'], 'total=5, succeeded=3, failed=2')
  t.equal(done.body, sync.body, 'the very same body')
  t.equal(done.headers['content-type'], sync.headers['content-type'])
})

t.test('a batch that ends within wait=n is answered 207 at once, and not kept', async t => {
  const ids: string[] = []
  const app = await buildTasks(t, {
    handlers: { quick: { handler: async (_, { batchId }) => { ids.push(batchId); await setTimeout(5) } }, hang }
  })

  const quick = await post(app, tasksOf('quick', 'nonsense'), { prefer: 'respond-async, wait=60' })
  const slow = await post(app, tasksOf('hang'), { prefer: 'wait=1, respond-async' })
  const odd = await post(app, tasksOf('hang'), { prefer: 'respond-async, wait=soon' })

  t.equal(quick.statusCode, 207)
  t.equal(quick.headers['preference-applied'], 'wait=60')
  t.equal(quick.headers.location, undefined)
  t.match(quick.json().tasks, [{ status: 'completed' }, { code: 'INVALID_ITEM' }])
  t.equal((await app.inject(`/tasks/${ids[0]}`)).statusCode, 404)
  t.equal(slow.statusCode, 202)
  t.equal(slow.headers['preference-applied'], 'wait=1, respond-async')
  t.equal(odd.statusCode, 202)
  t.equal(odd.headers['preference-applied'], 'respond-async')
})

t.test('return=minimal counts when the results are read; handling=strict refuses before anything is accepted', async t => {
  const app = await buildTasks(t, { handlers: { echo } })

  const location = await submit(app, tasksOf('echo'))
  await ended(app, location)
  const minimal = await app.inject({ url: location, headers: { prefer: 'return=minimal' } })
  const strict = await post(app, tasksOf('echo', 'nonsense'), { prefer: 'respond-async, handling=strict' })

  t.strictSame(minimal.json(), { tasks: [{ taskId: 1, status: 'completed' }] })
  t.equal(minimal.headers['preference-applied'], 'return=minimal')
  t.equal(strict.statusCode, 422)
  t.equal(strict.headers.location, undefined)
})

t.test('the Location is a path that the client can ask for, below a prefix and with a query', async t => {
  const app = await build(t, { plugin: { tasks: { handlers: { echo } }, prefix: '/v1' } })

  const accepted = await post(app, tasksOf('echo'), undefined, '/v1/tasks?trace=1')

  t.match(accepted.headers.location, /^\/v1\/tasks\/[0-9a-f-]{36}$/)
  t.equal((await ended(app, String(accepted.headers.location))).statusCode, 207)
})

t.test('an unknown batch is 404, and so is what cannot be the id of one', async t => {
  const app = await buildTasks(t, { handlers: { echo } })

  for (const url of [UNKNOWN, '/tasks/x', '/tasks/..%2f..%2fetc', `${UNKNOWN}/events`]) {
    for (const method of ['GET', ...(url.endsWith('events') ? [] : ['DELETE'])] as ('GET' | 'DELETE')[]) {
      const response = await app.inject({ method, url })
      t.equal(response.statusCode, 404)
      t.match(response.json(), { code: 'FST_MULTI_STATUS_BATCH_NOT_FOUND', message: /there is none of this id/ })
    }
  }
})

t.test('a batch that has expired is 410', async t => {
  const app = await buildTasks(t, { ttl: 1, handlers: { echo } })

  const location = await submit(app, tasksOf('echo'))
  await waitFor('the batch to expire', async () => (await app.inject(location)).statusCode === 410)

  t.match((await app.inject(location)).json(), { statusCode: 410, code: 'FST_MULTI_STATUS_BATCH_EXPIRED' })
  t.equal((await app.inject(`${location}/events`)).statusCode, 410)
  t.equal((await app.inject({ method: 'DELETE', url: location })).statusCode, 410)
})

t.test('a batch that expires between two reads is 410', async t => {
  const engine = inProcess()
  const app = await buildTasks(t, { engine, handlers: { echo } })
  const location = await submit(app, tasksOf('echo'))
  await ended(app, location)

  engine.results = async () => undefined
  t.equal((await app.inject(location)).statusCode, 410)
})

t.test('DELETE cancels: what had not ended has failed, what had keeps its result, and both can still be read', async t => {
  const reasons: unknown[] = []
  const watch = (_: unknown, { signal }: TaskContext) => new Promise(() => {
    signal.addEventListener('abort', () => reasons.push(signal.reason))
  })
  const app = await buildTasks(t, { concurrency: 2, handlers: { echo, watch: { handler: watch } } })
  const location = await submit(app, tasksOf('echo', 'watch', 'watch', 'watch', 'nonsense'))
  await waitFor('the first to end', async () => (await app.inject(location)).json().summary.succeeded === 1)

  const cancelled = await app.inject({ method: 'DELETE', url: location })
  const again = await app.inject({ method: 'DELETE', url: location })

  const failed = { status: 'failed', reason: 'Cancelled', code: 'CANCELLED', statusCode: 424, retryable: true }
  t.equal(cancelled.statusCode, 207)
  t.match(cancelled.json().tasks, [
    { taskId: 1, status: 'completed', output: 0 }, ...[2, 3, 4].map(taskId => ({ taskId, ...failed })), { taskId: 5, code: 'INVALID_ITEM' }
  ])
  t.match(reasons, [{ code: 'CANCELLED' }, { code: 'CANCELLED' }])
  t.equal(again.body, cancelled.body)
  t.equal((await app.inject(location)).body, cancelled.body)
})

t.test('DELETE of a batch whose tasks wait for a slot runs none of them', async t => {
  const ran: unknown[] = []
  const handler = (payload: unknown, { signal }: TaskContext) => new Promise(resolve => {
    ran.push(payload)
    signal.addEventListener('abort', resolve)
  })
  const app = await buildTasks(t, { maxRunning: 1, handlers: { wait: { handler } } })
  const first = await submit(app, [{ taskId: 1, type: 'wait', payload: 'first' }])
  const second = await submit(app, [{ taskId: 1, type: 'wait', payload: 'second' }, { taskId: 2, type: 'wait', payload: 'second' }])

  const cancelled = await app.inject({ method: 'DELETE', url: second })
  await app.inject({ method: 'DELETE', url: first })

  t.match(cancelled.json().tasks, [{ taskId: 1, code: 'CANCELLED' }, { taskId: 2, code: 'CANCELLED' }])
  t.strictSame(ran, ['first'])
})

t.test('DELETE ends the wait of a task that is to be tried again', async t => {
  const handler = () => { throw new ItemError('Later', { statusCode: 503, retryAfter: 30 }) }
  const app = await buildTasks(t, { retries: 3, handlers: { later: { handler } } })
  const location = await submit(app, tasksOf('later'))

  const { tasks } = (await app.inject({ method: 'DELETE', url: location })).json()

  t.match(tasks, [{ taskId: 1, status: 'failed', code: 'CANCELLED' }])
})

t.test('a client that goes away leaves an accepted batch alone', async t => {
  const gate = createGate()
  const app = await buildTasks(t, { handlers: { wait: { handler: () => gate.opened } } })
  const location = await submit(app, tasksOf('wait'))

  gate.open()

  t.match((await ended(app, location)).json().tasks, [{ taskId: 1, status: 'completed' }])
})

t.test('a batch is only for its owner: for anyone else there is none', async t => {
  const owner = ({ headers }: FastifyRequest) => headers.tenant === undefined ? undefined : { tenant: headers.tenant, since: new Date(0) }
  const app = await buildTasks(t, { owner, handlers: { echo } })
  const location = await submit(app, tasksOf('echo'), { tenant: 'a' })
  const statusFor = async (tenant: string | undefined, method: 'GET' | 'DELETE', url: string) =>
    (await app.inject({ method, url, ...(tenant && { headers: { tenant } }) })).statusCode

  await waitFor('the batch to end', async () => await statusFor('a', 'GET', location) === 207)

  for (const tenant of ['b', undefined]) {
    t.equal(await statusFor(tenant, 'GET', location), 404)
    t.equal(await statusFor(tenant, 'DELETE', location), 404)
    t.equal(await statusFor(tenant, 'GET', `${location}/events`), 404)
  }
  t.equal(await statusFor('a', 'GET', `${location}/events`), 200)
  t.equal(await statusFor('a', 'DELETE', location), 207)
})

t.test('authorize decides itself, of the request and of what is known of the batch', async t => {
  const seen: unknown[] = []
  const app = await buildTasks(t, {
    owner: () => 'team',
    authorize: async ({ headers }, batch) => {
      seen.push(batch)
      if (headers.role === 'stranger') throw Object.assign(new Error('Not yours'), { statusCode: 403 })
      return headers.role === 'auditor'
    },
    handlers: { hang }
  })
  const location = await submit(app, tasksOf('hang'))
  const as = (role: string) => app.inject({ url: location, headers: { role } })

  t.equal((await as('auditor')).statusCode, 202)
  t.equal((await as('nobody')).statusCode, 404)
  t.match((await as('stranger')).json(), { statusCode: 403, message: 'Not yours' })
  t.match(seen[0], { batchId: location.slice(7), owner: 'team', summary: { total: 1, pending: 1 }, createdAt: Number })
})

t.test('a batch that does not fit into the queue is answered 503 before anything of it has run', async t => {
  const gate = createGate()
  let ran = 0
  const app = await buildTasks(t, {
    maxItems: 4, maxQueued: 4, maxRunning: 1, handlers: { wait: { handler: () => { ran++; return gate.opened } } }
  })
  const first = await submit(app, tasksOf('wait', 'wait', 'wait'))

  const refused = [await post(app, tasksOf('wait', 'wait', 'wait')), await post(app, tasksOf('wait', 'wait', 'wait'), {})]
  const fits = await post(app, tasksOf('wait', 'wait'))

  for (const response of refused) {
    t.equal(response.statusCode, 503)
    t.match(response.headers['retry-after'], /^[1-9]\d*$/)
    t.match(response.json(), {
      code: 'FST_MULTI_STATUS_QUEUE_FULL',
      message: 'Expected at most 4 tasks to wait for their turn; received a batch with which there would be 5'
    })
  }
  t.equal(fits.statusCode, 202)
  t.equal(ran, 1)
  gate.open()
  await ended(app, first)
  await ended(app, String(fits.headers.location))
  t.equal(ran, 5)
})

t.test('a long run of tasks that never wait lets the event loop turn', async t => {
  let round = { turned: false }
  const see = () => {
    const seen = round
    setImmediate(() => { seen.turned = true })
    for (const end = performance.now() + 1; performance.now() < end;);
    return seen.turned
  }
  const app = await buildTasks(t, { handlers: { 'at once': { handler: see }, 'a little later': { handler: async () => see() } } })
  for (const type of ['at once', 'a little later']) {
    round = { turned: false }
    const { tasks } = (await post(app, tasksOf(...new Array<string>(100).fill(type)), {})).json()
    t.strictSame([tasks[0].output, tasks[99].output], [false, true], type)
  }
})

t.test('all requests together run no more tasks than allowed, and a short batch does not wait for a long one', async t => {
  let running = 0
  let most = 0
  const handler = async () => {
    most = Math.max(most, ++running)
    await setTimeout(1)
    running--
  }
  const app = await buildTasks(t, { maxRunning: 4, handlers: { busy: { handler } } })
  const long = await submit(app, tasksOf(...new Array(600).fill('busy')))

  const short = await post(app, tasksOf('busy', 'busy', 'busy'), {})
  const { pending, succeeded } = (await app.inject(long)).json().summary

  t.equal(short.statusCode, 207)
  t.ok(pending > 0 && succeeded > 0, 'both have had their turns')
  t.match((await ended(app, long)).headers, { 'multi-status': 'total=600, succeeded=600, failed=0' })
  t.equal(most, 4)
})

t.test('when the store is full, batches that have been read go first; then a new one is answered 503', async t => {
  const app = await buildTasks(t, { engine: inProcess({ maxBatches: 2 }), handlers: { echo } })
  const first = await submit(app, tasksOf('echo'))
  const second = await submit(app, tasksOf('echo'))
  await ended(app, first)

  const third = await post(app, tasksOf('echo'))
  const fourth = await post(app, tasksOf('echo'))
  const sync = await post(app, tasksOf('echo'), {})

  t.equal(third.statusCode, 202)
  t.equal((await app.inject(first)).statusCode, 410)
  t.equal(fourth.statusCode, 503)
  t.match(fourth.json(), { code: 'FST_MULTI_STATUS_STORE_FULL' })
  t.match(fourth.headers['retry-after'], /^[1-9]\d*$/)
  t.equal(sync.statusCode, 207)
  t.equal((await ended(app, second)).statusCode, 207)
})

t.test('a result for which there is no room is a failure that says so', async t => {
  const app = await buildTasks(t, {
    engine: inProcess({ maxBytes: 20_000 }), handlers: { echo, big: { handler: () => 'x'.repeat(30_000) } }
  })

  const { tasks } = (await ended(app, await submit(app, tasksOf('big', 'echo')))).json()

  t.strictSame(tasks, [
    { taskId: 1, status: 'failed', reason: 'Result too large to keep', code: 'RESULT_TOO_LARGE', statusCode: 507, retryable: false },
    { taskId: 2, status: 'completed', output: 1 }
  ])
})

t.test('what is kept is what the task gave back when it ended, and what JSON cannot hold costs its own task only', async t => {
  const log: LogLine[] = []
  const shared = { count: 0 }
  const app = await buildTasks(t, {
    concurrency: 1, handlers: { count: { handler: () => { shared.count++; return shared } }, odd: { handler: () => 1n } }
  }, line => log.push(line))

  const { tasks } = (await ended(app, await submit(app, tasksOf('count', 'odd', 'count')))).json()

  t.match(tasks, [
    { output: { count: 1 } },
    { taskId: 2, status: 'failed', reason: 'Invalid result', code: 'INVALID_RESULT', statusCode: 500, retryable: false },
    { output: { count: 2 } }
  ])
  t.match(log.filter(({ msg }) => msg === 'item failed'), [{ index: 1, key: 2, code: 'INVALID_RESULT' }])
})

t.test('onItemError is called for a result that cannot be kept', async t => {
  const told: unknown[] = []
  const app = await build(t, {
    plugin: {
      closeGrace: 0,
      onItemError: (error, { index, key, request }) => { told.push({ code: (error as ItemError).code, index, key, request }) },
      tasks: { engine: inProcess({ maxBytes: 20_000 }), handlers: { echo, odd: { handler: () => 1n }, big: { handler: () => 'x'.repeat(30_000) } } }
    }
  })

  await ended(app, await submit(app, tasksOf('odd', 'echo', 'big')))

  t.strictSame(told, [{ code: 'INVALID_RESULT', index: 0, key: 1, request: null }, { code: 'RESULT_TOO_LARGE', index: 2, key: 3, request: null }])
})

t.test('a handler gets its batch id and a key that stays the same when it runs again', async t => {
  const app = await buildTasks(t, {
    retries: 1,
    handlers: {
      tell: {
        handler: (_, { batchId, key, attempt, taskId }) => {
          if (attempt === 1) throw new ItemError(key, { statusCode: 503, retryAfter: 0 })
          return { batchId, key, attempt, taskId }
        }
      }
    }
  })

  const location = await submit(app, tasksOf('nonsense', 'tell', 'tell'))
  const { tasks } = (await ended(app, location)).json()

  const batchId = location.slice('/tasks/'.length)
  t.strictSame(tasks.slice(1), [2, 3].map(taskId =>
    ({ taskId, status: 'completed', output: { batchId, key: `${batchId}/${taskId - 1}`, attempt: 2, taskId } })))
})

t.test('app.close() lets accepted batches end within the grace period', async t => {
  const gate = createGate()
  let hasEnded = false
  const handler = async () => { await gate.opened; hasEnded = true }
  const app = await build(t, { plugin: { closeGrace: 60_000, tasks: { handlers: { wait: { handler } } } } })
  await submit(app, tasksOf('wait'))

  const closed = app.close()
  gate.open()
  await closed

  t.equal(hasEnded, true)
})

t.test('after the grace period app.close() aborts accepted batches', async t => {
  const reasons: unknown[] = []
  let started = 0
  const watch = (_: unknown, { signal }: TaskContext) => new Promise(() => {
    started++
    signal.addEventListener('abort', () => reasons.push(signal.reason))
  })
  const app = await buildTasks(t, { concurrency: 1, handlers: { watch: { handler: watch } } })
  await submit(app, tasksOf('watch', 'watch'))

  await app.close()

  t.equal(started, 1)
  t.match(reasons, [{ code: 'CANCELLED' }])
})

t.test('an engine that cannot be reached is answered 503 with Retry-After, and nothing hangs', async t => {
  const fail = async () => { throw new EngineUnavailable('connection refused') }
  const engine = { ...inProcess(), submit: fail, find: fail }
  const app = await buildTasks(t, { engine, handlers: { echo } })

  for (const response of [await post(app, tasksOf('echo'), {}), await post(app, tasksOf('echo')), await app.inject(UNKNOWN)]) {
    t.equal(response.statusCode, 503)
    t.equal(response.headers['retry-after'], '1')
    t.match(response.json(), {
      code: 'FST_MULTI_STATUS_ENGINE_UNAVAILABLE',
      message: 'Expected the engine of the tasks to be there; it cannot be reached: connection refused'
    })
  }
})

t.test('an engine that is away for a while costs no batch its answer', async t => {
  const engine = { ...inProcess(), pollInterval: 5 }
  const { results } = engine
  let failures = 3
  engine.results = batchId => failures-- > 0 ? Promise.reject(new EngineUnavailable('gone')) : results(batchId)
  const app = await buildTasks(t, { engine, handlers: { echo } })

  t.equal((await post(app, tasksOf('echo'), {})).statusCode, 207)
  t.ok(failures < 0)
})

t.test('an engine that loses a batch while its client waits costs no answer: each task says so', async t => {
  const engine = { ...inProcess(), pollInterval: 5 }
  let isLost = false
  const { find, results } = engine
  engine.results = async batchId => isLost ? undefined : results(batchId)
  engine.find = async batchId => isLost ? undefined : find(batchId)
  const app = await buildTasks(t, { engine, handlers: { hang: { handler: () => { isLost = true; return new Promise(() => {}) } } } })

  const response = await post(app, [...tasksOf('hang'), { taskId: 'x', type: 'unknown' }, { taskId: 3, type: 'hang' }], {})

  t.equal(response.statusCode, 207)
  t.match(response.json().tasks, [
    { taskId: 1, status: 'failed', reason: 'Task lost', code: 'TASK_LOST', statusCode: 500, retryable: false },
    { taskId: 'x', status: 'failed', code: 'INVALID_ITEM' },
    { taskId: 3, status: 'failed', code: 'TASK_LOST' }
  ])
})

t.test('an engine that gives results in another order, or too few, costs no task the result that is its own', async t => {
  const engine = inProcess()
  const { results } = engine
  let confuse = (all: TaskResult[]) => all.toReversed()
  engine.results = async batchId => {
    const all = await results(batchId)
    return all && confuse(all)
  }
  const app = await buildTasks(t, { engine, handlers: { echo } })
  const ask = async () => (await post(app, tasksOf('echo', 'echo', 'echo'), {})).json().tasks

  t.strictSame(await ask(), [1, 2, 3].map(taskId => ({ taskId, status: 'completed', output: taskId - 1 })))
  confuse = all => all.slice(0, 2)
  t.match(await ask(), [
    { taskId: 1, status: 'completed', output: 0 }, { taskId: 2, status: 'completed', output: 1 }, { taskId: 3, status: 'failed', code: 'INVALID_RESULT' }
  ])
})

t.test('what an engine throws by mistake is logged, and no client reads it', async t => {
  const errors: LogLine[] = []
  const fail = async () => { throw new Error('hunter2') }
  const engine = { ...inProcess(), submit: fail, find: fail }
  const app = await buildTasks(t, { engine, handlers: { echo } }, line => { if (line.level >= 50) errors.push(line) })

  for (const response of [await post(app, tasksOf('echo')), await post(app, tasksOf('echo'), {}), await app.inject(UNKNOWN)]) {
    t.equal(response.statusCode, 500)
    t.match(response.json(), { code: 'FST_MULTI_STATUS_ENGINE_FAILED', message: 'The engine of the tasks has failed; what it said is in the log' })
  }
  t.equal(errors.filter(({ err }) => (err as Error).message === 'hunter2').length, 3)
})

t.test('a failed clean-up does not cost the answer', async t => {
  const engine = { ...inProcess(), remove: async () => { throw new EngineUnavailable('gone') } }
  const app = await buildTasks(t, { engine, handlers: { echo } })

  t.equal((await post(app, tasksOf('echo'), {})).statusCode, 207)
  t.equal((await post(app, tasksOf('echo'), { prefer: 'respond-async, wait=5' })).statusCode, 207)
})

t.test('a batch is accepted although its progress cannot be told at once', async t => {
  const engine = { ...inProcess(), find: async () => { throw new EngineUnavailable('gone') } }
  const app = await buildTasks(t, { engine, handlers: { hang } })

  const response = await post(app, tasksOf('hang', 'hang'))

  t.equal(response.statusCode, 202)
  t.strictSame(response.json().summary, { total: 2, succeeded: 0, failed: 0, pending: 2 })
  await engine.close(0)
})

t.test('DELETE answers with the progress when a batch takes its time to end on another machine', async t => {
  const engine = { ...inProcess(), pollInterval: 5 }
  engine.cancel = async () => {}
  const app = await buildTasks(t, { engine, handlers: { hang } })
  const location = await submit(app, tasksOf('hang'))

  const response = await app.inject({ method: 'DELETE', url: `${location}?why=not` })

  t.equal(response.statusCode, 202)
  t.equal(response.headers.location, location)
  t.strictSame(response.json().summary, { total: 1, succeeded: 0, failed: 0, pending: 1 })
})

t.test('the ids of the last 10,000 expired batches are kept', async t => {
  const engine = inProcess({ maxBatches: 1 })
  await engine.start!({ runTask: createTaskRunner({ handlers: {}, timeout: 1000, retries: 0 }), limits: { concurrency: 1, maxRunning: 1, maxQueued: 1, ttl: 60_000 }, log: silent })
  t.teardown(() => engine.close(0))
  for (let count = 0; count < 10_003; count++) {
    await engine.submit({ batchId: String(count), total: 1, tasks: [], invalid: [{ index: 0, result: { taskId: 1, status: 'completed' } }], keep: true, log: silent })
    await engine.results(String(count))
  }

  t.equal(await engine.find('0'), undefined)
  t.equal(await engine.find('2'), 'expired')
  t.equal(await engine.find('10001'), 'expired')
  t.match(await engine.find('10002'), { batchId: '10002' })
})

t.test('a batch is cancelled when its client leaves before the engine takes it', async t => {
  const engine = inProcess()
  const { submit, cancel } = engine
  const [asked, gate] = [createGate(), createGate()]
  const reasons: unknown[] = []
  engine.submit = async batch => {
    asked.open()
    await gate.opened
    await submit(batch)
  }
  engine.cancel = async (batchId, waiting) => {
    reasons.push(waiting?.message)
    await cancel(batchId, waiting)
  }
  const app = await buildTasks(t, { engine, handlers: { hang } })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const controller = new AbortController()
  const gone = fetch(`${origin}/tasks`, {
    method: 'POST', signal: controller.signal, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ tasks: tasksOf('hang') })
  })
  await asked.opened
  controller.abort()
  await t.rejects(gone)
  await waitFor('the connection to be gone', () => new Promise<boolean>(resolve => app.server.getConnections((_, count) => resolve(count === 0))))
  gate.open()

  await waitFor('it to be cancelled', () => reasons.length === 1)
  t.strictSame(reasons, ['Client disconnected'])
})
