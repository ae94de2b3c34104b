// The contacts application, with a real database.
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { insertContact, listContacts, openDatabase } from '../../examples/contacts/database.js'
import { build, welcome } from '../../examples/contacts/server.js'
import { applyEach } from '../../examples/contacts/transaction.js'
import { example, shell, start } from '../fixtures/example-process.js'
import { createGate } from '../fixtures/gate.js'
import { lint } from '../fixtures/openapi.js'
import { waitFor } from '../fixtures/wait.js'

interface Result { email?: string, contactId?: number, status: string, code?: string }

// One database for all tests, because it starts slowly.
const db = await openDatabase()
const app = await build(db, {})
t.teardown(() => app.close())
let last = 0
/** Counts the batches of the app. */
let waiting = 0
app.addHook('preHandler', async () => { waiting++ })

const ask = async (method: 'POST' | 'PATCH', url: string, payload: unknown[], headers: Record<string, string> = {}) => {
  const response = await app.inject({ method, url, payload: JSON.stringify(payload), headers: { 'content-type': 'application/json', ...headers } })
  return { response, status: response.statusCode, counts: response.headers['multi-status'], results: response.json().results as Result[] }
}
const create = (payload: unknown[], headers?: Record<string, string>) => ask('POST', '/contacts', payload, headers)
const list = async (after = last) => (await app.inject(`/contacts?after=${after}`)).json() as { contactId: number, email: string, name: string }[]
const strict = { prefer: 'handling=strict' }
const taken = { message: 'Email taken', code: 'EMAIL_TAKEN', statusCode: 409, retryable: false }
const rolledBack = { message: 'Rolled back', code: 'ROLLED_BACK', statusCode: 424, retryable: true }

/** Contacts of one test: its own emails, and a list that begins after those of earlier tests. */
async function createThree (name: string) {
  last = (await list(0)).at(-1)?.contactId ?? 0
  const emails = ['a', 'b', 'c'].map(one => `${one}@${name}.org`)
  const { results } = await create(emails.map(email => ({ email, name: 'Ada' })))
  return { emails, ids: results.map(({ contactId }) => contactId!) }
}

t.test('creates contacts, and fails only invalid ones and taken emails', async t => {
  const { emails: [first] } = await createThree('create')

  const { status, counts, results } = await create([
    { email: 'new@create.org', name: 'New' }, { email: first!.toUpperCase(), name: 'Again' }, { email: 'nonsense', name: 'Eve' },
    { email: 'nul@create.org', name: 'a\0b' }, { email: 'newer@create.org', name: 'Newer' }
  ])

  t.equal(status, 207)
  t.equal(counts, 'total=5, succeeded=2, failed=3')
  t.match(results, [
    { email: 'new@create.org', status: 'created', contactId: Number },
    { email: 'A@CREATE.ORG', status: 'rejected', ...taken },
    { email: 'nonsense', status: 'rejected', code: 'INVALID_ITEM', statusCode: 422 },
    { email: 'nul@create.org', status: 'rejected', code: 'INVALID_ITEM', statusCode: 422 },
    { email: 'newer@create.org', status: 'created', contactId: Number }
  ])
  t.strictSame((await list()).map(({ email }) => email), ['a@create.org', 'b@create.org', 'c@create.org', 'new@create.org', 'newer@create.org'])
  t.strictSame((await list())[3], { contactId: results[0]!.contactId, email: 'new@create.org', name: 'New' })
})

t.test('updates contacts, with 409 for a taken email and 404 for an unknown contact', async t => {
  const { emails, ids: [a, b, c] } = await createThree('update')

  const { status, results } = await ask('PATCH', '/contacts', [
    { contactId: a, name: 'Ada Lovelace' }, { contactId: b, email: emails[2] }, { contactId: 1_000_000, name: 'Nobody' },
    { contactId: c, email: 'new@update.org' }
  ])

  t.equal(status, 207)
  t.strictSame(results, [
    { contactId: a, status: 'updated', email: 'a@update.org', name: 'Ada Lovelace' },
    { contactId: b, status: 'rejected', ...taken },
    { contactId: 1_000_000, status: 'rejected', message: 'Contact not found', code: 'CONTACT_NOT_FOUND', statusCode: 404, retryable: false },
    { contactId: c, status: 'updated', email: 'new@update.org', name: 'Ada' }
  ])
  t.strictSame((await list()).map(({ email, name }) => [email, name]),
    [['a@update.org', 'Ada Lovelace'], ['b@update.org', 'Ada'], ['new@update.org', 'Ada']])
})

