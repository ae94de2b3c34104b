// Small files on the disk are stored by a thread: as truthfully as the others, and whatever becomes of it.
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import threads, { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { createDiskThread, doJobs, type DiskBatch } from '../../../lib/upload/storage/disk-thread.js'
import { createSmallFile } from '../../../lib/upload/storage/small-file.js'
import { replace } from '../../fixtures/replace.js'
import { buildUpload, checkAnswer, failed, filePart, form, uploaded } from '../../fixtures/upload.js'
import { waitFor } from '../../fixtures/wait.js'

const CONTENT = Buffer.from('content of the file')

t.test('where there may be no threads, files are stored without', async t => {
  replace(t, threads, 'Worker', class { constructor () { throw new Error('ERR_ACCESS_DENIED') } })
  const thread = createDiskThread()
  t.equal(thread.isFree(), false)
  t.strictSame(await thread.ask({ temporary: 'a' }, []), { error: { message: 'there is no thread', isLost: true } })
  const { dir, send } = await buildUpload(t)
  await checkAnswer(t, dir, await send(form(filePart('a'), filePart('b', ''))), [uploaded('a'), uploaded('b', '')])
})

t.test('files of one go are what was written, each under its name', async t => {
  const dir = t.testdir()
  const thread = createDiskThread()
  const files = Array.from({ length: 50 }, (_, index) => Array.from({ length: index % 4 }, (_, piece) => Buffer.alloc(index * 100, `${index}.${piece}`)))
  await Promise.all(files.map((pieces, index) =>
    createSmallFile(thread, join(dir, `.${index}.part`), join(dir, `${index}`), pieces).publish(index % 3 === 0)))
  t.strictSame(fs.readdirSync(dir).sort(), files.map((_, index) => `${index}`).sort())
  for (const [index, pieces] of files.entries()) t.ok(Buffer.concat(pieces).equals(fs.readFileSync(join(dir, `${index}`))), `${index}`)
})

t.test('a step that fails costs the one file, and nothing of it stays', async t => {
  const fail = (name: string) => () => { throw Object.assign(new Error(`${name} has failed`), { code: 'EIO' }) }
  for (const name of ['openSync', 'writeSync', 'closeSync', 'linkSync', 'unlinkSync'] as const) {
    await t.test(name, async t => {
      const dir = t.testdir()
      const path = (one: string) => join(dir, one)
      let calls = 0
      const faulty = { ...fs, [name]: (...args: []) => ++calls === 2 ? fail(name)() : (fs[name] as (...args: []) => unknown)(...args) } as typeof fs
      const batch = batchOf(['a', 'b', 'c'].map(one => ({ temporary: path(`.${one}`), target: path(one) })))
      t.match(doJobs(faulty, batch), [{}, { error: { message: `${name} has failed`, code: 'EIO' } }, {}])
      t.strictSame(fs.readdirSync(dir), ['a', 'c'])
      for (const one of ['a', 'c']) t.ok(CONTENT.equals(fs.readFileSync(path(one))), one)
    })
  }
})

t.test('a file that is made first and published later is closed then, and gone where that fails', async t => {
  const dir = t.testdir()
  const path = (name: string) => join(dir, name)
  const made = doJobs(fs, batchOf(['a', 'b'].map(name => ({ temporary: path(`.${name}`) }))))
  t.match(made, [{ fd: Number }, { fd: Number }])
  t.strictSame(fs.readdirSync(dir), ['.a', '.b'])

  const jobs = ['a', 'b'].map((name, index) => ({ temporary: path(`.${name}`), target: path(index === 0 ? 'a' : 'no/where'), fd: made[index]!.fd!, size: 0 }))
  t.match(doJobs(fs, { bytes: Buffer.alloc(0), jobs }), [{}, { error: { code: 'ENOENT' } }])
  t.strictSame(fs.readdirSync(dir), ['a'])
  for (const { fd } of made) t.throws(() => fs.closeSync(fd!), { code: 'EBADF' })
})

t.test('what cannot be tidied up does not hide what has failed', async t => {
  const fail = (message: string) => () => { throw new Error(message) }
  const faulty = { ...fs, openSync: () => 1e6, writeSync: fail('full'), closeSync: fail('closed'), unlinkSync: fail('busy') } as typeof fs
  t.match(doJobs(faulty, batchOf([{ temporary: 'a', target: 'b' }])), [{ error: { message: 'full' } }])
})

t.test('what is at either name already is left alone', async t => {
  const dir = t.testdir({ target: 'precious', temporary: 'precious' })
  const [temporary, target, free] = ['temporary', 'target', 'free'].map(name => join(dir, name)) as [string, string, string]
  const thread = createDiskThread()
  for (const paths of [[temporary, free], [free, target]] as const) {
    for (const sync of [false, true]) {
      const file = createSmallFile(thread, ...paths, [CONTENT])
      await t.rejects(file.publish(sync), { code: 'EEXIST' })
      await file.remove()
    }
  }
  t.strictSame(fs.readdirSync(dir), ['target', 'temporary'])
  for (const path of [temporary, target]) t.equal(fs.readFileSync(path, 'utf8'), 'precious')
})

t.test('a disk that takes a part of what it is given is given the rest', async t => {
  const dir = t.testdir()
  const writeSync = (fd: number, bytes: Uint8Array, at: number, length: number) => fs.writeSync(fd, bytes, at, Math.min(length, 3))
  const jobs = ['a', 'b'].map(name => ({ temporary: join(dir, `.${name}`), target: join(dir, name) }))
  t.strictSame(doJobs({ ...fs, writeSync } as typeof fs, batchOf(jobs)), [{}, {}])
  for (const { target } of jobs) t.ok(CONTENT.equals(fs.readFileSync(target)), target)
})

t.test('a file that is removed is gone, published or not', async t => {
  const dir = t.testdir()
  const thread = createDiskThread()
  const create = () => createSmallFile(thread, join(dir, '.a'), join(dir, 'a'), [CONTENT])
  await create().remove()
  for (const sync of [false, true]) {
    const file = create()
    await file.publish(sync)
    await file.remove()
    t.strictSame(fs.readdirSync(dir), [])
  }
})

t.test('the end of the thread fails the files that it had, and leaves nothing of them; it is not asked again', async t => {
  const started: Worker[] = []
  replace(t, threads, 'Worker', class extends Worker {
    constructor (...args: ConstructorParameters<typeof Worker>) {
      super(...args)
      started.push(this)
    }
  })
  const dir = t.testdir()
  const thread = createDiskThread()
  const content = Buffer.alloc(5_000_000)
  const create = (name: string) => createSmallFile(thread, join(dir, `.${name}`), join(dir, name), [content])
  const files = Array.from({ length: 40 }, (_, index) => create(`${index}`))
  const published = files.map(file => file.publish(false))
  for (const one of published) one.catch(() => {})
  await waitFor('a file', () => fs.readdirSync(dir).length > 0)
  await started[0]!.terminate()
  const outcomes = await Promise.allSettled(published)
  t.ok(outcomes.every(({ status }) => status === 'rejected'))
  for (const file of files) await file.remove()
  t.strictSame(fs.readdirSync(dir), [])

  t.equal(thread.isFree(), false)
  await t.rejects(create('a').publish(false), { message: 'there is no thread' })
  t.strictSame(fs.readdirSync(dir), [])
  t.equal(started.length, 1)
})

t.test('why the thread has ended is known', async t => {
  const thread = newThread(t)
  const answer = createSmallFile(thread.made, '.a', 'a', [CONTENT]).publish(false)
  await waitFor('the job', () => thread.worker().asked.length === 1)
  thread.worker().emit('error', new Error('out of memory'))
  thread.worker().emit('exit', 1)
  await t.rejects(answer, { message: 'out of memory' })
})

t.test('a thread that does not answer is not asked until it does', async t => {
  const { made, worker } = newThread(t)
  t.equal(made.isFree(), true)
  const answers = [made.ask({ temporary: 'a' }, [CONTENT]), made.ask({ temporary: 'b' }, [])]
  await waitFor('the jobs', () => worker().asked.length === 1)
  t.match(worker().asked, [{ jobs: [{ temporary: 'a', size: CONTENT.length }, { temporary: 'b', size: 0 }] }])
  await waitFor('it to be slow', () => !made.isFree())
  worker().emit('message', [{ fd: 1 }, { error: { message: 'no' } }])
  t.strictSame(await Promise.all(answers), [{ fd: 1 }, { error: { message: 'no' } }])
  t.equal(made.isFree(), true)
})

t.test('the thread keeps the process alive as long as a file is on its way, and no longer', async t => {
  const dir = t.testdir()
  const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, '../../fixtures', 'store-one.ts')], {
    env: { PATH: process.env.PATH, STORE_DIR: dir, _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: ['ignore', 'pipe', 'inherit']
  })
  const [said, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  t.equal(code, 0)
  t.strictSame(fs.readdirSync(dir), [said.trim()])
})

t.test('what fails in the thread is a failure of storage, whose message stays here', async t => {
  const { app, dir, send } = await buildUpload(t)
  await app.ready()
  fs.renameSync(dir, `${dir}-away`)
  const answer = await send(form(filePart('a')))
  fs.renameSync(`${dir}-away`, dir)
  await checkAnswer(t, dir, answer, [failed('a', 'Storage failed', 'STORAGE_FAILED', 500, true)])
})

/** Each with the same content. */
function batchOf (jobs: { temporary: string, target?: string }[]): DiskBatch {
  return { bytes: Buffer.concat(jobs.map(() => CONTENT)), jobs: jobs.map(job => ({ ...job, size: CONTENT.length })) }
}

/** A thread that does nothing, as on a disk that does not answer. */
class IdleWorker extends EventEmitter {
  readonly asked: DiskBatch[] = []
  postMessage (batch: DiskBatch): void { this.asked.push(batch) }
  ref (): void {}
  unref (): void {}
}

function newThread (t: Test) {
  let worker: IdleWorker | undefined
  replace(t, threads, 'Worker', class extends IdleWorker {
    constructor () {
      super()
      worker = this
    }
  })
  return { made: createDiskThread(), worker: () => worker! }
}
