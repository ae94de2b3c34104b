// Connections that end: the app closes, or the client disconnects, while a request is in progress.
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { bulkRoute, defineContract, generic } from '../../../lib/index.js'
import { build, type LogLine } from '../../fixtures/build.js'
import { createGate } from '../../fixtures/gate.js'

const jobs = defineContract({ name: 'Job', key: 'id', success: 'done', failure: 'failed', reason: 'why' })
const Job = Type.Object({ id: Type.String() })

t.test('an app closes although a client does not read its answer', async t => {
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

t.test('the answer of a handler that ends after closeGrace is still sent', async t => {
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

t.test('a client that disconnects leaves no error in the log', async t => {
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
