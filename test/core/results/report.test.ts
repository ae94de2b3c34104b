// What an operator sees of batches: the log, the hook for errors, and the diagnostics channels.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { bulkRoute, defineTask, disk, generic, ItemError, type BatchEvent, type FailedItem, type FastifyMultiStatusOptions, type ItemEvent } from '../../../lib/index.js'
import { build, type LogLine } from '../../fixtures/build.js'
import { post } from '../../fixtures/post.js'
import { waitFor } from '../../fixtures/wait.js'

// Everybody in the process hears the channels.
t.jobs = 1

const Item = Type.Object({ id: Type.Union([Type.Integer(), Type.String()]) })

interface Setup { level?: string, onItemError?: FastifyMultiStatusOptions['onItemError'], own?: FastifyMultiStatusOptions['onItemError'] }

/** An app in which the item 2 is refused, and 3 breaks. */
async function buildItems (t: Test, { level = 'info', onItemError, own }: Setup = {}): Promise<{ app: FastifyInstance, lines: LogLine[] }> {
  const lines: LogLine[] = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line)) } }
  const tasks = { handlers: { odd: defineTask({ payload: Type.Integer(), handler: n => { if (n % 2 === 0) throw new Error('even') } }) } }
  const app = await build(t, {
    fastify: { logger: { level, stream } },
    plugin: { onItemError, tasks, upload: { storage: disk({ dir: t.testdir() }) }, batch: { allow: ['GET /ping'] } }
  })
  app.get('/ping', async () => 'pong')
  app.setNotFoundHandler(async (_request, reply) => reply.multiStatus([{ id: 1 }]))
  app.post('/plain', async (_request, reply) => reply.multiStatus([{ id: 'a', status: 200 }, { id: 'b', status: 404, code: 'GONE' }, 'neither']))
  app.route(bulkRoute({
    url: '/items',
    contract: generic,
    item: Item,
    stream: true,
    onItemError: own,
    handler: ({ id }) => {
      if (id === 2) throw new ItemError('No', { code: 'NO' })
      if (id === 3) throw new Error('broken')
    }
  }))
  return { app, lines }
}

const ids = (...all: unknown[]) => all.map(id => ({ id }))
const postLines = (app: FastifyInstance, all: object[]) => app.inject({
  method: 'POST', url: '/items/stream', headers: { 'content-type': 'application/x-ndjson' }, payload: all.map(one => JSON.stringify(one)).join('\n')
})

/** Everything that is published until the end of the test. */
function listen (t: Test): { batches: BatchEvent[], items: ItemEvent[] } {
  const heard = { batches: [] as BatchEvent[], items: [] as ItemEvent[] }
  for (const [name, list] of Object.entries({ batch: heard.batches, item: heard.items })) {
    const note = (message: unknown) => { list.push(message as never) }
    subscribe(`fastify-multi-status:${name}`, note)
    t.teardown(() => unsubscribe(`fastify-multi-status:${name}`, note))
  }
  return heard
}

t.test('a batch is one line that says how many failed, and which first', async t => {
  const { app, lines } = await buildItems(t)
  await post(app, '/items', ids(1, 2, 3, 'x', null))
  await post(app, '/items', ids(1))
  const ended = lines.filter(({ msg }) => msg === 'batch ended')

  t.match(ended[0], { level: 30, route: '/items', method: 'POST', total: 5, succeeded: 2, failed: 3, ms: Number, failing: [2, 3, null], reqId: String })
  t.match(ended[1], { total: 1, succeeded: 1, failed: 0 })
  t.notOk('failing' in ended[1]!)
  t.equal(lines.filter(({ msg }) => /^item has/.test(msg)).length, 0)
})

t.test('keys in the log are few, short, and cannot pretend to be lines of their own', async t => {
  const { app, lines } = await buildItems(t, { level: 'debug' })
  const evil = `2\n{"level":30}\u001b[2J\u202e${'x'.repeat(1000)}`
  await postLines(app, [...Array.from({ length: 20 }, (_, n) => ({ id: [n] })), ...ids(evil)])

  t.equal((lines.find(({ msg }) => msg === 'batch ended')!.failing as unknown[]).length, 5)
  const { key } = lines.find(({ msg }) => msg === 'item has succeeded')!
  t.equal(key, `${evil.slice(0, 64).replace('\u202e', '\\u202e')}...`)
})

