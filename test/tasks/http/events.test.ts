// Server-Sent Events of a batch: one for each settled task, resumable.
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { EngineClosed } from '../../../lib/errors.js'
import { inProcess, ItemError, type SettledTask, type TaskEngine, type TasksOptions } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { allEvents, openEvents, readEvents, type ServerSentEvent } from '../../fixtures/events.js'
import { createGate } from '../../fixtures/gate.js'
import { waitFor } from '../../fixtures/wait.js'

const echo = { handler: (payload: unknown) => payload }
const refuse = { handler: () => { throw new ItemError('No') } }

/** An app that listens, and where. */
async function serve (t: Test, tasks: TasksOptions, closeGrace = 0): Promise<{ app: FastifyInstance, origin: string }> {
  const app = await build(t, { plugin: { tasks, closeGrace } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, origin: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}` }
}

async function submit (app: FastifyInstance, ...types: string[]): Promise<string> {
  const tasks = types.map((type, index) => ({ taskId: index + 1, type, payload: index }))
  const { headers } = await app.inject({ method: 'POST', url: '/tasks', headers: { prefer: 'respond-async' }, payload: { tasks } })
  return String(headers.location)
}

async function ended (app: FastifyInstance, location: string) {
  await waitFor('the batch to end', async () => (await app.inject(location)).statusCode === 207)
  return (await app.inject(location)).json().tasks as object[]
}

const summary = (total: number, succeeded: number, failed: number) => ({ total, succeeded, failed, pending: total - succeeded - failed })

const idsOf = (events: ServerSentEvent[]) => events.map(({ id }) => Number(id))

t.test('a follower gets an event for each settled task and one for the end', async t => {
  const gates = [createGate(), createGate()]
  const { app, origin } = await serve(t, { handlers: { echo, refuse, wait: { handler: index => gates[Number(index)]!.opened.then(() => index) } } })
  const location = await submit(app, 'wait', 'wait', 'refuse', 'nonsense')

  const response = await openEvents(`${origin}${location}/events`)
  const events: ServerSentEvent[] = []
  for await (const event of readEvents(response)) {
    if (event.comment === undefined) events.push(event)
    if (events.length === 2) gates[1]!.open()
    if (events.length === 3) gates[0]!.open()
  }
  const tasks = await ended(app, location)

  t.equal(response.statusCode, 200)
  t.match(response.headers, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store, no-transform' })
  t.strictSame(events, [
    { id: '1', event: 'result', data: { index: 3, result: tasks[3], summary: summary(4, 0, 1) } },
    { id: '2', event: 'result', data: { index: 2, result: tasks[2], summary: summary(4, 0, 2) } },
    { id: '3', event: 'result', data: { index: 1, result: { taskId: 2, status: 'completed', output: 1 }, summary: summary(4, 1, 2) } },
    { id: '4', event: 'result', data: { index: 0, result: { taskId: 1, status: 'completed', output: 0 }, summary: summary(4, 2, 2) } },
    { id: '5', event: 'done', data: { summary: summary(4, 2, 2) } }
  ])
})

t.test('a follower that comes after the end gets the same events', async t => {
  const { app, origin } = await serve(t, { handlers: { echo, refuse } })
  const location = await submit(app, ...new Array(250).fill('echo'), 'refuse')
  const tasks = await ended(app, location)

  const all = await Promise.all([1, 2].map(async () => allEvents(await openEvents(`${origin}${location}/events`))))

  t.strictSame(all[0], all[1])
  t.strictSame(idsOf(all[0]!), Array.from({ length: 252 }, (_, index) => index + 1))
  const results = all[0]!.slice(0, -1).map(({ data }) => data as SettledTask)
  t.strictSame(results.sort((a, b) => a.index - b.index).map(({ result }) => result), tasks)
})

t.test('a follower that reconnects misses no event and gets none twice', async t => {
  const { app, origin } = await serve(t, { concurrency: 1, handlers: { turn: { handler: () => new Promise(resolve => setImmediate(resolve)) } } })
  const location = await submit(app, ...new Array(400).fill('turn'))
  const events: ServerSentEvent[] = []

  for (let cut = 1; events.at(-1)?.event !== 'done'; cut++) {
    const response = await openEvents(`${origin}${location}/events`, { 'last-event-id': events.at(-1)?.id ?? '' })
    let left = 37 * cut
    for await (const event of readEvents(response)) {
      if (event.comment !== undefined) continue
      events.push(event)
      if (--left === 0) break
    }
  }

  t.strictSame(idsOf(events), Array.from({ length: 401 }, (_, index) => index + 1))
  t.strictSame(new Set(events.slice(0, -1).map(({ data }) => (data as SettledTask).index)).size, 400)
  t.strictSame(events.at(-1)!.data, { summary: summary(400, 400, 0) })
})

t.test('Last-Event-ID: after the last result only the end is left, after that nothing; nonsense begins at the beginning', async t => {
  const { app } = await serve(t, { handlers: { echo } })
  const location = await submit(app, 'echo', 'nonsense')
  await ended(app, location)
  const from = async (id: string) => {
    const { statusCode, body } = await app.inject({ url: `${location}/events`, headers: { 'last-event-id': id } })
    return [statusCode, ...body.matchAll(/^id: (\d+)$/gm)].map(one => Number(Array.isArray(one) ? one[1] : one))
  }

  t.strictSame(await from('0'), [200, 1, 2, 3])
  t.strictSame(await from('1'), [200, 2, 3])
  t.strictSame(await from('2'), [200, 3])
  t.match((await app.inject({ url: `${location}/events`, headers: { 'last-event-id': '2' } })).body, '"summary":{"total":2,"succeeded":1,"failed":1,"pending":0}')
  t.strictSame(await from('3'), [204])
  for (const id of ['4', '-1', '1.5', 'x', '']) t.strictSame(await from(id), [200, 1, 2, 3])
})

t.test('a Last-Event-ID that the batch has not reached is ignored', async t => {
  const { app, origin } = await serve(t, { handlers: { echo, hang: { handler: () => new Promise(() => {}) } } })
  const location = await submit(app, 'echo', 'hang')
  await waitFor('the first to end', async () => (await app.inject(location)).json().summary.succeeded === 1)

  const response = await openEvents(`${origin}${location}/events`, { 'last-event-id': '3' })
  const ids: unknown[] = []
  for await (const { id } of readEvents(response)) {
    if (id === undefined) continue
    ids.push(id)
    if (ids.length === 1) await app.inject({ method: 'DELETE', url: location })
  }

  t.strictSame(ids, ['1', '2', '3'])
})

t.test('a follower gets signs of life while nothing happens', async t => {
  const gate = createGate()
  const { app, origin } = await serve(t, { heartbeat: 100, handlers: { wait: { handler: () => gate.opened } } })
  const location = await submit(app, 'wait')

  let signs = 0
  const events: ServerSentEvent[] = []
  for await (const event of readEvents(await openEvents(`${origin}${location}/events`))) {
    if (event.comment === undefined) events.push(event)
    else if (++signs === 4) gate.open()
  }

  t.ok(signs >= 4)
  t.strictSame(idsOf(events), [1, 2])
})

t.test('without notifications a follower still gets every event', async t => {
  const engine = { ...inProcess(), watch: () => () => {}, pollInterval: 5 }
  const gate = createGate()
  const { app, origin } = await serve(t, { engine, handlers: { echo, wait: { handler: () => gate.opened } } })
  const location = await submit(app, 'wait', 'echo')

  const response = await openEvents(`${origin}${location}/events`)
  const ids: unknown[] = []
  for await (const { id } of readEvents(response)) {
    if (id !== undefined) ids.push(id)
    if (id === '1') gate.open()
  }

  t.strictSame(ids, ['1', '2', '3'])
})

t.test('a follower that does not read is dropped, holds up nobody, and can come back', async t => {
  const { app, origin } = await serve(t, { heartbeat: 50, handlers: { big: { handler: () => 'x'.repeat(200_000) } } })
  const location = await submit(app, ...new Array(80).fill('big'))

  const slow = await openEvents(`${origin}${location}/events`)
  const closed = new Promise(resolve => slow.once('close', resolve))
  slow.on('error', () => {})
  slow.pause()
  await waitFor('the follower to be dropped', () => connections(app).then(count => count === 0))
  slow.resume()
  await closed

  const ids: number[] = []
  // On a busy machine this one may be slow as well, and then does what every client does: it comes back.
  await waitFor('the end', async () => {
    const response = await openEvents(`${origin}${location}/events`, { 'last-event-id': ids.at(-1) ?? '' })
    for await (const { id } of readEvents(response)) if (id !== undefined) ids.push(Number(id))
    return ids.at(-1) === 81
  })
  t.equal(slow.complete, false)
  t.strictSame(ids, Array.from({ length: 81 }, (_, index) => index + 1))
})

t.test('no more followers than allowed; one that leaves makes room', async t => {
  const { app, origin } = await serve(t, { maxFollowers: 1, handlers: { hang: { handler: () => new Promise(() => {}) } } })
  const location = await submit(app, 'hang')
  const first = await openEvents(`${origin}${location}/events`)

  const second = await openEvents(`${origin}${location}/events`)
  const { statusCode, headers } = second
  second.destroy()
  first.destroy()
  const hasRoom = async () => {
    const third = await openEvents(`${origin}${location}/events`)
    third.destroy()
    return third.statusCode === 200
  }

  t.equal(statusCode, 503)
  t.equal(headers['retry-after'], '1')
  await waitFor('room', hasRoom)
})

t.test('app.close() ends followers with what has settled by then', async t => {
  const { app, origin } = await serve(t, { handlers: { echo, hang: { handler: () => new Promise(() => {}) } } })
  const location = await submit(app, 'echo', 'hang')
  const events: ServerSentEvent[] = []

  for await (const event of readEvents(await openEvents(`${origin}${location}/events`))) {
    if (event.id !== undefined) events.push(event)
    if (event.id === '1') app.close()
  }

  t.strictSame(idsOf(events), [1, 2, 3])
  t.match(events[1], { data: { result: { status: 'failed', code: 'CANCELLED' } } })
  t.equal(await connections(app), 0)
})

/** What a follower of a batch that never ends hears when the app closes. */
async function eventsUntilClosed (t: Test, engine: TaskEngine): Promise<ServerSentEvent[]> {
  const gate = createGate()
  t.teardown(gate.open)
  const { app, origin } = await serve(t, { engine, handlers: { wait: { handler: () => gate.opened } } })
  const response = await openEvents(`${origin}${await submit(app, 'wait')}/events`)
  await app.close()
  return allEvents(response)
}

t.test('app.close() also ends followers of a batch that goes on elsewhere', async t => {
  const engine = { ...inProcess(), close: async () => {} }

  t.strictSame(await eventsUntilClosed(t, engine), [])
})

t.test('a batch that is forgotten while somebody follows it ends the stream, and then is 410', async t => {
  const engine = { ...inProcess(), pollInterval: 5 }
  let isGone = false
  const { settled, find } = engine
  engine.settled = async (...args) => isGone ? undefined : settled(...args)
  engine.find = async batchId => isGone ? 'expired' : find(batchId)
  const { app, origin } = await serve(t, { engine, handlers: { hang: { handler: () => new Promise(() => {}) } } })
  const location = await submit(app, 'hang')

  const response = await openEvents(`${origin}${location}/events`)
  isGone = true

  t.strictSame(await allEvents(response), [])
  t.equal((await app.inject(`${location}/events`)).statusCode, 410)
})

t.test('followers end when the app closes although the engine no longer notifies', async t => {
  const engine = { ...inProcess(), pollInterval: 60_000 }
  const { settled } = engine
  let isClosed = false
  engine.settled = async (...args) => {
    if (isClosed) throw new EngineClosed()
    return settled(...args)
  }
  engine.close = async () => { isClosed = true }

  t.strictSame(await eventsUntilClosed(t, engine), [])
})

t.test('a client that leaves before it follows is not counted', async t => {
  const gate = createGate()
  t.teardown(gate.open)
  const asked = createGate()
  let isSlow = false
  const { app, origin } = await serve(t, {
    maxFollowers: 1,
    handlers: { hang: { handler: () => new Promise(() => {}) } },
    async authorize ({ raw }) {
      if (!isSlow) return true
      asked.open()
      await new Promise(resolve => raw.socket.once('close', resolve))
      return true
    }
  })
  const location = await submit(app, 'hang')
  isSlow = true
  const controller = new AbortController()
  const gone = fetch(`${origin}${location}/events`, { signal: controller.signal })
  await asked.opened
  controller.abort()
  await t.rejects(gone)
  await waitFor('the connection to be gone', async () => await connections(app) === 0)
  isSlow = false

  const response = await openEvents(`${origin}${location}/events`)
  t.equal(response.statusCode, 200)
  response.destroy()
})

t.test('app.close() does not wait for a follower that does not read', async t => {
  const large = { handler: () => 'x'.repeat(1_000_000) }
  const { app, origin } = await serve(t, { handlers: { large } })
  const location = await submit(app, ...new Array<string>(30).fill('large'))
  await ended(app, location)

  const response = await openEvents(`${origin}${location}/events`)
  response.pause()
  await app.close()

  t.equal(app.server.listening, false)
  response.destroy()
})

function connections (app: FastifyInstance): Promise<number> {
  return new Promise((resolve, reject) => app.server.getConnections((error, count) => error ? reject(error) : resolve(count)))
}
