// The example that counts items for Prometheus.
import t from 'tap'
import { build } from '../../examples/metrics.js'

t.test('counts batches and items by route, outcome and code', async t => {
  const app = await build()
  t.teardown(() => app.close())
  for (const payload of [[{ id: 1 }, { id: -2 }, { id: 'three' }], [{ id: 4 }], [{ id: -5 }]]) {
    t.equal((await app.inject({ method: 'POST', url: '/squares', payload })).statusCode, 207)
  }
  const { headers, body } = await app.inject('/metrics')

  t.match(headers['content-type'], /^text\/plain/)
  for (const line of [
    'multi_status_batches_total{route="/squares",outcome="partial"} 1',
    'multi_status_batches_total{route="/squares",outcome="succeeded"} 1',
    'multi_status_batches_total{route="/squares",outcome="failed"} 1',
    'multi_status_items_total{route="/squares",status="succeeded",code=""} 2',
    'multi_status_items_total{route="/squares",status="failed",code="NEGATIVE"} 2',
    'multi_status_items_total{route="/squares",status="failed",code="INVALID_ITEM"} 1',
    'multi_status_batch_seconds_count{route="/squares"} 3'
  ]) t.ok(body.split('\n').includes(line), line)
})