t.test('at debug there is a line for each item too', async t => {
  const { app, lines } = await buildItems(t, { level: 'debug' })
  await post(app, '/items', ids(1, 2, 3))

  t.match(lines.filter(({ msg }) => /^item has/.test(msg)), [
    { level: 20, index: 0, key: 1, failed: false, msg: 'item has succeeded' },
    { level: 20, index: 1, key: 2, failed: true, code: 'NO', msg: 'item has failed' },
    { level: 20, index: 2, key: 3, failed: true, code: 'INTERNAL_ERROR', msg: 'item has failed' }
  ])
})

t.test('whichever way a batch is answered, it is published once, and each of its items', async t => {
  const { app } = await buildItems(t)
  const task = (taskId: number) => ({ taskId, type: 'odd', payload: taskId })
  const ways: [route: string, () => Promise<unknown>, codes: (string | undefined)[]][] = [
    ['/items', () => post(app, '/items', ids(1, 2, 3, null)), [undefined, 'NO', 'INTERNAL_ERROR', 'INVALID_ITEM']],
    ['/items/stream', () => postLines(app, ids(1, 2, 3, null)), [undefined, 'NO', 'INTERNAL_ERROR', 'INVALID_ITEM']],
    ['/plain', () => post(app, '/plain', {}), [undefined, 'GONE', 'INVALID_RESULT']],
    ['/upload', () => post(app, '/upload', { files: ['a.txt', '../b'] }), [undefined, 'FILE_NAME_NOT_ALLOWED']],
    ['/tasks', () => post(app, '/tasks', { tasks: [task(1), task(2)] }), [undefined, 'INTERNAL_ERROR']],
    ['/tasks', () => post(app, '/tasks', { tasks: [task(1), task(2)] }, { prefer: 'respond-async, wait=5' }), [undefined, 'INTERNAL_ERROR']],
    ['/batch', () => post(app, '/batch', { requests: [{ id: '1', url: '/ping' }, { id: '2', url: '/nowhere' }] }), [undefined, 'ROUTE_NOT_FOUND']]
  ]
  for (const [route, call, codes] of ways) {
    const { batches, items } = listen(t)
    await call()
    const failed = codes.filter(code => code !== undefined).length
    t.match(batches, [{ route, method: 'POST', total: codes.length, succeeded: codes.length - failed, failed, isCut: false, request: { url: route } }], route)
    t.equal(batches.length, 1)
    t.ok(batches[0]!.ms >= 0 && batches[0]!.ms < 60_000)
    const inOrder = items.toSorted((a, b) => a.index - b.index)
    t.strictSame(inOrder.map(({ code }) => code), codes, route)
    t.strictSame(inOrder.map(({ failed }) => failed), codes.map(code => code !== undefined))
    t.ok(inOrder.every(item => item.route === route))
  }
})

t.test('a result that does not fit its contract is told of as the failure that it has become', async t => {
  const { app } = await buildItems(t)
  app.route(bulkRoute({ url: '/bad', contract: generic, item: Item, stream: true, handler: () => ({ status: 'pending' }) as never }))
  app.post('/odd', { config: { multiStatus: generic } }, async (_request, reply) => reply.multiStatus([{ id: 1, status: 'pending' }, { id: 2, status: 'success' }]))
  const { items } = listen(t)
  await post(app, '/odd', {})
  await app.inject({ method: 'POST', url: '/bad/stream', headers: { 'content-type': 'application/x-ndjson' }, payload: '{"id":1}' })

  t.match(items.map(({ route, key, failed, code }) => [route, key, failed, code]), [
    ['/odd', null, true, 'INVALID_RESULT'], ['/odd', 2, false, undefined], ['/bad/stream', 1, true, 'INVALID_RESULT']
  ])
})

