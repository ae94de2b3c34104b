// When things break: each row of the table in the README, by the tests that hold it true.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { mock } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { S3Client } from '@aws-sdk/client-s3'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { bulkRoute, defineContract, generic, ItemError, memoryIdempotency } from '../lib/index.js'
import { s3 } from '../lib/upload/storage/s3.js'
import { build, type LogLine } from './fixtures/build.js'
import { openEvents, readEvents } from './fixtures/events.js'
import { createGate } from './fixtures/gate.js'
import { skipUnless } from './fixtures/skip.js'
import { missingTitles } from './fixtures/titles.js'
import { waitFor } from './fixtures/wait.js'

// Titles stand here as they are written in the tests.
/* eslint-disable no-template-curly-in-string */

/** By the first cell of each row of the table, the tests of what the others say. */
const ROWS: Record<string, string[]> = {
  'the client disconnects': [
    'when the client disconnects, what runs is aborted and the rest is not started',
    'a client that goes in the middle of a file leaves nothing of it',
    'a client that goes away leaves an accepted batch alone',
    'replays the answer to a client that was disconnected',
    'of a client that went away the log has no error'
  ],
  'a handler hangs': [
    'an item that hangs fails with Timeout, and its signal says so',
    'a timed out item frees its slot, although its worker goes on',
    'the log has one line for each item that failed inside: which one, and why'
  ],
  'a handler throws anything at all': [
    'a handler that throws or returns anything at all costs no other item',
    'whatever is thrown is a failure that says nothing of it to the client, and is logged',
    'the log has one line for each item that failed inside: which one, and why'
  ],
  'a handler returns garbage': [
    'a result that does not fit becomes one failure, and the others survive: ${name}',
    'an output that JSON cannot hold costs its own task only',
    'the log has one line for each item that failed inside: which one, and why'
  ],
  'the storage is full': [
    'a disk that is really full fails the file that does not fit, keeps nothing of it, and takes what does fit',
    'a step that fails costs the one file, and nothing of it stays'
  ],
  'the storage stalls': [
    'an object storage that takes a connection and says nothing fails the file when its time is up',
    'a storage that stalls in ${step} fails the one file when its time is up',
    'a file that a storage opens too late is removed'
  ],
  'the process is killed': [
    '${KILLS} kills at random moments lose no file that was reported uploaded, and show no half of one',
    'a worker that is killed midway costs no result',
    'a web process that is killed midway: the batch is still at its Location'
  ],
  'Redis is lost': [
    'a Redis that is killed midway and comes back costs no result',
    'without Redis an app starts, answers 503 at once, and closes',
    'runs nothing while Redis is down, and runs again when it is back'
  ],
  'the client reads slowly': [
    'items are read no faster than results are',
    'a follower that does not read is dropped, holds up nobody, and can come back',
    'a client that does not read its answer keeps no app from closing'
  ],
  'the client writes slowly': [
    'a client that says no more gets the results so far, and its connection is closed',
    'a storage that is slower than the client is patient is not the fault of the client'
  ],
  'the app closes': [
    'a closing app waits for its batches within closeGrace',
    'when closeGrace is over the batches are aborted, and their clients still get a 207',
    'app.close() lets accepted batches end within the grace period',
    'an app that closes answers for the file that is on its way, and leaves nothing of it',
    'a closing app cuts a stream when its grace is over: no summary, and the connection does not stay',
    'a handler that is slower than the app may close still has its answer sent'
  ],
  'the clock jumps': [
    'a clock that jumps by ${hours} hours changes nothing: not a timeout, a wait, a sign of life, a key or a time to live'
  ],
  'items end in any order': [
    'outcomes come in the order of the items, whatever finishes first',
    'results come in the order in which they are done',
    'outcomes in another order are never taken for those of another item'
  ]
}

t.test('every row of the table has its tests, and every test that it names is there', async t => {
  const readme = await readFile(join(import.meta.dirname, '..', 'README.md'), 'utf8')
  const [, section = ''] = /^## When things break\n(.*?)^## /ms.exec(readme) ?? []
  const rows = [...section.matchAll(/^\| ([^|]+?) \|/gm)].map(([, cell]) => cell!)
  t.strictSame(rows.sort(), Object.keys(ROWS).sort())

  t.strictSame(await missingTitles(Object.values(ROWS).flat()), [])
})

const HOUR = 3_600_000

const jobs = defineContract({ name: 'Job', key: 'id', success: 'done', failure: 'failed', reason: 'why' })
const Job = Type.Object({ id: Type.String() })

