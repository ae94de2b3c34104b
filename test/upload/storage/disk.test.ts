// Tests the disk storage: a file is whole and durable or not there, other files stay, and nothing is left behind.
import crypto from 'node:crypto'
import callbacks, { readdirSync, readFileSync } from 'node:fs'
import fs, { mkdir, open, readdir, readFile, readlink, rename, symlink, utimes, writeFile } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { disk } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { replace } from '../../fixtures/replace.js'
import { buildUpload, checkAnswer, failed, filePart, form, permissions, temporaries, uploaded } from '../../fixtures/upload.js'
import { waitFor } from '../../fixtures/wait.js'

const FILE = { name: 'a.txt', type: 'text/plain' }
const KEY = '00000000-0000-4000-8000-000000000000'
/** So much that it is written before there is more. */
const LARGE = Buffer.alloc(1_000_000, 'x')
/** And so much that it is not stored in one go. */
const MEDIUM = Buffer.alloc(300_000, 'x')
const HOST = hostname().replace(/[^A-Za-z0-9-]/g, '-')
const storageFailed = (file: string) => failed(file, 'Storage failed', 'STORAGE_FAILED', 500, true)
const storageFull = (file: string) => failed(file, 'Storage full', 'STORAGE_FULL', 507, true)

t.test('files are readable by their owner only, before and after they are published', async t => {
  const dir = t.testdir()
  const sink = await disk({ dir }).open(FILE)
  await sink.write(LARGE)
  await waitFor('the temporary file', async () => (await readdir(dir)).length === 1)
  const [temporary] = await readdir(dir)
  t.match(temporary, /^\.[0-9a-f-]{36}\..+\.part$/)
  t.equal(await permissions(join(dir, temporary!)), '600')
  const { key } = await sink.publish()
  t.equal(await permissions(join(dir, key)), '600')
  t.strictSame(await readdir(dir), [key])
})

t.test('a missing directory option is refused', async t => {
  for (const [options, name, expected, received] of [
    [undefined, 'disk', 'an object of options', 'undefined'],
    ['./uploads', 'disk', 'an object of options', '"./uploads"'],
    [{}, 'disk.dir', 'the path of a directory', 'undefined'],
    [{ dir: 5 }, 'disk.dir', 'the path of a directory', '5'],
    [{ dir: '' }, 'disk.dir', 'the path of a directory', '""']
  ] as const) {
    t.throws(() => disk(options as never), {
      code: 'FST_MULTI_STATUS_INVALID_OPTION', message: `fastify-multi-status: ${name} must be ${expected}; received ${received}`
    })
  }
})

t.test('the directory is made when the app starts', async t => {
  const dir = join(t.testdir(), 'not', 'there', 'yet')
  const { app, send } = await buildUpload(t, { storage: disk({ dir }) })
  await app.ready()
  t.strictSame(await readdir(dir), [])
  await checkAnswer(t, dir, await send(form(filePart('a'))), [uploaded('a')])
})

t.test('a directory that cannot be made stops the app from starting', async t => {
  const dir = join(t.testdir({ file: '' }), 'file')
  const app = await build(t, { plugin: { upload: { storage: disk({ dir }) } } })
  await t.rejects(async () => app.ready(), { code: 'EEXIST' })
})

t.test('files fail while the directory is missing', async t => {
  const { app, dir, send } = await buildUpload(t)
  await app.ready()
  await rename(dir, `${dir}-away`)
  const answer = await send(form(filePart('a')))
  await rename(`${dir}-away`, dir)
  await checkAnswer(t, dir, answer, [storageFailed('a')])
  await checkAnswer(t, dir, await send(form(filePart('a'))), [uploaded('a')])
})

