// Admission: beyond maxInFlight a request is refused at once, before its body is read, and there is room again when one ends.
import { connect, type Socket } from 'node:net'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { bulkRoute, disk, generic } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { createGate } from '../../fixtures/gate.js'
import { waitFor } from '../../fixtures/wait.js'

const MEGABYTE = 1024 * 1024

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

t.test('a request beyond maxInFlight is refused before its body arrives, and nothing of it runs', async t => {
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

t.test('there is room for a new request when one is answered, fails, or loses its client', async t => {
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

t.test('the requests of a batch count as one request', async t => {
  const { app, gate } = await buildBusy(t, 1)
  gate.open()
  const requests = ['a', 'b', 'c'].map(id => ({ id, method: 'POST', url: '/jobs', body: [{ id: 1 }] }))

  const response = await app.inject({ method: 'POST', url: '/batch', payload: { requests } })

  t.equal(response.headers['multi-status'], 'total=3, succeeded=3, failed=0')
})
