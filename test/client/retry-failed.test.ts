// retryFailed: sends retryable items again.
import t from 'tap'
import { retryFailed, ResponseError, type Attempt } from '../../lib/client/index.js'
import { startHttpServer } from '../fixtures/http-server.js'

interface Item { id: number, name?: string }
type ItemResult = { id: number, status: 'success' } |
  { id: number, status: 'error', message: string, code?: string, statusCode?: number, retryable?: boolean, retryAfter?: number }
interface Body { results: ItemResult[] }

const fast = { backoff: 1 }
const items: Item[] = [{ id: 1 }, { id: 2 }, { id: 3 }]
const succeed = ({ id }: Item): ItemResult => ({ id, status: 'success' })
const busy = ({ id }: Item, retryAfter?: number): ItemResult =>
  ({ id, status: 'error', message: 'Busy', code: 'BUSY', statusCode: 503, retryable: true, ...(retryAfter !== undefined && { retryAfter }) })
const taken = ({ id }: Item): ItemResult => ({ id, status: 'error', message: 'Taken', code: 'TAKEN', statusCode: 409, retryable: false })

/** A `send` that records its calls and takes its answers from a list; the last one answers all further attempts. */
function recorder (...ways: ((items: Item[]) => Body | Response | Promise<Body>)[]) {
  const sent: { ids: number[], attempt: Attempt }[] = []
  const send = async (given: Item[], attempt: Attempt) => {
    sent.push({ ids: given.map(({ id }) => id), attempt })
    return ways[Math.min(sent.length, ways.length) - 1]!(given)
  }
  return { sent, send, keys: () => sent.map(({ attempt }) => attempt.idempotencyKey), ids: () => sent.map(({ ids }) => ids) }
}

const resultsBy = (word: (item: Item) => ItemResult) => (given: Item[]): Body => ({ results: given.map(word) })

t.test('sends retryable items again under a new key, and returns results in item order', async t => {
  const { send, ids, keys, sent } = recorder(
    resultsBy(item => item.id === 1 ? busy(item) : item.id === 2 ? taken(item) : busy(item)),
    // In another order than they were sent.
    given => ({ results: given.map(item => item.id === 1 ? succeed(item) : busy(item)).reverse() }),
    resultsBy(succeed)
  )
  const progress: unknown[] = []

  const results = await retryFailed(send, items, { ...fast, onAttempt: (attempt, results, error) => progress.push([attempt, results!.map(({ status }) => status), error]) })

  t.strictSame(results, [succeed(items[0]!), taken(items[1]!), succeed(items[2]!)])
  t.strictSame(ids(), [[1, 2, 3], [1, 3], [3]])
  t.equal(new Set(keys()).size, 3)
  for (const key of keys()) t.match(key, /^\d+(-\d+){3}$/)
  t.strictSame(sent.map(({ attempt }) => attempt.attempt), [1, 2, 3])
  t.strictSame(progress, [
    [1, ['error', 'error', 'error'], undefined], [2, ['success', 'error', 'error'], undefined], [3, ['success', 'error', 'success'], undefined]
  ])
})

t.test('sends a batch once if nothing is retryable', async t => {
  const { send, ids } = recorder(resultsBy(taken))

  t.strictSame(await retryFailed(send, items, fast), items.map(taken))
  t.strictSame(ids(), [[1, 2, 3]])
})

t.test('returns the last failures when the attempts are used up', async t => {
  const { send, ids } = recorder(resultsBy(item => item.id === 2 ? busy(item) : succeed(item)))

  const results = await retryFailed(send, items, { ...fast, maxAttempts: 3 })

  t.strictSame(results, [succeed(items[0]!), busy(items[1]!), succeed(items[2]!)])
  t.strictSame(ids(), [[1, 2, 3], [2], [2]])
})

