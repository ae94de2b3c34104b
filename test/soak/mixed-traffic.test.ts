// Mixed traffic, right and wrong, for some time: every answer is true, and no file, socket, timer or memory stays behind.
// SOAK_SECONDS says for how long.
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { Agent, request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createChecker } from '../fixtures/answer-check.js'
import { openEvents, readEvents } from '../fixtures/events.js'
import { createSend, KINDS, startLoadServer, type Answer, type LoadServer, type Send } from '../fixtures/load.js'
import { routesIn, type Document } from '../fixtures/openapi.js'
import { bulk, type Call, type MakeTraffic } from '../fixtures/traffic.js'
import { lines } from '../fixtures/traffic-tasks.js'
import { upload } from '../fixtures/traffic-upload.js'
import { fieldPart, filePart, FORM } from '../fixtures/upload.js'
import { waitFor } from '../fixtures/wait.js'

const MEGABYTE = 1024 * 1024
const SECONDS = Number(process.env.SOAK_SECONDS ?? 90)
const CLIENTS = 8

/** By operationId; what they send is mostly wrong. */
const TRAFFIC: Record<string, MakeTraffic> = {
  uploadFiles: upload(bulk({ itemsIn: 'files', key: 'file', failed: 'failed', carries: ['key', 'size', 'type', 'sha256'], isLoose: true })),
  runTasks: bulk({ itemsIn: 'tasks', key: 'taskId', failed: 'failed' }),
  createContacts: bulk({ key: 'email', failed: 'rejected', carries: ['contactId'] }),
  createContactsStream: lines
}

/** Some of all that, in random order; throws when an answer is not as the document says. */
async function strangers (send: Send): Promise<() => Promise<void>> {
  const document = JSON.parse((await send('/documentation/json', '', '', {}, 'GET')).body) as Document
  const checker = createChecker(document)
  const routes = routesIn(document).filter(({ operation: { operationId } }) => operationId in TRAFFIC)
  const sources = routes.map(route => ({ route, ...TRAFFIC[route.operation.operationId]!(route, checker) }))
  return async () => {
    for (const { route, calls, problemsOf = () => [] } of sources) {
      for (const { path, headers: { 'content-type': type = '', ...headers }, body } of fc.sample(calls as fc.Arbitrary<Call>, 3)) {
        // Larger bodies may be refused before they have been sent, which a client of HTTP need not survive.
        if (body.length > 64 * 1024) continue
        const answer: Answer = await send(path, type, body, headers)
        const general = answer.status >= 500 ? [`the status is ${answer.status}`] : checker.problemsOf(route, answer)
        const problems = general.length > 0 ? general : problemsOf({ path, headers: { 'content-type': type, ...headers }, body }, answer)
        if (problems.length > 0) throw new Error(`${path} ${JSON.stringify(headers)} ${body.toString().slice(0, 500)}: ${problems.join('; ')}`)
      }
    }
  }
}

/** A batch that is accepted, followed for a while by somebody who leaves, then read or cancelled, and forgotten. */
async function accepted ({ port }: LoadServer, send: Send): Promise<void> {
  const tasks = ['echo', 'hang', 'fail', 'echo'].map((type, taskId) => ({ taskId, type, payload: taskId }))
  const { status, headers: { location } } = await send('/tasks', 'application/json', JSON.stringify({ tasks }), { prefer: 'respond-async' })
  if (status !== 202) throw new Error(`Expected 202; received ${status}`)
  const events = await openEvents(`http://127.0.0.1:${port}${location!}/events`)
  for await (const { id } of readEvents(events)) if (id !== undefined) break
  if (Math.random() < 0.5) await send(location!, '', '', {}, 'DELETE')
  let body: { tasks: { taskId: number, status: string, output?: unknown }[] } | undefined
  await waitFor('the end of a batch', async () => {
    const answer = await send(location!, '', '', {}, 'GET')
    if (answer.status === 207) body = JSON.parse(answer.body) as typeof body
    // On a busy machine it may have expired meanwhile.
    return answer.status === 207 || answer.status === 410
  })
  for (const [index, { taskId, status, output }] of (body?.tasks ?? []).entries()) {
    const isRight = taskId === index && (status === 'failed' || (tasks[index]!.type === 'echo' && output === index))
    if (!isRight) throw new Error(`Task ${index}: ${JSON.stringify(body)}`)
  }
}