t.test('a batch that is answered 202 is published when it has ended, and not when it is read', async t => {
  const { app, lines } = await buildItems(t)
  const { batches, items } = listen(t)
  const tasks = [{ taskId: 1, type: 'odd', payload: 1 }, { taskId: 'b', type: 'odd', payload: 2 }]
  const { headers } = await post(app, '/tasks', { tasks }, { prefer: 'respond-async' })
  await waitFor('the end', () => batches.length > 0)
  for (let reads = 0; reads < 2; reads++) t.equal((await app.inject(headers.location!)).statusCode, 207)

  t.match(batches, [{ route: '/tasks', method: 'POST', total: 2, succeeded: 1, failed: 1, request: undefined }])
  t.equal(batches.length, 1)
  t.strictSame(items.map(({ key, code }) => [key, code]), [[1, undefined], ['b', 'INTERNAL_ERROR']])
  t.equal(lines.filter(({ msg }) => msg === 'batch ended').length, 1)
})

t.test('a stream that is cut says so, and where no route was found none is named', async t => {
  const { app, lines } = await buildItems(t)
  const { batches } = listen(t)
  const payload = new Readable({ read () {} })
  payload.push('{"id":1}\n')
  const cut = app.inject({ method: 'POST', url: '/items/stream', headers: { 'content-type': 'application/x-ndjson' }, payload })
  payload.destroy(new Error('gone'))
  await cut.catch(() => {})
  await waitFor('the end', () => batches.length === 1)
  await app.inject('/nowhere')

  t.match(batches, [{ route: '/items/stream', isCut: true }, { route: '', method: 'GET', total: 1, isCut: false }])
  t.match(lines.filter(({ msg }) => msg === 'batch ended')[0], { isCut: true })
})

t.test('nobody looks at an item when nobody wants to hear of it', async t => {
  const app = await build(t)
  let looks = 0
  app.post('/', (_request, reply) => { reply.multiStatus(Array.from({ length: 3 }, (_, id) => ({ id, get status () { looks++; return 'success' } }))) })
  const looksOf = async () => {
    looks = 0
    await app.inject({ method: 'POST', url: '/' })
    return looks
  }
  const quiet = await looksOf()
  listen(t)

  t.equal(await looksOf(), quiet + 3)
})

t.test('onItemError gets every error that has failed an item, and none of an invalid one', async t => {
  const told: [unknown, FailedItem][] = []
  const { app } = await buildItems(t, { onItemError: (error, item) => { told.push([error, item]) } })
  await post(app, '/items', ids('x', 2, null, 3))
  t.match(told, [[{ code: 'NO' }, { index: 1, key: 2, request: { url: '/items' } }], [{ message: 'broken' }, { index: 3, key: 3 }]])

  told.length = 0
  await postLines(app, ids(2))
  await post(app, '/tasks', { tasks: [{ taskId: 7, type: 'odd', payload: 2 }] })
  await post(app, '/plain', {})
  t.match(told, [[{ code: 'NO' }, { index: 0, key: 2 }], [{ message: 'even' }, { index: 0, key: 7, request: null }], [{ code: 'INVALID_RESULT' }, { index: 2 }]])
})

t.test('a route may have an onItemError of its own', async t => {
  const told: string[] = []
  const { app } = await buildItems(t, { onItemError: () => { told.push('plugin') }, own: () => { told.push('route') } })
  await post(app, '/items', ids(2))
  await postLines(app, ids(2))
  t.strictSame(told, ['route', 'route'])
  t.throws(() => bulkRoute({ url: '/', contract: generic, item: Item, handler () {}, onItemError: 7 as never }), { message: /onItemError must be a function; received 7/ })
})

t.test('an onItemError that fails costs nothing but a line in the log', async t => {
  const ways = [() => { throw new Error('hook') }, async () => { throw new Error('hook') }]
  for (const onItemError of ways) {
    const { app, lines } = await buildItems(t, { onItemError })
    const response = await post(app, '/items', ids(1, 2))
    t.equal(response.headers['multi-status'], 'total=2, succeeded=1, failed=1')
    await waitFor('the line', () => lines.some(({ msg }) => msg === 'onItemError has failed'))
    t.match(lines.find(({ msg }) => msg === 'onItemError has failed'), { level: 50, index: 1, err: { message: 'hook' } })
  }
})