t.test('sends the same items under the same key after a lost connection', async t => {
  const lost = () => { throw new TypeError('fetch failed') }
  const { send, ids, keys } = recorder(lost, lost, resultsBy(item => item.id === 1 ? busy(item) : succeed(item)), lost, resultsBy(succeed))
  const errors: unknown[] = []

  const results = await retryFailed(send, items, { ...fast, onAttempt: (_attempt, _results, error) => errors.push(error) })

  t.strictSame(results, items.map(succeed))
  t.strictSame(ids(), [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1], [1]])
  const [one, two, three, four, five] = keys()
  t.strictSame([two, three, five], [one, one, four])
  t.not(four, one)
  t.match(errors, [{ message: 'fetch failed' }, { message: 'fetch failed' }, undefined, { message: 'fetch failed' }, undefined])
})

t.test('rejects if the first connection stays lost, and returns known results if a later one does', async t => {
  const lost = () => { throw new TypeError('fetch failed') }

  const never = recorder(lost)
  await t.rejects(retryFailed(never.send, items, { ...fast, maxAttempts: 2 }), { message: 'fetch failed' })
  t.equal(never.sent.length, 2)

  const once = recorder(resultsBy(item => item.id === 3 ? busy(item) : succeed(item)), lost)
  const results = await retryFailed(once.send, items, { ...fast, maxAttempts: 3 })
  t.strictSame(results, [succeed(items[0]!), succeed(items[1]!), busy(items[2]!)])
  t.equal(once.sent.length, 3)
})

t.test('retries responses of 409, 429 and 5xx under the same key, and rejects other errors', async t => {
  const statuses: number[] = []
  const keys: unknown[] = []
  let refusal = 429
  const url = await startHttpServer(t, (request, response) => {
    keys.push(request.headers['idempotency-key'])
    const status = statuses.length === 0 ? 207 : statuses.shift()!
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(status === 207 ? { results: items.map(succeed) } : { statusCode: status, message: `No ${refusal}` }))
  })
  const send = (given: Item[], { idempotencyKey, signal }: Attempt) => fetch(url, {
    method: 'POST', body: JSON.stringify(given), headers: { 'idempotency-key': idempotencyKey }, signal
  })

  statuses.push(409, 503, 500, 429)
  t.strictSame(await retryFailed<Item, Body>(send, items, fast), items.map(succeed))
  t.equal(keys.length, 5)
  t.equal(new Set(keys).size, 1)

  for (refusal of [400, 401, 413, 422]) {
    statuses.push(refusal)
    const error = await retryFailed<Item, Body>(send, items, fast).catch(error => error)
    t.ok(error instanceof ResponseError)
    t.match(error, { status: refusal, message: `Received ${refusal} No ${refusal}`, body: { statusCode: refusal } })
  }
  t.equal(keys.length, 9)
})

t.test('reads the status of errors of other HTTP clients', async t => {
  for (const error of [{ status: 401 }, { statusCode: 400 }, { response: new Response('', { status: 422 }) }]) {
    const { send, sent } = recorder(() => { throw Object.assign(new Error('No'), error) })
    await t.rejects(retryFailed(send, items, fast), { message: 'No' })
    t.equal(sent.length, 1)
  }
  const { send, sent } = recorder(() => { throw Object.assign(new Error('No'), { status: 503 }) }, resultsBy(succeed))
  t.strictSame(await retryFailed(send, items, fast), items.map(succeed))
  t.equal(sent.length, 2)
})

t.test('waits for the longest retryAfter, and gives up if it is too long', async t => {
  const { send, sent } = recorder(resultsBy(item => busy(item, item.id / 10)), resultsBy(succeed))
  const begin = performance.now()
  await retryFailed(send, items, fast)
  t.ok(performance.now() - begin >= 299)
  t.equal(sent.length, 2)

  const long = recorder(resultsBy(item => busy(item, 3600)))
  t.strictSame(await retryFailed(long.send, items, fast), items.map(item => busy(item, 3600)))
  t.equal(long.sent.length, 1)
})

