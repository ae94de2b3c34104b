// The example server: built in process, and started as `npm start` does, with the curl lines that it prints.
import { access, mkdtemp, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { build, welcome } from '../../examples/server.js'
import { startWhenRun, whereToListen } from '../../examples/start.js'
import { example, shell, start } from '../fixtures/example-process.js'
import { root } from '../fixtures/root.js'
import { freePort } from '../fixtures/wait.js'

async function buildServer (t: Test, env: Record<string, string> = {}) {
  const UPLOAD_DIR = await mkdtemp(join(t.testdir(), 'uploads-'))
  const app = await build({ UPLOAD_DIR, ...env }, {})
  t.teardown(() => app.close())
  return { app, dir: UPLOAD_DIR }
}

t.test('three files, the middle one too large: the other two are uploaded', async t => {
  const { app, dir } = await buildServer(t, { FILE_SIZE_LIMIT: '1kb' })
  const form = new FormData()
  for (const [name, size] of [['a.txt', 1024], ['b.txt', 1025], ['c.txt', 1]] as const) {
    form.append('files', new Blob(['x'.repeat(size)], { type: 'text/plain' }), name)
  }
  const request = new Request('http://localhost', { method: 'POST', body: form })

  const response = await app.inject({
    method: 'POST',
    url: '/upload',
    headers: { 'content-type': request.headers.get('content-type')! },
    payload: Buffer.from(await request.arrayBuffer())
  })

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=3, succeeded=2, failed=1')
  t.match(response.json().results, [
    { file: 'a.txt', status: 'uploaded', size: 1024 },
    { file: 'b.txt', status: 'failed', error: 'File too large', code: 'FILE_TOO_LARGE', statusCode: 413, retryable: false },
    { file: 'c.txt', status: 'uploaded', size: 1 }
  ])
  t.equal((await readdir(dir)).length, 2)
})

t.test('the four types of task do what they are for', async t => {
  const { app } = await buildServer(t, { TASK_TIMEOUT: '50' })

  const response = await app.inject({
    method: 'POST',
    url: '/tasks',
    payload: {
      tasks: [
        { taskId: 1, type: 'echo', payload: { any: ['thing', null] } },
        { taskId: 2, type: 'sleep', payload: { ms: 1 } },
        { taskId: 3, type: 'sleep', payload: { ms: 60_000 } },
        { taskId: 4, type: 'fail', payload: { message: 'No such image' } },
        { taskId: 5, type: 'sha256', payload: { text: 'hello' } },
        { taskId: 6, type: 'sleep', payload: { ms: 60_001 } }
      ]
    }
  })

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=6, succeeded=3, failed=3')
  t.strictSame(response.json(), {
    tasks: [
      { taskId: 1, status: 'completed', output: { any: ['thing', null] } },
      { taskId: 2, status: 'completed' },
      { taskId: 3, status: 'failed', reason: 'Timeout', code: 'TIMEOUT', statusCode: 504, retryable: true },
      { taskId: 4, status: 'failed', reason: 'No such image', code: 'ITEM_FAILED', statusCode: 422, retryable: false },
      { taskId: 5, status: 'completed', output: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824' },
      {
        taskId: 6,
        status: 'failed',
        reason: 'Invalid data',
        code: 'INVALID_ITEM',
        statusCode: 422,
        retryable: false,
        errors: [{ pointer: '#/payload/ms', detail: 'must be <= 60000' }]
      }
    ]
  })
})

t.test('contacts are created, rejected when invalid, and rejected when their email is taken', async t => {
  const { app } = await buildServer(t)
  const post = (payload: object[]) => app.inject({ method: 'POST', url: '/contacts', payload })

  const first = await post([{ email: 'ada@example.org', name: 'Ada' }, { email: 'nonsense', name: 'Eve' }, { email: 'bob@example.org', name: 'Bob' }])
  const second = await post([{ email: 'ada@example.org', name: 'Ada again' }])

  t.equal(first.statusCode, 207)
  t.strictSame(first.json(), {
    results: [
      { email: 'ada@example.org', status: 'created', contactId: 1 },
      {
        email: 'nonsense',
        status: 'rejected',
        message: 'Invalid data',
        code: 'INVALID_ITEM',
        statusCode: 422,
        retryable: false,
        errors: [{ pointer: '#/email', detail: 'must match format "email"' }]
      },
      { email: 'bob@example.org', status: 'created', contactId: 2 }
    ]
  })
  t.equal(second.statusCode, 207)
  t.strictSame(second.json().results, [
    { email: 'ada@example.org', status: 'rejected', message: 'Email taken', code: 'EMAIL_TAKEN', statusCode: 409, retryable: false }
  ])
})

t.test('a variable that is empty counts as not set, and a wrong one is refused by name', async t => {
  const { app } = await buildServer(t, { FILE_SIZE_LIMIT: '', TASK_TIMEOUT: '' })

  const { paths } = (await app.inject('/documentation/json')).json()

  t.match(paths['/upload'].post.description, 'At most 10 MB a file, 100 files and 1 GB a request, 255 bytes a name.')
  await t.rejects(() => build({ TASK_TIMEOUT: 'soon' }), { message: /tasks\.timeout must be an integer.*received NaN/ })
  await t.rejects(() => build({ FILE_SIZE_LIMIT: 'huge' }), { message: /upload\.limits\.fileSize must be.*received "huge"/ })
})

t.test('where nothing is said it listens at port 3000 of this machine only', async t => {
  t.strictSame(whereToListen({}), { host: '127.0.0.1', port: 3000 })
  t.strictSame(whereToListen({ HOST: '', PORT: '' }), { host: '127.0.0.1', port: 3000 })
  t.strictSame(whereToListen({ HOST: '::', PORT: '0' }), { host: '::', port: 0 })
})

t.test('an example listens when it is the program that runs, and closes when that is asked to end', async t => {
  const printed = t.capture(console, 'log')
  t.intercept(process, 'env', { value: { PORT: String(await freePort()) } })

  t.equal(await startWhenRun('file:///another.js', build), undefined)
  t.strictSame(printed(), [])
  const close = await startWhenRun(pathToFileURL(process.argv[1]!).href, () => build({ UPLOAD_DIR: t.testdir() }, {}))
  const [address] = /http:\S+/.exec(String(printed()[0]!.args[0]))!

  t.equal((await fetch(`${address}/documentation/json`)).status, 200)
  t.equal(process.listeners('SIGTERM').includes(close!), true)
  await close!()
  process.off('SIGTERM', close!).off('SIGINT', close!)
  await t.rejects(fetch(address))
})

t.test('npm start starts it with the environment that it is given', async t => {
  const UPLOAD_DIR = join(t.testdir(), 'elsewhere')
  const { address, output } = await start(t, ['npm', 'start'], {
    HOST: '127.0.0.1',
    UPLOAD_DIR,
    FILE_SIZE_LIMIT: '4b',
    TASK_TIMEOUT: '20'
  })
  const post = async (path: string, payload: object) => {
    const response = await fetch(address + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(payload) })
    return { status: response.status, body: await response.json() as Record<string, unknown[]> }
  }
  const content = (text: string) => Buffer.from(text).toString('base64')

  const uploaded = await post('/upload', { files: [{ file: 'a.txt', content: content('four') }, { file: 'b.txt', content: content('fives') }] })
  const ran = await post('/tasks', { tasks: [{ taskId: 1, type: 'sleep', payload: { ms: 30_000 } }] })

  t.match(output(), welcome(address))
  t.equal(uploaded.status, 207)
  t.match(uploaded.body.results, [{ file: 'a.txt', status: 'uploaded', size: 4 }, { file: 'b.txt', status: 'failed', error: 'File too large' }])
  t.equal((await readdir(UPLOAD_DIR)).length, 1)
  t.match(ran.body.tasks, [{ taskId: 1, status: 'failed', reason: 'Timeout' }])
})

t.test('it prints where the Swagger UI is and three curl lines, each of which works as printed', async t => {
  const UPLOAD_DIR = join(t.testdir(), 'new', 'uploads')
  const { server, exited, address, output } = await start(t, example('server.ts'), { UPLOAD_DIR, TASK_TIMEOUT: '100' })

  t.equal(output(), welcome(address) + '\n')
  const page = await fetch(/Swagger UI: +(\S+)/.exec(output())![1]!)
  t.equal(page.status, 200)
  t.match(await page.text(), 'swagger-ui')

  const commands = [...output().matchAll(/^ {2}(curl .*)$/gm)].map(match => match[1]!)
  t.equal(commands.length, 3)
  const [uploaded, ran, created] = await Promise.all(commands.map(shell))

  t.equal(uploaded!.status, 'HTTP/1.1 207 Multi-Status')
  t.equal(uploaded!.counts, 'total=2, succeeded=2, failed=0')
  t.match(uploaded!.body.results, [{ file: 'package.json', status: 'uploaded' }, { file: 'README.md', status: 'uploaded' }])
  for (const { key, size } of uploaded!.body.results) t.equal((await readFile(join(UPLOAD_DIR, key))).length, size)

  t.equal(ran!.status, 'HTTP/1.1 207 Multi-Status')
  t.equal(ran!.counts, 'total=4, succeeded=1, failed=3')
  t.match(ran!.body.tasks, [
    { taskId: 101, status: 'completed', output: 'hi' },
    { taskId: 102, status: 'failed', reason: 'Timeout', code: 'TIMEOUT' },
    { taskId: 103, status: 'failed', reason: 'No such image', code: 'ITEM_FAILED' },
    { taskId: 104, status: 'failed', reason: 'Invalid data', code: 'INVALID_ITEM' }
  ])

  t.equal(created!.status, 'HTTP/1.1 207 Multi-Status')
  t.equal(created!.counts, 'total=2, succeeded=1, failed=1')
  t.match(created!.body.results, [{ email: 'ada@example.org', status: 'created', contactId: 1 }, { email: 'nonsense', status: 'rejected' }])

  server.kill('SIGTERM')
  t.strictSame(await exited, [0, null])
  await t.rejects(access(join(root, 'examples', 'uploads')))
})

t.test('the smallest example answers the curl in its first lines', async t => {
  const { address, server } = await start(t, example('names.ts'))
  const source = await readFile(join(root, 'examples', 'names.ts'), 'utf8')
  const command = /^\/\/ +(curl .*)$/m.exec(source)![1]!.replace('localhost:3000', address)

  const { status, counts, body } = await shell(command)

  t.equal(status, 'HTTP/1.1 207 Multi-Status')
  t.equal(counts, 'total=2, succeeded=1, failed=1')
  t.strictSame(body, {
    results: [{ file: 'a.txt', status: 'uploaded' }, { file: 'averylongname.txt', status: 'failed', error: 'File name too long' }]
  })
  t.equal(server.exitCode, null)
})
