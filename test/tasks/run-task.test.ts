// Running one task: what its canceller does to it.
import t from 'tap'
import { createCanceller, ItemError } from '../../lib/index.js'
import { createTaskRunner } from '../../lib/tasks/run-task.js'
import { silent } from '../fixtures/task-processes.js'

const cancelled = () => new ItemError('Cancelled', { code: 'CANCELLED', statusCode: 424, retryable: true })

t.test('a task that is cancelled before it begins fails with the reason, and is not tried again', async t => {
  const canceller = createCanceller()
  canceller.cancel(cancelled())
  const runTask = createTaskRunner({ handlers: { hang: { handler: () => new Promise(() => {}) } }, timeout: 60_000, retries: 3 })

  const end = await runTask({ taskId: 1, type: 'hang', payload: {} }, { batchId: 'b', index: 0, attempt: 1, log: silent, canceller })

  t.match(end, { result: { taskId: 1, status: 'failed', code: 'CANCELLED' }, retryIn: undefined })
})

t.test('a task whose handler cancels it fails with the reason', async t => {
  const canceller = createCanceller()
  const handler = () => {
    canceller.cancel(cancelled())
    return new Promise(() => {})
  }
  const runTask = createTaskRunner({ handlers: { hang: { handler } }, timeout: 60_000, retries: 0 })

  const end = await runTask({ taskId: 1, type: 'hang', payload: {} }, { batchId: 'b', index: 0, attempt: 1, log: silent, canceller })

  t.match(end, { result: { code: 'CANCELLED' } })
})