t.test('an existing file under the target name is never overwritten', async t => {
  for (const [what, occupy] of Object.entries({
    'a file': (path: string) => writeFile(path, 'precious'),
    'a link to a file': async (path: string) => {
      await writeFile(`${path}-target`, 'precious')
      await symlink(`${path}-target`, path)
    },
    'a link to nowhere': (path: string) => symlink(`${path}-nowhere`, path),
    'a directory': (path: string) => mkdir(path)
  })) {
    await t.test(what, async t => {
      const { app, dir } = await buildUpload(t)
      await occupy(join(dir, KEY))
      const before = await readdir(dir)
      await app.ready()
      replace(t, crypto, 'randomUUID', () => KEY)
      const answer = await app.inject({ method: 'POST', url: '/upload', payload: { files: ['a'] } })
      t.strictSame(answer.json(), { results: [storageFailed('a').result] })
      t.strictSame(await readdir(dir), before)
      if (what !== 'a directory' && what !== 'a link to nowhere') t.equal(await readFile(join(dir, KEY), 'utf8'), 'precious')
    })
  }
})

t.test('a link at the temporary name is not followed', async t => {
  const { app, dir } = await buildUpload(t)
  await writeFile(join(dir, 'precious'), 'precious')
  await app.ready()
  const temporary = `.${KEY}.${HOST}.${process.pid}.part`
  await symlink('precious', join(dir, temporary))
  replace(t, crypto, 'randomUUID', () => KEY)
  const answer = await app.inject({ method: 'POST', url: '/upload', payload: { files: [{ file: 'a', content: 'YQ==' }] } })
  t.strictSame(answer.json(), { results: [storageFailed('a').result] })
  t.strictSame(await readdir(dir), [temporary, 'precious'])
  t.equal(await readFile(join(dir, 'precious'), 'utf8'), 'precious')
})

t.test('content is durable before its name, and its name before it is reported', async t => {
  for (const [what, content] of [['a large file', LARGE], ['a small file', Buffer.from('a')]] as const) {
    await t.test(what, async t => {
      const { app, dir, send } = await buildUpload(t)
      await app.ready()
      const handle = await handlePrototype(dir)
      const seen: unknown[] = []
      for (const [target, name] of [[handle, 'datasync'], [callbacks, 'fsync'], [handle, 'sync']] as const) {
        const original = (target as Methods)[name]!
        replace(t, target, name, function (this: unknown, ...args: unknown[]) {
          const [file, ...more] = readdirSync(dir)
          t.strictSame(more, [])
          seen.push([name, file!.endsWith('.part') ? 'temporary' : 'visible', readFileSync(join(dir, file!)).equals(content)])
          return original.apply(this, args)
        })
      }
      await checkAnswer(t, dir, await send(form(filePart('a', content))), [uploaded('a', content)])
      t.strictSame(seen, [[what === 'a large file' ? 'datasync' : 'fsync', 'temporary', true], ['sync', 'visible', true]])
    })
  }
})

t.test('without sync a file is not waited for to be durable', async t => {
  const dir = t.testdir()
  const handle = await handlePrototype(dir)
  for (const [target, name] of [[handle, 'datasync'], [callbacks, 'fsync'], [handle, 'sync']] as const) replace(t, target, name, () => t.fail(name))
  const { send } = await buildUpload(t, { storage: disk({ dir, sync: false }) })
  await checkAnswer(t, dir, await send(form(filePart('a'), filePart('b', MEDIUM))), [uploaded('a'), uploaded('b', MEDIUM)])
})

