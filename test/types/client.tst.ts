// What the client infers from the type of a body.
import { describe, expect, test } from 'tstyche'
import {
  assertAllSucceeded, batchFetch, partition, readStream, retryFailed, watchBatch, type Fetch, type Partition
} from '../../lib/client/index.js'
import type { TaskResult, UploadResult } from '../../lib/index.js'

type Created = { email: string, status: 'created', contactId: number }
type Rejected = { email: string | null, status: 'rejected', message: string, retryable?: boolean }
type Uploaded = Extract<UploadResult, { status: 'uploaded' }>
type NotUploaded = Extract<UploadResult, { status: 'failed' }>

declare const contacts: { results: (Created | Rejected)[] }
declare const uploads: { results: UploadResult[] }
declare const response: Response

describe('partition', () => {
  test('tells successes from failures by the words of the plugin', () => {
    const { succeeded, failed, retryable } = partition(uploads)

    expect(succeeded).type.toBe<Uploaded[]>()
    expect(failed).type.toBe<NotUploaded[]>()
    expect(retryable).type.toBe<NotUploaded[]>()
    expect(failed[0]!.error).type.toBe<string>()
  })

  test("tells them by a word of the app's own", () => {
    const { succeeded, failed } = partition(contacts, { failure: 'rejected' })

    expect(succeeded).type.toBe<Created[]>()
    expect(failed).type.toBe<Rejected[]>()
  })

  test('takes bare results, and no word that no result has', () => {
    expect(partition(contacts.results, { failure: 'rejected' })).type.toBe<Partition<Created | Rejected, 'rejected'>>()
    expect(partition<typeof contacts>).type.not.toBeCallableWith(contacts, { failure: 'failed' })
  })
})

test('assertAllSucceeded gives successes alone', () => {
  expect(assertAllSucceeded(uploads)).type.toBe<Uploaded[]>()
})

test('readStream gives results with their places, and watchBatch what became of each', async () => {
  for await (const result of readStream<Created | Rejected>(response)) {
    expect(result.index).type.toBe<number>()
    if (result.status === 'rejected') expect(result.message).type.toBe<string>()
  }
  for await (const event of watchBatch<{ tasks: TaskResult[] }>('/tasks/1')) {
    expect(event.summary.pending).type.toBe<number>()
    if (event.type === 'result') expect(event.result.taskId).type.toBe<string | number | null>()
  }
})

test('retryFailed hands items to send as they came, and gives results', async () => {
  const results = retryFailed(async (some: { email: string }[], attempt) => {
    expect(some).type.toBe<{ email: string }[]>()
    expect(attempt.idempotencyKey).type.toBe<string>()
    return contacts
  }, [{ email: 'ada@example.org' }], { failure: 'rejected' })

  expect(results).type.toBe<Promise<(Created | Rejected)[]>>()
})

test('batchFetch makes what can stand for fetch', () => {
  const fetchTogether = batchFetch('/batch', { headers: () => ({ authorization: 'Bearer x' }) })

  expect(fetchTogether).type.toBe<Fetch>()
  expect(fetchTogether).type.toBeAssignableTo<typeof fetch>()
  expect(fetchTogether('/contacts/1')).type.toBe<Promise<Response>>()
  expect(batchFetch).type.not.toBeCallableWith('/batch', { maxItems: '50' })
})