t.test('deletes contacts by their ids', async t => {
  const { ids: [a, b, c] } = await createThree('delete')

  const { status, results } = await ask('POST', '/contacts/delete', [a, 1_000_000, c, 0])

  t.equal(status, 207)
  t.match(results, [
    { contactId: a, status: 'deleted' }, { contactId: 1_000_000, status: 'rejected', code: 'CONTACT_NOT_FOUND' },
    { contactId: c, status: 'deleted' }, { status: 'rejected', code: 'INVALID_ITEM' }
  ])
  t.strictSame((await list()).map(({ contactId }) => contactId), [b])
})

t.test('rolls back all items for a conflict with handling=strict, and says so in every result', async t => {
  const { emails } = await createThree('strict')

  const { status, counts, response, results } = await create([
    { email: 'new@strict.org', name: 'New' }, { email: emails[0], name: 'Again' }, { email: 'newer@strict.org', name: 'Newer' }, { email: emails[1], name: 'Again' }
  ], strict)

  t.equal(status, 207)
  t.equal(counts, 'total=4, succeeded=0, failed=4')
  t.equal(response.headers['preference-applied'], 'handling=strict')
  t.strictSame(results, [
    { email: 'new@strict.org', status: 'rejected', ...rolledBack },
    { email: emails[0], status: 'rejected', ...taken },
    { email: 'newer@strict.org', status: 'rejected', ...rolledBack },
    { email: emails[1], status: 'rejected', ...taken }
  ])
  t.equal((await list()).length, 3)
})

t.test('rolls back updates and deletions with handling=strict', async t => {
  const { emails, ids: [a, b] } = await createThree('undone')

  const changed = await ask('PATCH', '/contacts', [{ contactId: a, name: 'Eve' }, { contactId: b, email: emails[0] }], strict)
  const removed = await ask('POST', '/contacts/delete', [a, 1_000_000], strict)

  t.match(changed.results, [{ contactId: a, code: 'ROLLED_BACK' }, { contactId: b, code: 'EMAIL_TAKEN' }])
  t.match(removed.results, [{ contactId: a, code: 'ROLLED_BACK' }, { contactId: 1_000_000, code: 'CONTACT_NOT_FOUND' }])
  t.strictSame((await list()).map(({ email, name }) => [email, name]), emails.map(email => [email, 'Ada']))
})

t.test('answers 422 for an invalid item with handling=strict, and commits valid batches', async t => {
  await createThree('valid')

  const refused = await create([{ email: 'one@valid.org', name: 'One' }, { email: 'nonsense', name: 'Eve' }], strict)
  const done = await create([{ email: 'one@valid.org', name: 'One' }, { email: 'two@valid.org', name: 'Two' }], strict)

  t.equal(refused.status, 422)
  t.match(refused.response.json(), { code: 'FST_MULTI_STATUS_INVALID_ITEMS', errors: [{ pointer: '#/1/email' }] })
  t.equal(done.counts, 'total=2, succeeded=2, failed=0')
  t.equal((await list()).length, 5)
})

t.test('masks unknown database errors, and fails only their item', async t => {
  await createThree('masked')
  await db.exec("ALTER TABLE contacts ADD CONSTRAINT nobody CHECK (name <> 'Mallory')")

  const { results } = await create([{ email: 'm@masked.org', name: 'Mallory' }, { email: 'x@masked.org', name: 'Xaver' }])

  t.match(results, [{ status: 'rejected', message: 'Internal error', code: 'INTERNAL_ERROR', statusCode: 500 }, { status: 'created' }])
  t.equal((await list()).length, 4)
})

