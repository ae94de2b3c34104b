// Converts between multi-status results and those of other tools, as the README shows.
import { Type, type Static } from '@sinclair/typebox'
import t from 'tap'
import { partition } from '../../lib/client/index.js'
import { defineContract, generic, settle } from '../../lib/index.js'
import { build } from '../fixtures/build.js'

interface BatchResponse { batchItemFailures: { itemIdentifier: string }[] }

const messages = defineContract({ name: 'Message', key: 'messageId', keyType: Type.String(), success: 'handled', failure: 'failed', reason: 'reason' })
type Body = Static<typeof messages.schemas.body>

const items = [{ messageId: 'a' }, { messageId: 'b' }, { messageId: 'c' }]
const handle = async ({ messageId }: { messageId: string }) => { if (messageId === 'b') throw new Error('secret') }

t.test('converts the outcomes of Promise.allSettled and settle', async t => {
  const app = await build(t)
  const route = { schema: { body: Type.Array(Type.Object({ messageId: Type.String() })) }, config: { multiStatus: messages } }
  app.post<{ Body: typeof items }>('/settled', route, async (request, reply) =>
    reply.multiStatus(await Promise.allSettled(request.body.map(handle))))
  app.post<{ Body: typeof items }>('/bounded', route, async (request, reply) =>
    reply.multiStatus(await settle(request.body, handle, { concurrency: 2 })))

  for (const url of ['/settled', '/bounded']) {
    const body: Body = (await app.inject({ method: 'POST', url, payload: items })).json()
    t.match(body, { results: [{ messageId: 'a', status: 'handled' }, { messageId: 'b', status: 'failed', reason: 'Internal error' }, { messageId: 'c', status: 'handled' }] })
    const outcomes = body.results.map(result => result.status === 'failed' ? { status: 'rejected', reason: result } : { status: 'fulfilled', value: result })
    t.strictSame(outcomes.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled'])
  }
})

t.test('converts to and from the batchItemFailures of AWS', async t => {
  const app = await build(t)
  const runOnAws = async (): Promise<BatchResponse> => ({ batchItemFailures: [{ itemIdentifier: 'b' }] })
  app.post<{ Body: typeof items }>('/messages', { schema: { body: Type.Array(Type.Object({ messageId: Type.String() })) }, config: { multiStatus: messages } }, async (request, reply) => {
    const failed = new Set((await runOnAws()).batchItemFailures.map(({ itemIdentifier }) => itemIdentifier))
    return reply.multiStatus(request.body.map(({ messageId: id }) => failed.has(id) ? messages.fail(id, { message: 'Failed', retryable: true }) : messages.succeed(id)))
  })

  const response = await app.inject({ method: 'POST', url: '/messages', payload: items })
  const body: Body = response.json()
  t.equal(response.headers['multi-status'], 'total=3, succeeded=2, failed=1')
  t.strictSame(body.results[1], { messageId: 'b', status: 'failed', reason: 'Failed', retryable: true })

  const back: BatchResponse = { batchItemFailures: partition(body).failed.map(({ messageId }) => ({ itemIdentifier: String(messageId) })) }
  t.strictSame(back, await runOnAws())
})

t.test('defines contracts in the words of other conventions', async t => {
  const zalando = defineContract({ name: 'Part', envelope: 'items', key: 'id', success: 'created', failure: 'failed', reason: 'description' })
  const scim = defineContract({ name: 'Operation', envelope: 'Operations', key: 'bulkId', success: 'success', failure: 'error', reason: 'detail' })
  const elastic = defineContract({ name: 'Document', envelope: 'items', key: '_id', success: ['created', 'updated'], failure: 'error', reason: 'reason' })
  for (const contract of [zalando, scim, elastic, generic]) {
    const app = await build(t)
    app.post('/', { config: { multiStatus: contract } }, async (_request, reply) =>
      reply.multiStatus([contract.succeed('a' as never), contract.fail('b' as never, { message: 'No', statusCode: 422, code: 'NO', retryable: false })]))
    const body = (await app.inject({ method: 'POST', url: '/' })).json()
    t.match(body, { [contract.envelope]: [{ [contract.key]: 'a' }, { [contract.key]: 'b', [contract.reason]: 'No', statusCode: 422 }] })
    t.equal(partition(body).failed.length, 1)
  }
})