for (const hours of [5, -5]) {
  t.test(`a clock that jumps by ${hours} hours changes nothing: not a timeout, a wait, a sign of life, a key or a time to live`, async t => {
    const gate = createGate()
    let runs = 0
    const app = await build(t, {
      plugin: {
        idempotency: { store: memoryIdempotency() },
        tasks: {
          ttl: 2_000,
          timeout: 300,
          heartbeat: 50,
          handlers: {
            wait: { handler: () => gate.opened, timeout: 60_000 },
            hang: { handler: () => new Promise(() => {}) }
          }
        }
      }
    })
    app.route(bulkRoute({ url: '/jobs', contract: jobs, item: Job, handler: async () => { runs++; await gate.opened } }))
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const submit = (prefer: string) => app.inject({
      method: 'POST', url: '/tasks', headers: { prefer }, payload: { tasks: ['wait', 'hang'].map(type => ({ taskId: type, type })) }
    })
    const post = () => app.inject({ method: 'POST', url: '/jobs', headers: { 'idempotency-key': 'k' }, payload: [{ id: 'a' }] })

    const location = (await submit('respond-async')).headers.location as string
    const waiting = submit('respond-async, wait=1')
    const running = post()
    await waitFor('the job to run', () => runs === 1)
    const events = readEvents(await openEvents(`${origin}${location}/events`))
    await events.next()
    jump(t, hours)

    let signs = 0
    while (signs < 2) if ((await events.next()).value!.comment !== undefined) signs++
    await events.return(undefined)
    t.equal((await waiting).statusCode, 202, 'a client waits no longer than it has said')
    t.equal((await post()).statusCode, 409, 'a key is held for as long as its request runs')
    t.equal((await app.inject(location)).json().summary.failed, 1, 'what hangs has timed out')
    t.ok(Number((await app.inject(location)).headers['retry-after']) >= 1)

    gate.open()
    t.strictSame((await running).json(), { results: [{ id: 'a', status: 'done' }] })
    t.equal((await post()).headers['idempotency-replayed'], 'true')
    t.equal(runs, 1)
    let ended = await app.inject(location)
    await waitFor('the end of the batch', async () => (ended = await app.inject(location)).statusCode === 207)
    t.strictSame(ended.json().tasks.map(({ status, code }: { status: string, code?: string }) => code ?? status), ['completed', 'TIMEOUT'])
    await waitFor('the batch to expire', async () => (await app.inject(location)).statusCode === 410)
  })
}

/** The clock of this process alone, as no test may set that of the machine. */
function jump (t: Test, hours: number): void {
  mock.timers.enable({ apis: ['Date'], now: Date.now() + hours * HOUR })
  t.teardown(() => mock.timers.reset())
}

/** A shell command in which it is allowed to mount, and what it mounts is gone with it. */
const MOUNTING = ['--user', '--map-root-user', '--mount', 'sh', '-c'] as const
const canMount = spawnSync('unshare', [...MOUNTING, 'mount -t tmpfs none /mnt']).status === 0