t.test('a step that fails costs the one file, and nothing of it stays', async t => {
  const handle = await handlePrototype(t.testdir())
  const small = Buffer.from('small')
  for (const [target, name, content] of [
    [fs, 'open', MEDIUM], [handle, 'writev', MEDIUM], [handle, 'datasync', MEDIUM], [handle, 'sync', MEDIUM], [fs, 'link', MEDIUM], [fs, 'unlink', MEDIUM],
    [callbacks, 'open', small], [callbacks, 'write', small], [callbacks, 'fsync', small], [handle, 'sync', small], [fs, 'link', small], [fs, 'unlink', small]
  ] as const) {
    for (const [code, expected] of [['ENOSPC', storageFull], ['EDQUOT', storageFull], ['EIO', storageFailed]] as const) {
      await t.test(`${name}, ${content.length} bytes: ${code}`, async t => {
        const { app, dir } = await buildUpload(t)
        await app.ready()
        failOnce(t, target, name, code)
        const send = (name: string) =>
          app.inject({ method: 'POST', url: '/upload', payload: { files: [{ file: name, content: content.toString('base64'), type: 'text/plain' }] } })
        await checkAnswer(t, dir, await send('a'), [expected('a')])
        await checkAnswer(t, dir, await send('b'), [uploaded('b', content)])
      })
    }
  }
})

t.test('a file whose publishing takes too long does not appear afterwards', async t => {
  const handle = await handlePrototype(t.testdir())
  for (const [target, name, content] of [
    [handle, 'datasync', MEDIUM], [callbacks, 'fsync', Buffer.from('a')], [fs, 'link', MEDIUM], [handle, 'sync', MEDIUM]
  ] as const) {
    await t.test(`${name}, ${content.length} bytes`, async t => {
      const { app, dir } = await buildUpload(t, { storageTimeout: 500 })
      await app.ready()
      const original = (target as Methods)[name]!
      let release = () => {}
      const released = new Promise<void>(resolve => { release = resolve })
      replace(t, target, name, function (this: unknown, ...args: unknown[]) { return released.then(() => original.apply(this, args)) })
      const answer = await app.inject({ method: 'POST', url: '/upload', payload: { files: [{ file: 'a', content: content.toString('base64') }] } })
      t.strictSame(answer.json(), { results: [failed('a', 'Storage timeout', 'STORAGE_TIMEOUT', 504, true).result] })
      t.equal((await readdir(dir)).length, 1)
      release()
      await waitFor('an empty directory', async () => (await readdir(dir)).length === 0)
    })
  }
})

t.test('after a partial write, the rest is written', async t => {
  const { dir, send } = await buildUpload(t)
  const handle = await handlePrototype(dir)
  const write = handle.writev!
  replace(t, handle, 'writev', function (this: unknown, [first, ...rest]: Buffer[]) {
    return write.call(this, first!.length > 7000 ? [first!.subarray(0, 7000)] : [first, ...rest])
  })
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251))
  await checkAnswer(t, dir, await send(form(filePart('a', content))), [uploaded('a', content)])
})

t.test('a file that is discarded while it is written leaves nothing', async t => {
  for (const pieces of [1, 2, 3]) {
    await t.test(`${pieces} pieces under way`, async t => {
      const dir = t.testdir()
      const sink = await disk({ dir }).open(FILE)
      const writes = Array.from({ length: pieces }, () => sink.write(LARGE))
      await sink.discard()
      t.strictSame(await readdir(dir), [])
      await Promise.all(writes)
      t.strictSame(await readdir(dir), [])
      t.strictSame((await openIn(dir)), [])
    })
  }
})

t.test('an error in the middle of a large file fails the next write, and all that follow', async t => {
  const dir = t.testdir()
  failOnce(t, await handlePrototype(dir), 'writev', 'ENOSPC')
  const sink = await disk({ dir }).open(FILE)
  const full = { message: 'Storage full', code: 'STORAGE_FULL', statusCode: 507, retryable: true }
  await sink.write(LARGE)
  await t.rejects(async () => sink.write(LARGE), full)
  await t.rejects(sink.publish(), full)
  await sink.discard()
  t.strictSame(await readdir(dir), [])
})

