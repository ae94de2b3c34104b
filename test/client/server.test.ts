// The client with the example server.
import t from 'tap'
import { build } from '../../examples/server.js'
import { partition, readStream, watchBatch, type BatchEvent } from '../../lib/client/index.js'
import type { TaskResult } from '../../lib/index.js'

const app = await build({ UPLOAD_DIR: t.testdir(), TASK_TIMEOUT: '200' }, {})
t.teardown(() => app.close())
const address = await app.listen({ host: '127.0.0.1', port: 0 })

const post = (path: string, body: string, headers: Record<string, string>) => fetch(address + path, { method: 'POST', body, headers })

interface TasksBody { tasks: TaskResult[] }

t.test('follows an accepted batch to its end', async t => {
  const tasks = [
    { taskId: 1, type: 'echo', payload: 'hi' }, { taskId: 2, type: 'sleep', payload: { ms: 50 } },
    { taskId: 3, type: 'sleep', payload: { ms: 5_000 } }, { taskId: 4, type: 'nonsense' }
  ]
  const accepted = await post('/tasks', JSON.stringify({ tasks }), { 'content-type': 'application/json', prefer: 'respond-async' })
  t.equal(accepted.status, 202)
  const url = address + accepted.headers.get('location')!

  const events: BatchEvent<TasksBody>[] = []
  for await (const event of watchBatch<TasksBody>(url)) events.push(event)

  t.strictSame(events.map(({ type }) => type), ['result', 'result', 'result', 'result', 'done'])
  const done = events.at(-1) as BatchEvent<TasksBody> & { type: 'done' }
  t.strictSame(done.summary, { total: 4, succeeded: 2, failed: 2, pending: 0 })
  t.strictSame(done.body, await (await fetch(url)).json())
  const { succeeded, failed, retryable } = partition(done.body)
  t.strictSame([succeeded, failed, retryable].map(results => results.map(({ taskId }) => taskId)), [[1, 2], [3, 4], [3]])
})

t.test('reads a stream line by line, with its summary', async t => {
  const response = await post('/contacts/stream', '{"email":"ada@example.org","name":"Ada"}\nno JSON\n', { 'content-type': 'application/x-ndjson' })
  const stream = readStream<{ email: string | null, status: string }>(response)
  const results: object[] = []
  let next = await stream.next()
  for (; !next.done; next = await stream.next()) results[next.value.index] = next.value

  t.match(results, [{ email: 'ada@example.org', status: 'created' }, { email: null, status: 'rejected' }])
  t.strictSame(next.value, { total: 2, succeeded: 1, failed: 1 })
})