/** Clients that go away: in the middle of what they send, of what they wait for, and of what they read. */
async function leavers ({ port }: LoadServer): Promise<void> {
  const half = Buffer.concat([filePart('whole.txt'), fieldPart('a'), filePart('cut.bin', Buffer.alloc(15_000))]).subarray(0, 12_000)
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  socket.write(`POST /upload HTTP/1.1\r\nhost: a\r\ncontent-type: ${FORM}\r\ncontent-length: 99999\r\n\r\n`)
  socket.write(half)
  await setTimeout(Math.random() * 50)
  socket.destroy()

  const hanging = JSON.stringify({ tasks: Array.from({ length: 20 }, (_, taskId) => ({ taskId, type: 'hang' })) })
  const waiting = request({ port, host: '127.0.0.1', method: 'POST', path: '/tasks', agent: false, headers: { 'content-type': 'application/json' } }).on('error', () => {})
  waiting.end(hanging)
  await setTimeout(Math.random() * 50)
  waiting.destroy()

  const reading = request({ port, host: '127.0.0.1', method: 'POST', path: '/contacts/stream', agent: false, headers: { 'content-type': 'application/x-ndjson' } }).on('error', () => {})
  reading.end('{"email":"ada@example.org"}\n'.repeat(200))
  const [response] = await once(reading, 'response') as [IncomingMessage]
  response.on('error', () => {})
  await once(response, 'data')
  response.destroy()
}

async function measureAtRest (t: Test, server: LoadServer, dir: string) {
  let last = await server.look()
  await waitFor('everything to end', async () => {
    last = await server.look()
    const hasTemporary = (await readdir(dir)).some(name => name.startsWith('.'))
    return last.connections === 0 && (last.resources.Timeout ?? 0) === 0 && !hasTemporary
  })
  t.comment(JSON.stringify(last))
  return last
}

t.test(`${SECONDS} s of mixed traffic: every answer is true, and nothing is left of it`, { timeout: (SECONDS + 240) * 1000 }, async t => {
  const dir = t.testdir()
  const server = await startLoadServer(t, { dir, busyMs: 0, waitMs: 5, maxInFlight: 1000 })
  const problems: string[] = []
  const counts: Record<string, number> = {}

  async function round (seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000
    const agent = new Agent({ keepAlive: true })
    const send = createSend(agent, server)
    const acts: Record<string, () => Promise<unknown>> = {
      ...Object.fromEntries(Object.entries(KINDS).map(([name, kind]) => [name, async () => kind(send)])),
      strangers: await strangers(send),
      accepted: async () => accepted(server, send),
      leavers: async () => leavers(server)
    }
    const names = Object.keys(acts)
    await Promise.all(Array.from({ length: CLIENTS }, async (_, client) => {
      for (let turn = client; performance.now() < end && problems.length === 0; turn++) {
        const name = names[turn % names.length]!
        counts[name] = (counts[name] ?? 0) + 1
        await acts[name]!().catch(error => problems.push(`${name}: ${String(error)}`))
      }
    })).finally(() => agent.destroy())
  }

  await round(Math.max(5, SECONDS / 5))
  const before = await measureAtRest(t, server, dir)
  await round(SECONDS)
  const after = await measureAtRest(t, server, dir)

  t.strictSame(problems, [])
  t.ok(server.isAlive())
  t.comment(JSON.stringify(counts))
  for (const [name, count] of Object.entries(counts)) t.ok(count > 2, `${count} times ${name}`)
  t.strictSame(after.resources, before.resources, 'as many handles, sockets and timers as at the beginning')
  const growth = (after.heapUsed - before.heapUsed) / MEGABYTE
  t.ok(growth < 8, `${growth.toFixed(1)} MiB more on the heap`)
})