t.test('rolls back the batch of a disconnected client', async t => {
  await createThree('gone')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const [held, before] = [createGate(), waiting]
  const holder = db.transaction(() => held.opened)
  const client = connect(port, '127.0.0.1')
  const body = JSON.stringify([{ email: 'new@gone.org', name: 'New' }])
  client.write(`POST /contacts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  await waitFor('the batch waits for its turn', () => waiting > before)

  client.destroy()
  await waitFor('the app knows', async () => await promisify(app.server.getConnections).call(app.server) === 0)
  held.open()
  await holder

  t.equal((await list()).length, 3)
})

t.test('rolls back an aborted batch, and reports no item as done', async t => {
  const gone = new AbortController()
  const { emails } = await createThree('abort')
  const outcomes = await applyEach(db, ['during@abort.org', 'after@abort.org'], async (tx, email) => {
    await insertContact(tx, { email, name: 'Ada' })
    gone.abort(new Error('Client gone'))
  }, { allOrNothing: false, signal: gone.signal })

  t.match(outcomes, [{ status: 'rejected', reason: { code: 'ROLLED_BACK' } }, { status: 'rejected', reason: { message: 'Client gone' } }])
  t.strictSame((await list()).map(({ email }) => email), emails)
})

t.test('answers an error for a broken transaction, and changes nothing', async t => {
  const { emails } = await createThree('broken')
  const broken = applyEach(db, ['one@broken.org', 'two@broken.org'], async (tx, email) => {
    await insertContact(tx, { email, name: 'Ada' })
    if (email.startsWith('two')) await tx.exec('SELECT 1/0').catch(() => {})
  }, { allOrNothing: false, signal: new AbortController().signal })

  await t.rejects(broken, { code: '25P02' })
  t.strictSame((await list()).map(({ email }) => email), emails)
})

t.test('publishes a valid document that explains handling=strict', async t => {
  const document = (await app.inject('/documentation/json')).json()

  t.strictSame(await lint(document), [])
  t.match(document.paths['/contacts'].patch.description, 'all or nothing')
})

t.test('answers the commands that it prints, and keeps its contacts after a restart', async t => {
  const dir = join(t.testdir(), 'db')
  // Created before the server starts, because that takes the longest.
  await (await openDatabase(dir)).close()
  const { server, exited, address, output } = await start(t, example('contacts/server.ts'), { DATABASE_DIR: dir })
  t.equal(output(), welcome(address) + '\n')
  const commands = [...output().matchAll(/^ {2}(curl .*)$/gm)].map(match => match[1]!)

  const answers = []
  for (const command of [...commands, commands[1]!]) answers.push(await shell(command))
  t.match(answers.map(({ status, counts, body }) => [status, counts, body.results.map((one: Result) => one.code ?? one.status)]), [
    ['HTTP/1.1 207 Multi-Status', 'total=2, succeeded=0, failed=2', ['ROLLED_BACK', 'EMAIL_TAKEN']],
    ['HTTP/1.1 207 Multi-Status', 'total=2, succeeded=1, failed=1', ['created', 'EMAIL_TAKEN']],
    ['HTTP/1.1 207 Multi-Status', 'total=2, succeeded=1, failed=1', ['updated', 'CONTACT_NOT_FOUND']],
    ['HTTP/1.1 207 Multi-Status', 'total=2, succeeded=1, failed=1', ['deleted', 'CONTACT_NOT_FOUND']],
    ['HTTP/1.1 207 Multi-Status', 'total=2, succeeded=1, failed=1', ['created', 'EMAIL_TAKEN']]
  ])
  server.kill('SIGTERM')
  t.strictSame(await exited, [0, null])

  const again = await openDatabase(dir)
  t.teardown(() => again.close())
  t.match(await listContacts(again, { after: 0, limit: 10 }), [{ email: 'ada@example.org', name: 'Ada' }])
})