t.test('files in many small or few large pieces are stored unchanged', async t => {
  const dir = t.testdir()
  for (const [size, count] of [[1, 1000], [1000, 64], [1000, 65], [256 * 1024, 1], [256 * 1024 - 1, 3], [256 * 1024 + 1, 3]] as const) {
    const content = Buffer.from(Array.from({ length: size * count }, (_, index) => index % 251))
    const sink = await disk({ dir }).open(FILE)
    for (let offset = 0; offset < content.length; offset += size) await sink.write(content.subarray(offset, offset + size))
    const { key } = await sink.publish()
    t.ok(content.equals(await readFile(join(dir, key))), `${count} x ${size}`)
  }
})

t.test('files share the syncs of the directory, each by one that begins after it has its name', async t => {
  const { app, dir } = await buildUpload(t)
  await app.ready()
  const handle = await handlePrototype(dir)
  const original = handle.sync!
  const durable = new Set<string>()
  let syncs = 0
  replace(t, handle, 'sync', async function (this: unknown) {
    const names = await readdir(dir)
    await original.call(this)
    syncs++
    for (const name of names) durable.add(name)
  })
  const storage = disk({ dir })
  await Promise.all(Array.from({ length: 40 }, async () => {
    const { key } = await (await storage.open(FILE)).publish()
    t.ok(durable.has(key))
  }))
  t.ok(syncs > 0 && syncs < 40, `${syncs} syncs for 40 files`)
})

t.test('an error of a directory sync fails the files that waited for it, and none after them', async t => {
  const dir = t.testdir()
  failOnce(t, await handlePrototype(dir), 'sync', 'EIO')
  const storage = disk({ dir })
  const sinks = [await storage.open(FILE), await storage.open(FILE)]
  await t.rejects(sinks[0]!.publish(), { code: 'STORAGE_FAILED' })
  await sinks[0]!.discard()
  const { key } = await sinks[1]!.publish()
  t.strictSame(await readdir(dir), [key])
})

t.test('the start removes temporary files of ended processes, and nothing else', async t => {
  const dir = t.testdir()
  const dead = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
  await once(dead, 'exit')
  const long = new Date(Date.now() - 25 * 60 * 60 * 1000)
  const beforeStart = new Date(Date.now() - process.uptime() * 1000 - 60_000)
  const left = (count: number, host: string, pid: number) => `.${KEY.slice(0, -1)}${count}.${host}.${pid}.part`

  const gone = [left(1, HOST, dead.pid!), left(2, HOST, process.pid), left(3, 'other-host', 1), left(4, HOST, 2 ** 40), left(5, HOST, process.ppid)]
  const kept = [
    left(6, HOST, process.ppid), left(7, HOST, process.pid), left(8, 'other-host', process.pid), left(9, HOST, 1),
    KEY, '.hidden', `.${KEY}.part`, `${KEY}.${HOST}.${dead.pid}.part`, `.${KEY}.${HOST}.${dead.pid}.party`
  ]
  for (const name of [...gone, ...kept]) await writeFile(join(dir, name), name)
  await utimes(join(dir, gone[1]!), beforeStart, beforeStart)
  await utimes(join(dir, gone[2]!), long, long)
  await utimes(join(dir, gone[4]!), long, long)
  for (const name of [KEY, '.hidden']) await utimes(join(dir, name), long, long)

  await disk({ dir }).start!()
  t.strictSame(await readdir(dir).then(names => names.sort()), [...kept].sort())
})

t.test("the temporary files of another user's process stay", async t => {
  const dir = t.testdir()
  const name = `.${KEY}.${HOST}.4000000.part`
  await writeFile(join(dir, name), '')
  t.intercept(process, 'kill', { value: () => { throw Object.assign(new Error('not yours'), { code: 'EPERM' }) } })
  await disk({ dir }).start!()
  t.strictSame(await readdir(dir), [name])
})

t.test('a temporary file that is gone or cannot be removed does not stop the app from starting', async t => {
  const dir = t.testdir()
  const names = [1, 2].map(count => `.${KEY.slice(0, -1)}${count}.${HOST}.${2 ** 40}.part`)
  await symlink('nowhere', join(dir, names[0]!))
  await mkdir(join(dir, names[1]!))
  await disk({ dir }).start!()
  t.strictSame(await readdir(dir), names)
})

