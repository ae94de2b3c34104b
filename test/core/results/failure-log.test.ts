// Items that fail with an internal error: the client learns a code, and the log has the cause.
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { bulkRoute, defineContract, ItemError } from '../../../lib/index.js'
import { build, type LogLine } from '../../fixtures/build.js'

t.test('the log has one line for each item that failed with an internal error: its index, its key and the cause', async t => {
  const lines: LogLine[] = []
  const app = await build(t, { onLog: line => lines.push(line) })
  const work: Record<string, () => unknown> = {
    throws: () => { throw new Error('secret') },
    nothing: () => { throw undefined }, // eslint-disable-line no-throw-literal
    hangs: () => new Promise(() => {}),
    garbage: () => ({ n: 'secret' }),
    taken: () => { throw new ItemError('Taken', { statusCode: 409 }) },
    good: () => ({ n: 1 })
  }
  const counted = defineContract({ name: 'Count', key: 'id', success: 'done', failure: 'failed', reason: 'why', data: Type.Object({ n: Type.Integer() }) })
  app.route(bulkRoute({ url: '/jobs', contract: counted, item: Type.Object({ id: Type.String() }), timeout: 50, handler: ({ id }) => work[id]!() as { n: number } }))

  const response = await app.inject({ method: 'POST', url: '/jobs', payload: [...Object.keys(work).map(id => ({ id })), { id: 5 }] })

  const results = response.json().results as { id: unknown, code?: string }[]
  t.strictSame(results.map(({ id, code }) => [id, code]), [
    ['throws', 'INTERNAL_ERROR'], ['nothing', 'INTERNAL_ERROR'], ['hangs', 'TIMEOUT'], ['garbage', 'INVALID_RESULT'],
    ['taken', 'ITEM_FAILED'], ['good', undefined], [5, 'INVALID_ITEM']
  ])
  t.notMatch(response.body, 'secret')
  const errors = lines.filter(({ level }) => level >= 50).sort((a, b) => Number(a.index) - Number(b.index))
  t.strictSame(errors.map(({ msg, index, key, code }) => [msg, index, key, code]), [
    ['item failed', 0, 'throws', 'INTERNAL_ERROR'], ['item failed', 1, 'nothing', 'INTERNAL_ERROR'],
    ['item failed', 2, 'hangs', 'TIMEOUT'], ['item failed', 3, 'garbage', 'INVALID_RESULT']
  ])
  t.match(errors[0], { err: { message: 'secret', stack: /failure-log/ } })
})
