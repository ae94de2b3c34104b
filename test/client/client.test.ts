// The client: telling failures from successes, typed by the union of any contract; and what it weighs in a browser.
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Type, type Static } from '@sinclair/typebox'
import { build } from 'esbuild'
import t from 'tap'
import ts from 'typescript'
import { assertAllSucceeded, partition, PartialFailureError, type AnyResult } from '../../lib/client/index.js'
import { defineContract, generic, tasks, uploads } from '../../schemas/index.js'
import { root } from '../fixtures/root.js'

/** Does not compile unless the two types are the same. */
function same<A, B> (..._: (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? [] : ['the types differ']) {}

const contacts = defineContract({
  name: 'Contact',
  key: 'email',
  success: ['created', 'updated'],
  failure: 'rejected',
  reason: 'message',
  data: { created: Type.Object({ contactId: Type.Integer() }), updated: Type.Object({ at: Type.String() }) }
})

type ContactsBody = Static<typeof contacts.schemas.body>
type Contact = ContactsBody['results'][number]
type Rejected = Extract<Contact, { status: 'rejected' }>

const rejected: Rejected = contacts.fail('b@x.org', { message: 'Taken', code: 'EMAIL_TAKEN', statusCode: 409, retryable: false })
const busy: Rejected = contacts.fail('c@x.org', { message: 'Busy', code: 'BUSY', statusCode: 503, retryable: true, retryAfter: 2 })
const body: ContactsBody = {
  results: [{ email: 'a@x.org', status: 'created', contactId: 1 }, rejected, busy, { email: 'd@x.org', status: 'updated', at: 'now' }]
}

t.test('partition parts the results of the built-in contracts, whatever their envelope, typed by their unions', async t => {
  const items: Static<typeof generic.schemas.body> = { results: [{ id: 1, status: 'success' }, { id: 2, status: 'error', message: 'Invalid data' }] }
  const files: Static<typeof uploads.schemas.body> = { results: [{ file: 'a.png', status: 'uploaded', size: 1 }, { file: 'b.png', status: 'failed', error: 'Too large', retryable: true }] }
  const jobs: Static<typeof tasks.schemas.body> = { tasks: [{ taskId: 101, status: 'completed' }, { taskId: 102, status: 'failed', reason: 'Timeout', retryable: true }] }

  t.strictSame(partition(items), { succeeded: [items.results[0]], failed: [items.results[1]], retryable: [] })
  t.strictSame(partition(files), { succeeded: [files.results[0]], failed: [files.results[1]], retryable: [files.results[1]] })
  t.strictSame(partition(jobs), { succeeded: [jobs.tasks[0]], failed: [jobs.tasks[1]], retryable: [jobs.tasks[1]] })

  same<ReturnType<typeof partition<typeof jobs>>['failed'][number], Extract<(typeof jobs.tasks)[number], { status: 'failed' }>>()
  t.equal(partition(files).succeeded[0]!.size, 1)
  t.equal(partition(files).failed[0]!.error, 'Too large')
  t.equal(partition(jobs).failed[0]!.reason, 'Timeout')
  // @ts-expect-error what failed has no output
  t.equal(partition(jobs).failed[0]!.output, undefined)
})

t.test('partition knows the failures of any contract by what the plugin puts into them', async t => {
  const { succeeded, failed, retryable } = partition(body)

  t.strictSame(succeeded, [body.results[0], body.results[3]])
  t.strictSame(failed, [rejected, busy])
  t.strictSame(retryable, [busy])
  same<typeof failed, Rejected[]>()
  same<typeof succeeded, Exclude<Contact, Rejected>[]>()
})

t.test('with the word for failure, also failures that a handler worded without a code are known', async t => {
  const bare: Rejected = { email: 'e@x.org', status: 'rejected', message: 'No' }
  const { succeeded, failed } = partition({ results: [...body.results, bare] }, { failure: 'rejected' })

  t.equal(succeeded.length, 2)
  t.strictSame(failed, [rejected, busy, bare])
  same<typeof failed, Rejected[]>()
  same<typeof succeeded, Exclude<Contact, Rejected>[]>()
  // @ts-expect-error no result has this status
  partition(body, { failure: 'failed' })
})

t.test('results that are told apart by no type, numeric statuses and bare arrays are parted too', async t => {
  interface Loose { id: number, status: 'success' | 'error', message?: string, retryable?: boolean }
  const loose: Loose[] = [{ id: 1, status: 'success' }, { id: 2, status: 'error', message: 'No', retryable: true }]
  const unknown: Record<string, AnyResult[]> = { anything: [{ status: 'fine' }, { status: 'odd', statusCode: 500, code: 'X' }, { status: 'odd', statusCode: 200, code: 'X' }, { status: 'odd', statusCode: 503, retryable: true }] }

  t.strictSame(partition(loose), { succeeded: [loose[0]], failed: [loose[1]], retryable: [loose[1]] })
  same<ReturnType<typeof partition<Loose[]>>['failed'], Loose[]>()
  same<ReturnType<typeof partition<Loose[]>>['succeeded'], Loose[]>()
  t.strictSame(partition(unknown), { succeeded: [unknown.anything![0], unknown.anything![2]], failed: [unknown.anything![1], unknown.anything![3]], retryable: [unknown.anything![3]] })
  t.strictSame(partition([{ status: 200 }, { status: 404 }]), { succeeded: [{ status: 200 }], failed: [{ status: 404 }], retryable: [] })
  t.strictSame(partition({ results: [] }), { succeeded: [], failed: [], retryable: [] })
})

t.test('a body without results, or with two arrays, is refused with what it was', async t => {
  t.throws(() => partition({ statusCode: 413, message: 'Too many' }), {
    name: 'TypeError', message: 'Expected a body with one array; received {"statusCode":413,"message":"Too many"}'
  })
  t.throws(() => partition({ a: [], b: [] }), { message: 'Expected a body with one array; received {"a":[],"b":[]}' })
})

t.test('assertAllSucceeded gives the successes, or throws what failed', async t => {
  const good: ContactsBody = { results: [body.results[0]!, body.results[3]!] }

  const successes = assertAllSucceeded(good)
  same<typeof successes, Exclude<Contact, Rejected>[]>()
  t.strictSame(successes, good.results)

  try {
    assertAllSucceeded(body, { failure: 'rejected' })
    t.fail('it did not throw')
  } catch (error) {
    t.ok(error instanceof PartialFailureError)
    const { name, message, failed, succeeded } = error as PartialFailureError
    t.equal(name, 'PartialFailureError')
    t.match(message, /^2 of 4 items failed: \[\{"email":"b@x\.org","status":"rejected","message":"Taken","code":"EMAIL_TAKEN"/)
    t.ok(message.length < 400)
    t.strictSame(failed, [rejected, busy])
    t.strictSame(succeeded, good.results)
  }
})

const entry = join(root, 'lib/client/index.ts')

t.test('bundled for a browser it is its own files and nothing else, under 3 kB minified and gzipped', async t => {
  const { metafile, outputFiles: [file] } = await build({
    entryPoints: [entry], bundle: true, minify: true, format: 'esm', platform: 'browser', write: false, metafile: true, absWorkingDir: root
  })

  const size = gzipSync(file!.contents, { level: 9 }).length
  t.comment(`${size} bytes`)
  t.ok(size < 3000)
  t.strictSame(Object.keys(metafile.inputs).filter(input => !/^lib\/client\/[\w-]+\.ts$/.test(input)), [])
})

t.test('it compiles with the types of browsers alone', async t => {
  const program = ts.createProgram([entry], {
    strict: true,
    noEmit: true,
    noUncheckedIndexedAccess: true,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: []
  })

  t.strictSame(ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')), [])
})
