// More than the machine can serve: what cannot be taken is refused at once, and what is taken is done right.
import { readdir } from 'node:fs/promises'
import { Agent } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { bulkRoute, disk, generic } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { createGate } from '../../fixtures/gate.js'
import { createSend, KINDS, startLoadServer } from '../../fixtures/load.js'
import { waitFor } from '../../fixtures/wait.js'

const MEGABYTE = 1024 * 1024
const SECONDS = Number(process.env.OVERLOAD_SECONDS ?? 30)
const MAX_IN_FLIGHT = 8

async function buildBusy (t: Test, maxInFlight: number) {
  const gate = createGate()
  t.teardown(gate.open)
  let runs = 0
  const app = await build(t, { plugin: { maxInFlight, closeGrace: 0, upload: { storage: disk({ dir: t.testdir() }) }, batch: { allow: ['/jobs'] } } })
  app.route(bulkRoute({ url: '/jobs', contract: generic, item: Type.Object({ id: Type.Integer() }), stream: true, handler: async () => { runs++; await gate.opened } }))
  app.get('/other', async () => 'as ever')
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
  const open = (path: string, type = 'application/json', body = '[{"id":1}]', length = body.length) => {
    const socket = connect(Number(port), '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n\r\n${body}`)
    return socket
  }
  return { app, gate, open, runs: () => runs }
}

async function firstLine (socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk)
    if (text.includes('\r\n\r\n')) break
  }
  return text
}

t.test('what is too much is refused before its body is there, and nothing of it runs', async t => {
  const { app, open, gate, runs } = await buildBusy(t, 2)
  const taken = [open('/jobs'), open('/jobs')]
  await waitFor('both to run', () => runs() === 2)

  // No more than the header of these comes.
  for (const socket of [open('/jobs', undefined, '', 1000), open('/jobs/stream', 'application/x-ndjson', '', 1000), open('/upload', 'multipart/form-data; boundary=x', '', 500 * MEGABYTE), open('/batch', undefined, '', 1000)]) {
    const answer = await firstLine(socket)
    t.match(answer, /^HTTP\/1\.1 503 /)
    t.match(answer, /\r\nretry-after: 1\r\n/)
  }
  t.strictSame((await app.inject({ method: 'POST', url: '/jobs', payload: [{ id: 1 }] })).json(), {
    statusCode: 503,
    code: 'FST_MULTI_STATUS_TOO_BUSY',
    error: 'Service Unavailable',
    message: 'Expected at most 2 requests with many items to be in progress at a time; there are as many already, so nothing ran'
  })
  t.equal((await app.inject('/other')).body, 'as ever', 'other routes are not counted')
  gate.open()
  for (const socket of taken) t.match(await firstLine(socket), /^HTTP\/1\.1 207 /)
  t.equal(runs(), 2)
})

t.test('there is room again when a request is answered, fails, or is given up by its client', async t => {
  const { app, open, gate, runs } = await buildBusy(t, 1)
  const post = (payload: object) => app.inject({ method: 'POST', url: '/jobs', payload })

  t.equal((await post({})).statusCode, 400)
  const leaving = open('/jobs')
  await waitFor('it to run', () => runs() === 1)
  t.equal((await post([{ id: 1 }])).statusCode, 503)
  leaving.destroy()
  gate.open()
  await waitFor('room', async () => (await post([{ id: 1 }])).statusCode === 207)
  t.equal((await post([{ id: 1 }])).statusCode, 207)
})

t.test('the requests of a batch travel in the place of the batch', async t => {
  const { app, gate } = await buildBusy(t, 1)
  gate.open()
  const requests = ['a', 'b', 'c'].map(id => ({ id, method: 'POST', url: '/jobs', body: [{ id: 1 }] }))

  const response = await app.inject({ method: 'POST', url: '/batch', payload: { requests } })

  t.equal(response.headers['multi-status'], 'total=3, succeeded=3, failed=0')
})

t.test(`ten times as many at a time as are taken, for ${SECONDS} s: nothing crashes, memory is bounded, every answer is true`, { timeout: (SECONDS + 120) * 1000 }, async t => {
  const dir = t.testdir()
  const server = await startLoadServer(t, { dir, busyMs: 2, waitMs: 500, maxInFlight: MAX_IN_FLIGHT })
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const send = createSend(agent, server)
  const kinds = Object.values(KINDS)
  const counts = { served: 0, refused: 0, runs: 0 }
  const stored: string[] = []
  const problems: string[] = []
  let end = 0

  /** Asks again and again, and whatever Retry-After says. */
  async function hammer (lane: number): Promise<void> {
    for (let turn = lane; performance.now() < end && problems.length === 0; turn++) {
      try {
        const served = await kinds[turn % kinds.length]!(send)
        counts[served === undefined ? 'refused' : 'served']++
        counts.runs += served?.runs ?? 0
        stored.push(...served?.files ?? [])
        // The client has to share the machine.
        if (served === undefined) await setTimeout(20)
      } catch (error) {
        problems.push(String(error))
      }
    }
  }
  async function load (lanes: number, seconds: number): Promise<void> {
    end = performance.now() + seconds * 1000
    await Promise.all(Array.from({ length: lanes }, (_, lane) => hammer(lane)))
  }

  await load(MAX_IN_FLIGHT / 2, 3)
  t.equal(counts.refused, 0, 'what fits is never refused')
  const before = await server.look()
  let highest = before.rss
  const watching = setInterval(async () => { highest = Math.max(highest, (await server.look()).rss) }, 1000)
  await load(MAX_IN_FLIGHT * 10, SECONDS).finally(() => clearInterval(watching))
  const after = await server.look()

  t.strictSame(problems, [])
  t.ok(server.isAlive())
  t.comment(JSON.stringify(counts))
  t.ok(counts.served > 0 && counts.refused >= 9 * MAX_IN_FLIGHT, 'most are refused, and some are served')
  t.equal(after.runs, counts.runs, 'nothing has run of what was refused')
  t.strictSame((await readdir(dir)).sort(), stored.sort())
  t.ok(highest - before.rss < 256 * MEGABYTE, `${Math.round((highest - before.rss) / MEGABYTE)} MiB more at most`)
  t.ok(after.heapUsed - before.heapUsed < 16 * MEGABYTE, `${Math.round((after.heapUsed - before.heapUsed) / MEGABYTE)} MiB more in the end`)
  for (const kind of kinds) t.ok(await kind(send), 'and it serves as before')
})