t.test('respects a Retry-After in seconds or as a date', async t => {
  const refuse = (retryAfter: string) => () => new Response('', { status: 503, headers: { 'retry-after': retryAfter } })

  const late = recorder(refuse('3600'))
  await t.rejects(retryFailed<Item, Body>(late.send, items, fast), { message: 'Received 503 ' })
  t.equal(late.sent.length, 1)

  const date = recorder(refuse(new Date(Date.now() + 3_600_000).toUTCString()))
  await t.rejects(retryFailed<Item, Body>(date.send, items, fast), { message: 'Received 503 ' })
  t.equal(date.sent.length, 1)

  const past = recorder(refuse(new Date(0).toUTCString()), refuse('soon'), resultsBy(succeed))
  t.strictSame(await retryFailed<Item, Body>(past.send, items, fast), items.map(succeed))

  const begin = performance.now()
  await retryFailed<Item, Body>(recorder(refuse('1'), resultsBy(succeed)).send, items, fast)
  t.ok(performance.now() - begin >= 999)
})

t.test('finds items by a named key, by their own value, and skips items without a key', async t => {
  const named = items.map(item => ({ ...item, name: `n${item.id}` }))
  const byName = recorder(
    given => ({ results: given.map(({ id, name }) => ({ ...busy({ id }), id: 0, name })) as ItemResult[] }),
    given => ({ results: given.map(({ name }) => ({ id: 0, status: 'success', name })) as ItemResult[] })
  )
  t.strictSame((await retryFailed(byName.send, named, { ...fast, key: 'name' })).map(({ status }) => status), ['success', 'success', 'success'])

  const sent: string[][] = []
  const files = await retryFailed(async (names: string[]) => {
    sent.push(names)
    return { results: names.map(file => ({ file, status: sent.length === 1 && file === 'b' ? 'failed' as const : 'uploaded' as const, retryable: true })) }
  }, ['a', 'b'], fast)
  t.strictSame(sent, [['a', 'b'], ['b']])
  t.strictSame(files.map(({ status }) => status), ['uploaded', 'uploaded'])

  const keyless = recorder(resultsBy(item => busy({ id: (item.id ?? null) as number })))
  t.equal((await retryFailed(keyless.send, [{} as Item], fast)).length, 1)
  t.equal(keyless.sent.length, 1)
})

t.test('recognises the words of a custom contract, and rejects results for other items', async t => {
  const sent: number[] = []
  const results = await retryFailed(async (given: Item[], { attempt }) => {
    sent.push(attempt)
    return { contacts: given.map(({ id }) => ({ id, status: attempt === 1 ? 'rejected' : 'created', retryable: attempt === 1 })) }
  }, items, { ...fast, failure: 'rejected' })
  t.strictSame(sent, [1, 2])
  t.strictSame(results.map(({ status }) => status), ['created', 'created', 'created'])

  await t.rejects(retryFailed(async () => ({ results: [succeed(items[0]!)] }), items, fast), { name: 'TypeError', message: 'Expected 3 results; received 1' })
  await t.rejects(retryFailed(async () => ({ batchId: 'x' }), items, fast), { message: 'Expected a body with one array; received {"batchId":"x"}' })
})

t.test('rejects with the reason of an abort, during a delay or a request', async t => {
  const reason = new Error('Enough')
  const controller = new AbortController()
  const { send, sent } = recorder(given => {
    setImmediate(() => controller.abort(reason))
    return resultsBy(item => busy(item, 30))(given)
  })
  await t.rejects(retryFailed(send, items, { signal: controller.signal }), { message: 'Enough' })
  t.equal(sent.length, 1)
  t.equal(sent[0]!.attempt.signal, controller.signal)

  await t.rejects(retryFailed(send, items, { signal: controller.signal }), { message: 'Enough' })
  t.equal(sent.length, 1)

  const during = new AbortController()
  const hanging = retryFailed(async () => {
    during.abort(reason)
    throw new TypeError('fetch failed')
  }, items, { signal: during.signal })
  await t.rejects(hanging, { message: 'Enough' })

  const later = new AbortController()
  const second = recorder(resultsBy(item => busy(item)), () => {
    later.abort(reason)
    throw new TypeError('fetch failed')
  })
  await t.rejects(retryFailed(second.send, items, { ...fast, signal: later.signal }), { message: 'Enough' })
  t.equal(second.sent.length, 2)
})