t.test('a disk that is really full fails the file that does not fit, keeps nothing of it, and takes what does fit', {
  skip: skipUnless(canMount, 'right to mount a file system')
}, async t => {
  const dir = t.testdir()
  const command = `mount -t tmpfs -o size=1m none "$UPLOAD_DIR" && exec "${process.execPath}" --import tsx ${join(import.meta.dirname, 'fixtures', 'upload-server.ts')}`
  const server = spawn('unshare', [...MOUNTING, command], {
    env: { PATH: process.env.PATH, UPLOAD_DIR: dir, LOG_LEVEL: 'error', _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(async () => {
    server.kill('SIGKILL')
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
  })
  const lines = createInterface(server.stdout)[Symbol.asyncIterator]()
  const { value: port } = await lines.next() as { value: string }

  const answer = await upload(`http://127.0.0.1:${port}`, { 'a.bin': 300_000, 'large.bin': 2_000_000, 'b.bin': 300_000 })

  t.match(answer, [
    { file: 'a.bin', status: 'uploaded', size: 300_000 },
    { file: 'large.bin', status: 'failed', error: 'Storage full', code: 'STORAGE_FULL', statusCode: 507, retryable: true },
    { file: 'b.bin', status: 'uploaded', size: 300_000 }
  ])
  t.match(JSON.parse((await lines.next()).value as string), {
    level: 50, msg: 'item failed', code: 'STORAGE_FULL', index: 1, key: 'large.bin', err: { message: /Storage full.*ENOSPC/ }
  })
  t.strictSame((await readdir(`/proc/${server.pid}/root${dir}`)).sort(), [answer[0]!.key, answer[2]!.key].sort())
})

t.test('an object storage that takes a connection and says nothing fails the file when its time is up', async t => {
  const lines: LogLine[] = []
  const silent = await listen(t, createServer(socket => socket.on('error', () => {}).resume()))
  const client = new S3Client({ endpoint: silent, region: 'x', forcePathStyle: true, credentials: { accessKeyId: 'x', secretAccessKey: 'x' } })
  t.teardown(() => client.destroy())
  const app = await build(t, {
    plugin: { upload: { storage: s3({ client, bucket: 'b' }), storageTimeout: 300 } }, onLog: line => lines.push(line)
  })

  const answer = await upload(await app.listen({ host: '127.0.0.1', port: 0 }), { 'a.bin': 10 })

  t.strictSame(answer, [{ file: 'a.bin', status: 'failed', error: 'Storage timeout', code: 'STORAGE_TIMEOUT', statusCode: 504, retryable: true }])
  t.match(lines.filter(({ level }) => level >= 50), [{ msg: 'item failed', code: 'STORAGE_TIMEOUT', index: 0, key: 'a.bin' }])
})

/** Sends files of so many bytes, and gives back their results. */
async function upload (origin: string, files: Record<string, number>): Promise<Record<string, unknown>[]> {
  const form = new FormData()
  for (const [name, bytes] of Object.entries(files)) form.append('files', new Blob([Buffer.alloc(bytes, 'x')]), name)
  const response = await fetch(`${origin}/upload`, { method: 'POST', body: form })
  return (await response.json() as { results: Record<string, unknown>[] }).results
}

async function listen (t: Test, server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('a client that does not read its answer keeps no app from closing', async t => {
  const app = await build(t, { plugin: { closeGrace: 50 } })
  const large = defineContract({ name: 'Large', key: 'id', success: 'done', failure: 'failed', reason: 'why', data: Type.Object({ text: Type.String() }) })
  app.route(bulkRoute({ url: '/jobs', contract: large, item: Job, handler: () => ({ text: 'x'.repeat(20_000) }) }))
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
  const socket = connect(Number(port), '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.destroy())
  const body = JSON.stringify(Array.from({ length: 1000 }, (_, id) => ({ id: String(id) })))
  socket.write(`POST /jobs HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  await once(socket, 'readable')

  await app.close()

  t.equal(await connections(app), 0)
})

t.test('a handler that is slower than the app may close still has its answer sent', async t => {
  const app = await build(t, { plugin: { closeGrace: 0 } })
  app.post('/', async (_request, reply) => {
    const signal = reply.batchSignal()
    app.close()
    if (!signal.aborted) await once(signal, 'abort')
    // Longer than an answer that is there has to be sent.
    await setTimeout(1_500)
    return reply.multiStatus([generic.succeed(1)])
  })

  const response = await fetch(await app.listen({ host: '127.0.0.1', port: 0 }), { method: 'POST' })

  t.strictSame(await response.json(), { results: [{ id: 1, status: 'success' }] })
})

t.test('the log has one line for each item that failed inside: which one, and why', async t => {
  const lines: LogLine[] = []
  const app = await build(t, { onLog: line => lines.push(line) })
  const work: Record<string, () => unknown> = {
    throws: () => { throw new Error('secret') },
    nothing: () => { throw undefined }, // eslint-disable-line no-throw-literal
    hangs: () => new Promise(() => {}),
    garbage: () => ({ n: 'secret' }),
    taken: () => { throw new ItemError('Taken', { statusCode: 409 }) },
    good: () => ({ n: 1 })
  }
  const counted = defineContract({ name: 'Count', key: 'id', success: 'done', failure: 'failed', reason: 'why', data: Type.Object({ n: Type.Integer() }) })
  app.route(bulkRoute({ url: '/jobs', contract: counted, item: Job, timeout: 50, handler: ({ id }) => work[id]!() as { n: number } }))

  const response = await app.inject({ method: 'POST', url: '/jobs', payload: [...Object.keys(work).map(id => ({ id })), { id: 5 }] })

  const results = response.json().results as { id: unknown, code?: string }[]
  t.strictSame(results.map(({ id, code }) => [id, code]), [
    ['throws', 'INTERNAL_ERROR'], ['nothing', 'INTERNAL_ERROR'], ['hangs', 'TIMEOUT'], ['garbage', 'INVALID_RESULT'],
    ['taken', 'ITEM_FAILED'], ['good', undefined], [5, 'INVALID_ITEM']
  ])
  t.notMatch(response.body, 'secret')
  const errors = lines.filter(({ level }) => level >= 50).sort((a, b) => Number(a.index) - Number(b.index))
  t.strictSame(errors.map(({ msg, index, key, code }) => [msg, index, key, code]), [
    ['item failed', 0, 'throws', 'INTERNAL_ERROR'], ['item failed', 1, 'nothing', 'INTERNAL_ERROR'],
    ['item failed', 2, 'hangs', 'TIMEOUT'], ['item failed', 3, 'garbage', 'INVALID_RESULT']
  ])
  t.match(errors[0], { err: { message: 'secret', stack: /faults/ } })
})

t.test('of a client that went away the log has no error', async t => {
  const lines: LogLine[] = []
  const app = await build(t, { onLog: line => lines.push(line) })
  const [started, ended] = [createGate(), createGate()]
  app.route(bulkRoute({
    url: '/jobs',
    contract: jobs,
    item: Job,
    async handler (_, { signal }) {
      started.open()
      await once(signal, 'abort')
      ended.open()
    }
  }))
  const leaving = new AbortController()
  const sent = fetch(`${await app.listen({ host: '127.0.0.1', port: 0 })}/jobs`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '[{"id":"a"}]', signal: leaving.signal
  })
  await started.opened

  leaving.abort()

  await t.rejects(sent, { name: 'AbortError' })
  await ended.opened
  await app.close()
  t.strictSame(lines.filter(({ level }) => level >= 40), [])
})

function connections (app: FastifyInstance): Promise<number> {
  return new Promise((resolve, reject) => app.server.getConnections((error, count) => error ? reject(error) : resolve(count)))
}
