// The Prefer header (RFC 7240) and the headers that answer it.
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { bulkRoute, defineContract } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { post } from '../../fixtures/post.js'

const notes = defineContract({
  name: 'Note', key: 'noteId', success: 'saved', failure: 'refused', reason: 'why', data: Type.Object({ size: Type.Integer() })
})

const valid = { results: [{ noteId: 1, status: 'saved', size: 1 }, { noteId: 2, status: 'saved', size: 2 }] }
const minimal = { results: [{ noteId: 1, status: 'saved' }, { noteId: 2, status: 'saved' }] }

async function app (t: Test, { itemsIn }: { itemsIn?: string } = {}) {
  const ran: number[] = []
  const app = await build(t)
  app.route(bulkRoute({
    url: '/notes',
    contract: notes,
    item: Type.Object({ noteId: Type.Integer(), text: Type.Optional(Type.String()) }),
    itemsIn,
    handler: ({ noteId }) => { ran.push(noteId); return { size: noteId } }
  }))
  return { app, ran }
}

const NOTES = [{ noteId: 1 }, { noteId: 2 }]

t.test('sends Vary but no Preference-Applied without a preference', async t => {
  const response = await post((await app(t)).app, '/notes', NOTES)
  t.equal(response.statusCode, 207)
  t.strictSame(response.json(), valid)
  t.equal(response.headers.vary, 'Prefer')
  t.equal('preference-applied' in response.headers, false)
})

t.test('reduces successes to key and status with return=minimal, and keeps failures whole', async t => {
  const response = await post((await app(t)).app, '/notes', [{ noteId: 1 }, { noteId: 2, text: 3 }], { prefer: 'return=minimal' })
  t.equal(response.statusCode, 207)
  t.equal(response.headers['preference-applied'], 'return=minimal')
  t.equal(response.headers.vary, 'Prefer')
  t.equal(response.headers['multi-status'], 'total=2, succeeded=1, failed=1')
  t.strictSame(response.json(), {
    results: [
      { noteId: 1, status: 'saved' },
      {
        noteId: 2,
        status: 'refused',
        why: 'Invalid data',
        code: 'INVALID_ITEM',
        statusCode: 422,
        retryable: false,
        errors: [{ pointer: '#/text', detail: 'must be string; received number' }]
      }
    ]
  })
})

t.test('refuses the batch for an invalid item with handling=strict, and runs nothing', async t => {
  const expected = {
    statusCode: 422,
    code: 'FST_MULTI_STATUS_INVALID_ITEMS',
    error: 'Unprocessable Entity',
    message: 'Expected only valid items (Prefer: handling=strict); received 2 invalid of 3, so nothing ran'
  }
  const problems = (root: string) => [
    { pointer: `${root}/1/text`, detail: 'must be string; received number' },
    { pointer: `${root}/2/noteId`, detail: "must have required property 'noteId'" }
  ]
  const items = [{ noteId: 1 }, { noteId: 2, text: 3 }, {}]
  for (const [itemsIn, payload, root] of [[undefined, items, '#'], ['notes', { notes: items }, '#/notes']] as const) {
    const { app: one, ran } = await app(t, { itemsIn })
    const seen: unknown[] = []
    one.addHook('onError', async (_request, _reply, error) => { seen.push((error as Error & { errors?: unknown }).errors) })
    const response = await post(one, '/notes', payload, { prefer: 'handling=strict' })
    t.equal(response.statusCode, 422)
    t.equal(response.headers['preference-applied'], 'handling=strict')
    t.equal(response.headers.vary, 'Prefer')
    t.equal(response.headers['multi-status'], undefined)
    t.match(response.json(), expected)
    t.strictSame(seen, [problems(root)], 'the error handler of the app is told where')
    t.strictSame(ran, [])
  }
})

t.test('runs a batch of valid items with handling=strict', async t => {
  const { app: one, ran } = await app(t)
  const response = await post(one, '/notes', NOTES, { prefer: 'handling=strict, return=minimal' })
  t.equal(response.statusCode, 207)
  t.strictSame(response.json(), minimal)
  t.equal(response.headers['preference-applied'], 'handling=strict, return=minimal')
  t.strictSame(ran, [1, 2])
})

t.test('treats handling=lenient as the default', async t => {
  const response = await post((await app(t)).app, '/notes', [{ noteId: 1 }, { noteId: 'x' }], { prefer: 'handling=lenient' })
  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=2, succeeded=1, failed=1')
})