t.test('a second app, thread or process on the directory leaves files in progress alone', async t => {
  const dir = t.testdir()
  const storage = disk({ dir })
  await storage.start!()
  const sink = await storage.open(FILE)
  await sink.write(LARGE)
  await waitFor('the temporary file', async () => (await readdir(dir)).length === 1)
  const start = startElsewhere(dir)

  await disk({ dir }).start!()
  const [exitOfThread] = await once(new Worker(start, { eval: true, execArgv: [] }), 'exit')
  const [exitOfProcess] = await once(spawn(process.execPath, ['--eval', start], { stdio: 'inherit' }), 'exit')

  t.strictSame([exitOfThread, exitOfProcess], [0, 0])
  t.equal((await temporaries(dir)).length, 1)
  const { key } = await sink.publish()
  t.ok(LARGE.equals(await readFile(join(dir, key))))
  t.strictSame(await readdir(dir), [key])
})

/** A script that starts the storage. */
function startElsewhere (dir: string): string {
  const module = pathToFileURL(join(import.meta.dirname, '../../../lib/upload/storage/disk.js')).href
  return `import(${JSON.stringify(module)}).then(({ disk }) => disk({ dir: ${JSON.stringify(dir)} }).start())`
}

t.test('no upload leaves a file open, whatever its outcome', { skip: process.platform !== 'linux' && 'needs /proc' }, async t => {
  const { app, dir, send } = await buildUpload(t, { limits: { fileSize: 10, files: 40 } })
  await app.ready()
  const sink = await disk({ dir }).open(FILE)
  await sink.write(LARGE)
  await waitFor('an open file', async () => (await openIn(dir)).length === 1)
  t.strictSame(await openIn(dir), await temporaries(dir))
  await sink.discard()

  await send(form(...Array.from({ length: 50 }, (_, index) => filePart(index % 2 === 0 ? `${index}` : '..', 'x'.repeat(index % 3 === 0 ? 20 : 5)))))
  await send(filePart('cut'))
  failOnce(t, await handlePrototype(dir), 'datasync', 'EIO')
  const unsynced = await disk({ dir }).open(FILE)
  await unsynced.write(LARGE)
  await t.rejects(unsynced.publish(), { code: 'STORAGE_FAILED' })
  await unsynced.discard()
  failOnce(t, callbacks, 'fsync', 'EIO')
  await send(form(filePart('a')))
  failOnce(t, await handlePrototype(dir), 'sync', 'EIO')
  await send(form(filePart('a')))
  t.strictSame(await openIn(dir), [])
  t.strictSame(await temporaries(dir), [])
})

/** The names of the files of a directory that this process has open; '' for the directory itself. */
async function openIn (dir: string): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd')
  const paths = await Promise.all(descriptors.map(descriptor => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')))
  return paths.filter(path => path.startsWith(dir)).map(path => path.slice(dir.length + 1))
}

type Methods = Record<string, (...args: unknown[]) => unknown>

/** Where the methods of all file handles are. */
async function handlePrototype (dir: string): Promise<Methods> {
  const handle = await open(dir)
  await handle.close()
  return Object.getPrototypeOf(handle)
}

/** Lets a function of Node fail the next time that it is called, by its callback or its promise, without doing anything. */
function failOnce (t: Test, target: object, name: string, code: string): void {
  const original = (target as Methods)[name]!
  let failed = false
  replace(t, target, name, function (this: unknown, ...args: unknown[]) {
    if (failed) return original.apply(this, args)
    failed = true
    const error = Object.assign(new Error(`${code}: secret of the disk`), { code })
    if (target !== callbacks) return Promise.reject(error)
    const callback = args.at(-1) as (error: Error) => void
    callback(error)
  })
}
