// Every answer is what the published document says: thousands of requests, most of them wrong, to every operation of
// the example server.
import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import t from 'tap'
import { build } from '../examples/server.js'
import { createChecker, type Answer } from './fixtures/answer-check.js'
import { routesIn, type Document, type Route } from './fixtures/openapi.js'
import { bulk, type Call, type MakeTraffic } from './fixtures/traffic.js'
import { lines, onBatch } from './fixtures/traffic-tasks.js'
import { upload } from './fixtures/traffic-upload.js'

/** How many requests all operations get together. */
const REQUESTS = 10_000

/** What is sent at once. */
const AT_ONCE = 10

/** By operationId. */
const TRAFFIC: Record<string, MakeTraffic> = {
  uploadFiles: upload(bulk({ itemsIn: 'files', key: 'file', failed: 'failed', carries: ['key', 'size', 'type', 'sha256'], isLoose: true })),
  runTasks: bulk({ itemsIn: 'tasks', key: 'taskId', failed: 'failed' }),
  createContacts: bulk({ key: 'email', failed: 'rejected', carries: ['contactId'] }),
  createContactsStream: lines,
  getBatch: (...given) => onBatch(batchIds, [202, 207])(...given),
  cancelBatch: (...given) => onBatch(batchIds, [207])(...given),
  followBatch: (...given) => onBatch(batchIds, [200, 204])(...given)
}

const app = await build({ UPLOAD_DIR: t.testdir(), FILE_SIZE_LIMIT: '1kb', TASK_TIMEOUT: '5' })
t.teardown(() => app.close())
await app.listen({ host: '127.0.0.1', port: 0 })

/** Batches that have ended, or are about to. */
const batchIds = await Promise.all([1, 3].map(async count => {
  const tasks = Array.from({ length: count }, (_, taskId) => ({ taskId, type: taskId === 1 ? 'fail' : 'echo', payload: { message: 'No' } }))
  const { statusCode, body } = await app.inject({ method: 'POST', url: '/tasks', headers: { prefer: 'respond-async' }, payload: { tasks } })
  t.equal(statusCode, 202)
  return (JSON.parse(body) as { batchId: string }).batchId
}))

const document: Document = (await app.inject('/documentation/json')).json()
const checker = createChecker(document)
const routes = routesIn(document)
const agent = new Agent({ keepAlive: true })
t.teardown(() => agent.destroy())

const portOf = ({ server }: typeof app) => (server.address() as AddressInfo).port

/** Larger bodies may be refused before they have been sent, which a client of HTTP need not survive. */
const MOST_BYTES = 64 * 1024

async function send (method: string, { path, headers, body }: Call): Promise<Answer> {
  if (body.length > MOST_BYTES) {
    const { statusCode, headers: given, body: answer } = await app.inject({ method: method as 'POST', url: path, headers, payload: body })
    return { status: statusCode, headers: given as Answer['headers'], body: answer }
  }
  const sent = request({ agent, host: '127.0.0.1', port: portOf(app), method, path, headers: { ...headers, 'content-length': body.length } })
  sent.end(body)
  const [response] = await once(sent, 'response') as [IncomingMessage]
  return { status: response.statusCode!, headers: response.headers, body: await text(response) }
}

t.test('every documented operation has requests of its own here', async t => {
  for (const { operation: { operationId }, method, path } of routes) {
    t.ok(operationId in TRAFFIC, `${method} ${path}: TRAFFIC needs a member ${operationId}`)
  }
})

let requests = 0
const seen = new Map<string, number>()

/** Everything that is wrong with the answer to this call. */
async function problemsOf (route: Route, call: Call, check: NonNullable<ReturnType<MakeTraffic>['problemsOf']>): Promise<string[]> {
  const answer = await send(route.method, call)
  const what = `${route.operation.operationId} ${answer.status}`
  requests++
  seen.set(what, (seen.get(what) ?? 0) + 1)
  const problems = checker.problemsOf(route, answer)
  if (answer.status >= 500) problems.push(`the status is ${answer.status}: ${answer.body}`)
  // What is wrong in general is not looked at more closely.
  return problems.length > 0 ? problems : check(call, answer)
}