t.test('reads every notation of RFC 7240', async t => {
  const { app: one } = await app(t)
  const read = [
    'return=minimal',
    'RETURN=minimal',
    'return = minimal',
    'return="minimal"',
    'return="min\\imal"',
    'return=minimal; foo; bar=1',
    'return=minimal;',
    'return=minimal;foo="a, b; c"',
    'foo, return=minimal',
    'foo="a, return=representation", return=minimal',
    'foo="\\", return=representation", return=minimal',
    ', ,return=minimal,,',
    '\treturn=minimal\t',
    'return=minimal, return=representation',
    'respond-async, wait=5, return=minimal'
  ]
  for (const prefer of read) {
    const response = await post(one, '/notes', NOTES, { prefer })
    t.strictSame(response.json(), minimal, prefer)
    t.equal(response.headers['preference-applied'], 'return=minimal', prefer)
  }
})

t.test('ignores unknown and malformed preferences', async t => {
  const { app: one } = await app(t)
  const ignored = [
    '',
    ',',
    '=',
    ';',
    '"',
    '""',
    'return',
    'return=',
    'return=""',
    'return=minimal=1',
    'return=minimal handling=strict',
    'return="minimal',
    'return=minimal"',
    'return="minimal"x',
    'x-return=minimal',
    'foo; return=minimal',
    'foo="return=minimal"',
    'foo="x, return=minimal',
    'return=Minimal',
    'return=representation, return=minimal',
    'return, return=minimal',
    '__proto__=x, constructor'
  ]
  for (const prefer of ignored) {
    const response = await post(one, '/notes', NOTES, { prefer })
    t.equal(response.statusCode, 207, prefer)
    t.strictSame(response.json(), valid, prefer)
    t.equal('preference-applied' in response.headers, false, prefer)
  }
})

t.test('reads several Prefer headers as one', async t => {
  const { app: one } = await app(t)
  const response = await one.inject({
    method: 'POST', url: '/notes', payload: [{ noteId: 1 }, { noteId: 2 }], headers: { prefer: ['foo', 'return=minimal'] }
  })
  t.strictSame(response.json(), minimal)
})

t.test('parses the longest possible header in linear time', async t => {
  const { app: one } = await app(t)
  await post(one, '/notes', NOTES, { prefer: 'return=minimal' })
  const long = 15_000
  const hostile = [
    `a${' '.repeat(long)}x`,
    `a=${' '.repeat(long)}x y`,
    `a${' '.repeat(long / 2)}=${' '.repeat(long / 2)}x y`,
    `a=x${' '.repeat(long)}y`,
    '"'.repeat(long),
    `a="${'\\'.repeat(long)}`,
    `a="${'\\"'.repeat(long / 2)}`,
    'a;'.repeat(long / 2),
    'a,'.repeat(long / 2)
  ]
  for (const prefer of hostile) {
    const before = process.cpuUsage()
    const response = await post(one, '/notes', NOTES, { prefer })
    const ms = process.cpuUsage(before).user / 1000
    t.ok(ms < 200, `${prefer.slice(0, 5)}... took ${ms} ms`)
    t.strictSame(response.json(), valid)
  }
})

t.test('keeps the values of Vary and Preference-Applied that the app has set', async t => {
  const said: Array<[string | string[] | undefined, string]> = [
    [undefined, 'Prefer'],
    ['Origin', 'Origin, Prefer'],
    [['Origin', 'Accept'], 'Origin, Accept, Prefer'],
    ['*', '*'],
    ['origin, PREFER', 'origin, PREFER'],
    ['', 'Prefer']
  ]
  for (const [before, after] of said) {
    const one = await build(t)
    one.addHook('onRequest', async (_request, reply) => {
      if (before !== undefined) reply.header('vary', before)
      reply.header('preference-applied', 'respond-async')
    })
    one.post('/notes', { config: { multiStatus: notes } }, (_request, reply) => reply.multiStatus([notes.succeed(1, { size: 1 })]))
    const response = await post(one, '/notes', NOTES, { prefer: 'return=minimal' })
    t.strictSame(response.json(), { results: [{ noteId: 1, status: 'saved' }] })
    t.equal([response.headers.vary].flat().join(), after)
    t.equal(response.headers['preference-applied'], 'respond-async, return=minimal')
  }
})

t.test('ignores preferences on a route without a contract', async t => {
  const one = await build(t)
  one.post('/notes', (_request, reply) => reply.multiStatus([{ id: 1, status: 'success', size: 1 }]))
  const response = await post(one, '/notes', NOTES, { prefer: 'return=minimal' })
  t.equal(response.body, '{"results":[{"id":1,"status":"success","size":1}]}')
  t.equal('vary' in response.headers, false)
  t.equal('preference-applied' in response.headers, false)
})