for (const route of routes) {
  const { operationId } = route.operation
  t.test(`${operationId} answers as the document says, whatever it is asked`, async t => {
    const { calls, problemsOf: check = () => [] } = TRAFFIC[operationId]!(route, checker)
    const property = fc.asyncProperty(fc.array(calls, { minLength: AT_ONCE, maxLength: AT_ONCE }), async calls => {
      const problems = await Promise.all(calls.map(call => problemsOf(route, call, check)))
      const first = problems.findIndex(one => one.length > 0)
      if (first === -1) return
      const { path, headers, body } = calls[first]!
      throw new Error(`${route.method} ${path} ${JSON.stringify(headers)}\n${JSON.stringify(body.toString('latin1').slice(0, 1000))}\n${problems[first]!.join('\n')}`)
    })
    const { failed, errorInstance, seed, counterexamplePath } = await fc.check(property, {
      numRuns: Math.ceil(REQUESTS / routes.length / AT_ONCE), endOnFailure: true
    })
    t.notOk(failed, failed ? `with seed ${seed} and path ${counterexamplePath}: ${String(errorInstance)}` : 'all answers')
  })
}

// What Node's parser and a closing server answer, which no handler of an app ever sees.

/** Sends bytes over a connection of their own and reads what comes back before it ends. */
async function exchange (port: number, bytes: string): Promise<Answer> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  socket.write(bytes)
  return parseAnswer(await text(socket))
}

function parseAnswer (answer: string): Answer {
  const [head, body] = answer.split('\r\n\r\n') as [string, string]
  const [status, ...lines] = head.split('\r\n')
  const headers = lines.map(line => line.split(': ', 2)).map(([name, value]) => [name!.toLowerCase(), value])
  return { status: Number(status!.split(' ')[1]), headers: Object.fromEntries(headers) as Answer['headers'], body }
}

/** What follows the first line of a request. */
const UNREADABLE = { 431: `X: ${'x'.repeat(20_000)}\r\n\r\n`, 400: 'Content-Length: x\r\n\r\n', 408: 'Host: a' }

t.test('a request that cannot be read has an answer that is documented too', async t => {
  const patience = { requestTimeout: 100, http: { headersTimeout: 100, connectionsCheckingInterval: 20 } }
  const impatient = await build({ UPLOAD_DIR: t.testdir() }, patience)
  t.teardown(() => impatient.close())
  await impatient.listen({ host: '127.0.0.1', port: 0 })

  for (const route of routes) {
    for (const [status, rest] of Object.entries(UNREADABLE)) {
      const port = portOf(status === '408' ? impatient : app)
      const answer = await exchange(port, `${route.method} ${route.path} HTTP/1.1\r\n${rest}`)
      t.equal(answer.status, Number(status), `${route.operation.operationId} ${status}`)
      t.strictSame(checker.problemsOf(route, answer), [])
    }
  }
})

t.test('a server that is closing refuses as the document says', async t => {
  for (const route of routes) {
    const closing = await build({ UPLOAD_DIR: t.testdir() })
    let refused: Promise<Answer> | undefined
    closing.addHook('preClose', async () => {
      refused = exchange(portOf(closing), `${route.method} ${route.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      await refused
    })
    await closing.listen({ host: '127.0.0.1', port: 0 })
    await closing.close()

    t.equal((await refused!).status, 503, route.operation.operationId)
    t.strictSame(checker.problemsOf(route, await refused!), [])
  }
})

t.test('there were enough requests, of which some were taken and some refused', async t => {
  t.ok(requests >= REQUESTS, `${requests} requests`)
  t.comment(Object.fromEntries([...seen].sort()))
  for (const { operation: { operationId } } of routes) {
    for (const kind of ['2', '4']) t.ok([...seen.keys()].some(what => what.startsWith(`${operationId} ${kind}`)), `${operationId} ${kind}xx`)
  }
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
})
