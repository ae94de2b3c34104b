// settle: bounded, timed and abortable work over many items, with one outcome for each.
import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createCanceller, ItemError, settle, type Outcome, type SettleOptions } from '../../../lib/index.js'
import { noteUnhandled, timers, turns } from '../../fixtures/leaks.js'

// The tests look at the timers of the whole process.
t.jobs = 1

const ok = <R>(value: R) => ({ status: 'fulfilled', value })
const failed = (reason: unknown) => ({ status: 'rejected', reason })
const never = () => new Promise<never>(() => {})
const range = (length: number) => Array.from({ length }, (_, index) => index)

/** What an outcome says in short: the value, or the code or message of the error. */
function brief (outcome: Outcome<unknown>): unknown {
  if (outcome.status === 'fulfilled') return outcome.value
  return outcome.reason instanceof ItemError ? outcome.reason.code : (outcome.reason as Error).message
}

/** A worker whose items end when they are told to. */
function createGate () {
  const started: number[] = []
  const open = new Map<number, (value: string) => void>()
  let running = 0
  let most = 0
  return {
    started,
    get most () { return most },
    open: (item: number) => open.get(item)!(`done ${item}`),
    worker: (item: number) => {
      started.push(item)
      most = Math.max(most, ++running)
      return new Promise<string>(resolve => open.set(item, resolve)).finally(() => { running-- })
    }
  }
}

t.test('outcomes come in the order of the items, whatever finishes first', async t => {
  const gate = createGate()
  const settled = settle([1, 2, 3], gate.worker)
  for (const item of [3, 1, 2]) gate.open(item)

  t.strictSame(await settled, [ok('done 1'), ok('done 2'), ok('done 3')])
})

t.test('at most 16 items run at a time when nobody says otherwise', async t => {
  const gate = createGate()
  const settled = settle(range(20), gate.worker)
  t.strictSame(gate.started, range(16))

  for (const item of range(16)) gate.open(item)
  while (gate.started.length < 20) await turns()
  for (const item of range(20)) gate.open(item)

  t.equal((await settled).length, 20)
  t.equal(gate.most, 16)
})

t.test('a free slot takes the next item at once, and no more than the bound run', async t => {
  const gate = createGate()
  const settled = settle(range(5), gate.worker, { concurrency: 2 })
  t.strictSame(gate.started, [0, 1])

  gate.open(1)
  await turns()
  t.strictSame(gate.started, [0, 1, 2])

  for (const item of [0, 2]) gate.open(item)
  await turns()
  t.strictSame(gate.started, [0, 1, 2, 3, 4])
  for (const item of [3, 4]) gate.open(item)

  t.strictSame(await settled, range(5).map(item => ok(`done ${item}`)))
  t.equal(gate.most, 2)
})

t.test('no items, no outcomes', async t => {
  t.strictSame(await settle([], never), [])
  t.strictSame(await settle(new Set<number>(), never), [])
  t.strictSame(await settle((async function * () {})(), never), [])
})

t.test('the worker is told the place of its item and the number of its attempt', async t => {
  const told: object[] = []
  await settle(['a', 'b'], (item, { index, attempt, signal }) => { told.push({ item, index, attempt, aborted: signal.aborted }) })
  t.strictSame(told, [
    { item: 'a', index: 0, attempt: 1, aborted: false },
    { item: 'b', index: 1, attempt: 1, aborted: false }
  ])
})

t.test('a long run of synchronous work lets the event loop turn', async t => {
  let turned = false
  const immediate = new Promise<void>(resolve => setImmediate(() => { turned = true; resolve() }))
  const seen = await settle(range(100), () => {
    const start = performance.now()
    while (performance.now() - start < 1);
    return turned
  })
  t.strictSame([seen[0], seen[99]], [ok(false), ok(true)])
  await immediate
})

t.test('nothing that an item does costs another item its outcome', async t => {
  const unhandled = noteUnhandled(t)
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const error = new Error('Broken')
  class Sub<T> extends Promise<T> {}
  const ownThen = () => {
    const promise = Promise.resolve('own then')
    return Object.assign(promise, { then () { throw error } })
  }
  const badly: Record<string, [() => unknown, object]> = {
    'throws an error': [() => { throw error }, failed(error)],
    'throws undefined': [() => { throw undefined }, failed(undefined)], // eslint-disable-line no-throw-literal
    'throws null': [() => { throw null }, failed(null)], // eslint-disable-line no-throw-literal
    'throws a string': [() => { throw 'text' }, failed('text')], // eslint-disable-line no-throw-literal
    'throws what cannot be looked at': [() => { throw revoked.proxy }, { status: 'rejected' }],
    'rejects with an error': [() => Promise.reject(error), failed(error)],
    'rejects with undefined': [() => Promise.reject(undefined), failed(undefined)], // eslint-disable-line prefer-promise-reject-errors
    'rejects later': [async () => { await turns(); throw error }, failed(error)],
    'returns no promise': [() => 7, ok(7)],
    'returns nothing': [() => {}, ok(undefined)],
    'returns null': [() => null, ok(null)],
    'returns an object that is no promise': [() => ({ then: 'afterwards' }), ok({ then: 'afterwards' })],
    'returns a thenable': [() => ({ then: (done: (value: string) => void) => done('then') }), ok('then')],
    'returns a function that is a thenable': [() => Object.assign(() => {}, { then: (done: (value: string) => void) => done('f') }), ok('f')],
    'returns a thenable whose then throws': [() => ({ then () { throw error } }), failed(error)],
    'returns a thenable whose then cannot be read': [() => ({ get then () { throw error } }), failed(error)],
    'returns a thenable that answers twice': [
      () => ({ then: (done: (value: string) => void, fail: (reason: unknown) => void) => { done('first'); fail(error); throw error } }),
      ok('first')
    ],
    'returns a promise of a class of its own': [() => Sub.resolve('sub'), ok('sub')],
    'returns a promise whose own then throws': [ownThen, ok('own then')],
    'returns a promise of a promise': [async () => Promise.resolve(Promise.resolve('deep')), ok('deep')]
  }
  for (const options of [{}, { concurrency: 1 }, { timeout: 5_000 }, { retries: 1, backoff: 0 }] satisfies SettleOptions[]) {
    const items = Object.entries(badly).flatMap(([name, [work]]) => [{ name, work }, { name: 'good', work: async () => 'good' }])
    const outcomes = await settle(items, ({ work }) => work(), options)

    t.equal(outcomes.length, items.length)
    for (const [index, { name }] of items.entries()) {
      if (name === 'throws what cannot be looked at') t.equal(outcomes[index]!.status, 'rejected', name)
      else t.strictSame(outcomes[index], name === 'good' ? ok('good') : badly[name]![1], name)
    }
  }
  await turns()
  t.equal(timers(), 0)
  await turns()
  t.strictSame(unhandled, [])
})

t.test('an item that hangs fails with Timeout, and its signal says so', async t => {
  const before = timers()
  let signal: AbortSignal | undefined
  let askLate: () => AbortSignal | undefined = () => undefined
  const [hanging, quick, lazy] = await settle([0, 1, 2], async (item, context) => {
    if (item === 1) return 'quick'
    if (item === 0) signal = context.signal
    else askLate = () => context.signal
    return never()
  }, { timeout: 30 })

  t.match(hanging, { status: 'rejected', reason: { message: 'Timeout', code: 'TIMEOUT', statusCode: 504, retryable: true } })
  t.strictSame(quick, ok('quick'))
  t.match(lazy, { reason: { code: 'TIMEOUT' } })
  t.equal(signal?.aborted, true)
  t.equal((signal?.reason as ItemError).code, 'TIMEOUT')
  t.equal(askLate()?.aborted, true, 'also when it is asked for only afterwards')
  t.equal(timers(), before)
})

t.test('the signal of an item that has been settled says nothing of the items after it', async t => {
  const abort = new AbortController()
  let askLate: () => AbortSignal | undefined = () => undefined
  const [first, second] = await settle([0, 1], (item, context) => {
    if (item === 1) abort.abort()
    else askLate = () => context.signal
    return item === 1 ? never() : 'first'
  }, { concurrency: 1, signal: abort.signal })

  t.strictSame(first, ok('first'))
  t.match(second, { reason: { code: 'CANCELLED' } })
  t.equal(askLate()?.aborted, false)
})

t.test('the time of an item runs from its own start, not from that of the batch', async t => {
  const started: number[] = []
  const outcomes = await settle(range(6), async item => {
    started.push(performance.now())
    await delay(80)
    return item
  }, { concurrency: 1, timeout: 350 })

  t.strictSame(outcomes, range(6).map(ok))
  t.ok(started[5]! - started[0]! > 350, 'the last item started when the time of the first was long over')
})

t.test('a timed out item frees its slot, although its worker goes on', async t => {
  const outcomes = await settle([0, 1], item => item === 0 ? never() : 'next', { concurrency: 1, timeout: 20 })
  t.strictSame(outcomes.map(brief), ['TIMEOUT', 'next'])
})

t.test('each item can have its own time, or none', async t => {
  const outcomes = await settle([10, undefined, 5_000], async item => {
    if (item === 10) return never()
    await delay(40)
    return item
  }, { timeout: item => item })
  t.strictSame(outcomes.map(brief), ['TIMEOUT', undefined, 5_000])
  t.equal(timers(), 0)
})

t.test('an item whose time cannot be told fails before it runs', async t => {
  const unhandled = noteUnhandled(t)
  const ran: number[] = []
  const outcomes = await settle([NaN, Infinity, 2 ** 31, -1, 0, 0.5, 1000], async item => {
    ran.push(item)
    throw new Error('late')
  }, {
    timeout: ms => {
      if (ms === -1) throw new Error('No idea')
      return ms
    }
  })
  await turns()

  const refused = (received: string) => `fastify-multi-status: timeout must be an integer from 1 to 2147483647; received ${received}`
  t.strictSame(outcomes.map(brief),
    [refused('NaN'), refused('Infinity'), refused('2147483648'), 'No idea', refused('0'), refused('0.5'), 'late'])
  t.strictSame(ran, [1000])
  await turns()
  t.strictSame(unhandled, [])
})

t.test('what a worker says after its time is up is ignored', async t => {
  const unhandled = noteUnhandled(t)
  const late: Array<() => void> = []
  const outcomes = await settle([0, 1], item => new Promise((resolve, reject) => {
    late.push(() => item === 0 ? reject(new Error('late')) : resolve('late'))
  }), { timeout: 10 })
  for (const speak of late) speak()
  await turns()

  t.strictSame(outcomes.map(brief), ['TIMEOUT', 'TIMEOUT'])
  await turns()
  t.strictSame(unhandled, [])
})

t.test('an item is tried again until it works', async t => {
  const attempts: number[] = []
  const outcomes = await settle(['a'], async (item, { attempt }) => {
    attempts.push(attempt)
    if (attempt < 3) throw new Error('Not yet')
    return item
  }, { retries: 5, backoff: 1 })

  t.strictSame(outcomes, [ok('a')])
  t.strictSame(attempts, [1, 2, 3])
})

t.test('the outcome of an item that never works is its last failure', async t => {
  const outcomes = await settle([0], (_, { attempt }) => { throw new Error(`Attempt ${attempt}`) }, { retries: 2, backoff: 0 })
  t.strictSame(outcomes.map(brief), ['Attempt 3'])
})

t.test('nothing is tried again by default', async t => {
  let attempts = 0
  await settle([0], () => { attempts++; throw new Error('No') })
  t.equal(attempts, 1)
})

t.test('every attempt has its own time and its own signal', async t => {
  const signals: AbortSignal[] = []
  const outcomes = await settle([0], (_, { attempt, signal }) => {
    signals.push(signal)
    return attempt === 2 ? 'second' : never()
  }, { timeout: 20, retries: 1, backoff: 0 })

  t.strictSame(outcomes, [ok('second')])
  t.strictSame(signals.map(({ aborted }) => aborted), [true, false])
})

t.test('an item that says it is not retryable is not tried again', async t => {
  const attempts: Record<string, number> = {}
  const items = {
    conflict: new ItemError('Conflict', { statusCode: 409 }),
    unavailable: new ItemError('Unavailable', { statusCode: 503 }),
    never: new ItemError('Gone for good', { statusCode: 503, retryable: false }),
    insistent: new ItemError('Try me', { statusCode: 422, retryable: true })
  }
  await settle(Object.entries(items), ([name, error]) => {
    attempts[name] = (attempts[name] ?? 0) + 1
    throw error
  }, { retries: 2, backoff: 0 })

  t.strictSame(attempts, { conflict: 1, unavailable: 3, never: 1, insistent: 3 })
})

/** Calls the function with Math.random always the same and timers that fire at once; returns the waits in between. */
async function waits (t: Test, random: number, settling: () => Promise<unknown>): Promise<number[]> {
  const asked: number[] = []
  const real = globalThis.setTimeout
  const timeout = t.capture(globalThis, 'setTimeout', Object.assign((callback: () => void, ms: number) => {
    asked.push(ms)
    return real(callback, 0)
  }, { __promisify__: real.__promisify__ }))
  const jitter = t.capture(Math, 'random', () => random)
  try {
    await settling()
  } finally {
    timeout.restore()
    jitter.restore()
  }
  return asked
}

t.test('the wait before a retry is a random part of a delay that doubles, up to 30 seconds', async t => {
  const fail = () => { throw new Error('No') }
  const jittered = (random: number, options: SettleOptions) => waits(t, random, () => settle([0], fail, options))

  t.strictSame(await jittered(1, { retries: 10, backoff: 100 }),
    [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000])
  t.strictSame(await jittered(0.5, { retries: 3 }), [50, 100, 200])
  t.strictSame(await jittered(0, { retries: 2 }), [0, 0])
})

t.test('the wait before a retry is what the item asks for, up to 30 seconds', async t => {
  const asking = (retryAfter: number) => () => settle([0], () => {
    throw new ItemError('Slow down', { statusCode: 429, retryAfter })
  }, { retries: 1 })

  t.strictSame(await waits(t, 0.5, asking(0.25)), [250])
  t.strictSame(await waits(t, 0.5, asking(0)), [0])
  t.strictSame(await waits(t, 0.5, asking(3600)), [30000])
})

t.test('an aborted signal runs nothing', async t => {
  const reason = new ItemError('Server closing', { code: 'NOT_RUN', statusCode: 424, retryable: true })
  const run = () => t.fail('nothing may run')

  t.match(await settle([1, 2], run, { signal: AbortSignal.abort() }), [
    { status: 'rejected', reason: { message: 'Not run', code: 'NOT_RUN', statusCode: 424, retryable: true } },
    { status: 'rejected', reason: { message: 'Not run', code: 'NOT_RUN', statusCode: 424, retryable: true } }
  ])
  t.strictSame(await settle(new Set([1, 2]), run, { signal: AbortSignal.abort(reason) }), [failed(reason), failed(reason)])
  t.strictSame(await settle((async function * () { yield 1 })(), run, { signal: AbortSignal.abort(reason) }), [])
})

t.test('an abort cancels what runs and starts nothing more', async t => {
  const unhandled = noteUnhandled(t)
  const before = timers()
  const controller = new AbortController()
  const signals: AbortSignal[] = []
  const late: Array<() => void> = []
  const settled = settle(range(5), (item, { signal }) => {
    if (item === 0) return 'early'
    signals.push(signal)
    return new Promise((_resolve, reject) => late.push(() => reject(new Error('late'))))
  }, { concurrency: 2, timeout: 60_000, signal: controller.signal })
  await turns()
  t.equal(getEventListeners(controller.signal, 'abort').length, 1)
  t.equal(timers(), before + 2)
  controller.abort()

  const outcomes = await settled
  for (const speak of late) speak()
  await turns()

  t.strictSame(outcomes.map(brief), ['early', 'CANCELLED', 'CANCELLED', 'NOT_RUN', 'NOT_RUN'])
  t.match(outcomes[1], { reason: { message: 'Cancelled', statusCode: 424, retryable: true } })
  t.strictSame(signals.map(({ aborted, reason }) => [aborted, (reason as ItemError).code]), [[true, 'CANCELLED'], [true, 'CANCELLED']])
  t.equal(timers(), before)
  t.equal(getEventListeners(controller.signal, 'abort').length, 0)
  await turns()
  t.strictSame(unhandled, [])
})

t.test('no listener stays on the signal of a batch that has ended', async t => {
  const { signal } = new AbortController()
  for (const worker of [() => 1, async () => 1, () => { throw new Error('No') }]) await settle([1, 2], worker, { signal })
  t.equal(getEventListeners(signal, 'abort').length, 0)
})

t.test('a worker can abort its own batch', async t => {
  const unhandled = noteUnhandled(t)
  const start = performance.now()
  const run = async (work: (controller: AbortController) => unknown, options: SettleOptions = {}) => {
    const controller = new AbortController()
    const started: number[] = []
    const outcomes = await settle(range(4), item => {
      started.push(item)
      return item === 1 ? work(controller) : item
    }, { concurrency: 1, signal: controller.signal, ...options })
    return { started, outcomes: outcomes.map(brief) }
  }

  t.strictSame(await run(controller => { controller.abort(); return 'done' }),
    { started: [0, 1], outcomes: [0, 'done', 'NOT_RUN', 'NOT_RUN'] }, 'and what it returns has been done')
  t.strictSame(await run(async controller => controller.abort()),
    { started: [0, 1], outcomes: [0, 'CANCELLED', 'NOT_RUN', 'NOT_RUN'] })
  t.strictSame(await run(async controller => { await turns(); controller.abort() }),
    { started: [0, 1], outcomes: [0, 'CANCELLED', 'NOT_RUN', 'NOT_RUN'] })
  t.strictSame(await run(controller => {
    controller.abort()
    throw new ItemError('Enough', { code: 'ENOUGH', statusCode: 429, retryAfter: 20 })
  }, { retries: 3 }),
  { started: [0, 1], outcomes: [0, 'ENOUGH', 'NOT_RUN', 'NOT_RUN'] }, 'and is not tried again')
  t.ok(performance.now() - start < 10_000, 'and nothing waits')
  t.strictSame(await run(controller => { controller.abort(); return never() }, { retries: 3 }),
    { started: [0, 1], outcomes: [0, 'CANCELLED', 'NOT_RUN', 'NOT_RUN'] })
  await turns()
  t.strictSame(unhandled, [])
})

t.test('an abort between two attempts ends the wait with the last failure', async t => {
  const before = timers()
  const start = performance.now()
  const controller = new AbortController()
  let attempts = 0
  const settled = settle([0], () => {
    attempts++
    throw new ItemError('Busy', { code: 'BUSY', statusCode: 429, retryAfter: 20 })
  }, { retries: 3, signal: controller.signal })
  await turns()
  controller.abort()

  t.strictSame((await settled).map(brief), ['BUSY'])
  t.ok(performance.now() - start < 10_000)
  t.equal(attempts, 1)
  t.equal(timers(), before)
})

t.test('an abort reason that cannot be looked at aborts like any other', async t => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const controller = new AbortController()
  const settled = settle([0, 1], never, { concurrency: 1, signal: controller.signal })
  controller.abort(proxy)
  t.strictSame((await settled).map(brief), ['CANCELLED', 'NOT_RUN'])
})

t.test('after so many failures nothing more starts, and what runs goes on to its end', async t => {
  const outcomes = await settle(range(6), async item => {
    if (item === 0) await delay(30)
    else if (item < 4) throw new Error(`No ${item}`)
    return item
  }, { concurrency: 2, stopAfter: 2 })

  t.strictSame(outcomes.map(brief), [0, 'No 1', 'No 2', 'NOT_RUN', 'NOT_RUN', 'NOT_RUN'])
})

t.test('an item that waits for its next attempt when the batch stops still gets it', async t => {
  const outcomes = await settle(range(3), (item, { attempt }) => {
    if (item === 0 && attempt === 2) return 'second'
    throw new ItemError('No', { code: 'NO', retryable: item === 0, retryAfter: 0.02 })
  }, { concurrency: 2, retries: 1, stopAfter: 1 })

  t.strictSame(outcomes.map(brief), ['second', 'NO', 'NOT_RUN'])
})

t.test('an item that is tried again does not wait for the turn of others, so that nothing of it begins after an abort', async t => {
  const abort = new AbortController()
  const begun: boolean[] = []
  // From here on timers come first, then what waits for a turn: the pause ends, then comes the abort, then the turn.
  await turn()
  setTimeout(() => abort.abort(), 7)
  await settle(range(10), index => {
    if (index === 0) {
      begun.push(abort.signal.aborted)
      throw new Error('again')
    }
    for (const end = performance.now() + 2; performance.now() < end;);
  }, { concurrency: 2, retries: 1, backoff: 5, signal: abort.signal })

  t.strictSame(begun, [false, false])
})

t.test('a source is read to its end although the batch has stopped, because each of its items has an outcome', async t => {
  const outcomes = await settle((async function * () { yield * range(4) })(), () => { throw new Error('No') },
    { concurrency: 1, stopAfter: 1 })
  t.strictSame(outcomes.map(brief), ['No', 'NOT_RUN', 'NOT_RUN', 'NOT_RUN'])
})

t.test('iterables and async iterables are read only as slots become free', async t => {
  for (const wrap of [(items: Iterable<number>) => items, async function * (items: Iterable<number>) { yield * items }]) {
    let read = 0
    const gate = createGate()
    const settled = settle(wrap((function * () { while (read < 5) yield read++ })()), gate.worker, { concurrency: 2 })
    await turns()
    t.equal(read, 2)

    for (const item of range(5)) {
      gate.open(item)
      await turns()
    }
    t.strictSame(await settled, range(5).map(item => ok(`done ${item}`)))
    t.equal(gate.most, 2)
  }
})

t.test('anything that can be iterated has items, a string among them', async t => {
  const upper = (item: string) => item.toUpperCase()
  for (const items of ['ab', new Set(['a', 'b']), new Map([['a', 1], ['b', 2]]).keys(), ['a', 'b'].values()]) {
    t.strictSame(await settle<string, string>(items, upper), [ok('A'), ok('B')])
  }
})

t.test('an array that has holes has an outcome for each', async t => {
  const items: Array<number | undefined> = [1]
  items[2] = 3
  t.strictSame(await settle(items, item => item ?? 'hole'), [ok(1), ok('hole'), ok(3)])
})

t.test('a source that throws midway has one failure where the item should have been', async t => {
  const error = new Error('Cut')
  const sync = () => (function * () { yield 1; yield 2; throw error })()
  const async = () => (async function * () { yield 1; yield 2; throw error })()
  const rude = (): AsyncIterable<number> => ({
    [Symbol.asyncIterator]: () => ({ next () { throw error } })
  })
  const broken = (): Iterable<number> => ({
    [Symbol.iterator]: () => ({ next () { throw error } })
  })

  for (const concurrency of [1, 16]) {
    t.strictSame(await settle(sync(), item => item, { concurrency }), [ok(1), ok(2), failed(error)])
    t.strictSame(await settle(async(), async item => item, { concurrency }), [ok(1), ok(2), failed(error)])
    t.strictSame(await settle(rude(), never, { concurrency }), [failed(error)])
    t.strictSame(await settle(broken(), never, { concurrency }), [failed(error)])
  }
})

t.test('items of an async iterable whose reads overlap keep their order', async t => {
  let reads = 0
  let overlapping = 0
  const items: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({
      async next () {
        t.equal(++overlapping, 1)
        const value = reads++
        await delay(value % 2 === 0 ? 8 : 1)
        overlapping--
        return value < 6 ? { done: false, value } : { done: true, value: undefined }
      }
    })
  }
  t.strictSame(await settle(items, async item => item), range(6).map(ok))
})

/** A source that gives the items and then hangs. */
function hanging (items: number[], end: Pick<AsyncIterator<number>, 'return'>) {
  let hang = () => {}
  let wake: (result: IteratorResult<number>) => void = () => {}
  const hangs = new Promise<void>(resolve => { hang = resolve })
  const left = [...items]
  const source: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        const value = left.shift()
        if (value !== undefined) return Promise.resolve({ done: false, value })
        hang()
        return new Promise(resolve => { wake = resolve })
      },
      ...end
    })
  }
  return { source, hangs, wake: (result: IteratorResult<number>) => wake(result) }
}

t.test('an abort does not wait for a source that hangs, and closes it', async t => {
  const unhandled = noteUnhandled(t)
  const error = new Error('Cannot be closed')
  let returns = 0
  const ends: Record<string, Pick<AsyncIterator<number>, 'return'>> = {
    'return works': { return: async () => { returns++; return { done: true, value: undefined } } },
    'return throws': { return: () => { returns++; throw error } },
    'return rejects': { return: async () => { returns++; throw error } },
    'return hangs': { return: () => { returns++; return never() } },
    'there is no return': {}
  }
  for (const [name, end] of Object.entries(ends)) {
    const controller = new AbortController()
    const { source, hangs, wake } = hanging([1, 2], end)
    const ran: number[] = []
    const settled = settle(source, async item => { ran.push(item); return item === 2 ? never() : item }, { signal: controller.signal })
    await hangs
    controller.abort()

    t.strictSame((await settled).map(brief), [1, 'CANCELLED'], name)
    wake({ done: false, value: 3 })
    await turns()
    t.strictSame(ran, [1, 2], 'an item that comes afterwards does not run')
    t.equal(getEventListeners(controller.signal, 'abort').length, 0)
  }
  t.equal(returns, 4)
  await turns()
  t.strictSame(unhandled, [])
})

t.test('a source that fails after the abort has nobody to tell', async t => {
  const unhandled = noteUnhandled(t)
  const controller = new AbortController()
  let fail: (error: Error) => void = () => {}
  const items = (async function * () {
    yield 1
    await new Promise((_resolve, reject) => { fail = reject })
  })()
  const settled = settle(items, item => item, { signal: controller.signal })
  await turns()
  controller.abort()
  t.strictSame(await settled, [ok(1)])
  fail(new Error('late'))
  await turns()
  await turns()
  t.strictSame(unhandled, [])
})

t.test('an abort runs the finally of a generator that it leaves', async t => {
  const controller = new AbortController()
  const events = new EventTarget()
  const closed = once(events, 'closed')
  const items = (async function * () {
    try {
      for (let item = 0; ; item++) {
        yield item
        await new Promise(resolve => setImmediate(resolve))
      }
    } finally {
      events.dispatchEvent(new Event('closed'))
    }
  })()
  const outcomes = await settle(items, item => { if (item === 3) controller.abort(); return item },
    { concurrency: 1, signal: controller.signal })
  await closed
  t.strictSame(outcomes, range(4).map(ok))
})

t.test('an abort after the last item has been read closes nothing', async t => {
  const controller = new AbortController()
  const gate = createGate()
  let returned = false
  let left = 2
  const source: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({
      next: async () => left-- > 0 ? { done: false, value: left } : { done: true, value: undefined },
      return: async () => { returned = true; return { done: true, value: undefined } }
    })
  }
  const settled = settle(source, gate.worker, { signal: controller.signal })
  await turns()
  controller.abort()
  t.strictSame((await settled).map(brief), ['CANCELLED', 'CANCELLED'])
  t.equal(returned, false)
})

t.test('items that cannot be iterated, and wrong options, reject with what was expected', async t => {
  const wrong: Array<[unknown, object, string]> = [
    [undefined, {}, 'items must be an array, an iterable or an async iterable; received undefined'],
    [null, {}, 'items must be an array, an iterable or an async iterable; received null'],
    [{ a: 1 }, {}, 'items must be an array, an iterable or an async iterable; received { a: 1 }'],
    [[], { concurrency: 0 }, 'concurrency must be an integer from 1 to 2147483647; received 0'],
    [[], { concurrency: Infinity }, 'concurrency must be an integer from 1 to 2147483647; received Infinity'],
    [[], { concurrency: '4' }, 'concurrency must be an integer from 1 to 2147483647; received "4"'],
    [[], { timeout: 0 }, 'timeout must be an integer from 1 to 2147483647; received 0'],
    [[], { timeout: 2 ** 31 }, 'timeout must be an integer from 1 to 2147483647; received 2147483648'],
    [[], { retries: -1 }, 'retries must be an integer from 0 to 2147483647; received -1'],
    [[], { backoff: 1.5 }, 'backoff must be an integer from 0 to 2147483647; received 1.5'],
    [[], { stopAfter: 0 }, 'stopAfter must be an integer from 1 to 2147483647; received 0'],
    [[], { stopAfter: [] }, 'stopAfter must be an integer from 1 to 2147483647; received []'],
    [[], { retries: 'x'.repeat(100) }, `retries must be an integer from 0 to 2147483647; received "${'x'.repeat(76)}...`]
  ]
  for (const [items, options, message] of wrong) {
    const error: unknown = await settle(items as number[], never, options as SettleOptions).catch(error => error)
    t.ok(error instanceof TypeError)
    t.match(error, { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: `fastify-multi-status: ${message}` })
  }
})

t.test('a canceller aborts its signal with the reason that it is given', t => {
  const canceller = createCanceller()
  t.strictSame([canceller.reason, canceller.signal.aborted], [undefined, false])
  const reason = new ItemError('Enough', { code: 'ENOUGH' })
  canceller.cancel(reason)

  t.strictSame([canceller.reason, canceller.signal.reason], [reason, reason])
  t.end()
})

/** Milliseconds that two turns of the event loop do not take, also on a busy machine. */
const TURNS = 500

t.test('a timer that could not be cleared, as where tests fake them, ends nothing that is over', async t => {
  const real = clearTimeout
  t.teardown(() => { globalThis.clearTimeout = real })
  let signal: AbortSignal | undefined

  const outcomes = await settle([1], async (_, context) => {
    signal = context.signal
    // The timer starts with the next turn of the event loop, and that may come after a millisecond as well as before.
    await turn()
    await turn()
    globalThis.clearTimeout = () => {}
    return 'done'
  }, { timeout: TURNS })
  globalThis.clearTimeout = real
  await delay(2 * TURNS)

  t.strictSame(outcomes, [{ status: 'fulfilled', value: 'done' }])
  t.equal(signal?.aborted, false)
})

const anyOutcome = fc.oneof(
  fc.record({ kind: fc.constantFrom('value', 'throw', 'resolve', 'reject') }),
  fc.record({ kind: fc.constantFrom('resolve', 'reject'), ms: fc.integer({ min: 0, max: 12 }) }),
  fc.record({ kind: fc.constant('hang') })
)

interface Plan { kind: string, ms?: number }

async function follow ({ kind, ms }: Plan, index: number, signal: AbortSignal): Promise<number> {
  if (ms !== undefined) await delay(ms, undefined, { signal })
  if (kind === 'hang') return never()
  if (kind === 'reject') throw new Error(String(index))
  return index
}

function work (plan: Plan, index: number, signal: AbortSignal): number | Promise<number> {
  if (plan.kind === 'value') return index
  if (plan.kind === 'throw') throw new Error(String(index))
  return follow(plan, index, signal)
}

/** Whether an outcome is one that this item can have had. */
function isPossible ({ kind, ms }: Plan, outcome: Outcome<number>, index: number, stopped: boolean): boolean {
  const said = brief(outcome)
  if (stopped && (said === 'NOT_RUN' || said === 'CANCELLED')) return true
  if (kind === 'hang') return said === 'TIMEOUT'
  // Whatever waits at all: to Node, 0 ms are 1, and of timers that are due together after a pause, either may be first.
  if (said === 'TIMEOUT') return ms !== undefined
  return said === (kind === 'reject' || kind === 'throw' ? String(index) : index)
}

t.test('whatever items do: one outcome each, in order, and never more at a time than allowed', async t => {
  const unhandled = noteUnhandled(t)
  const sources = {
    array: (plans: Plan[]) => plans,
    iterable: (plans: Plan[]) => plans.values(),
    async: async function * (plans: Plan[]) { yield * plans }
  }
  await fc.assert(fc.asyncProperty(
    fc.array(anyOutcome, { maxLength: 25 }),
    fc.integer({ min: 1, max: 6 }),
    fc.integer({ min: 4, max: 20 }),
    fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined }),
    fc.option(fc.integer({ min: 0, max: 15 }), { nil: undefined }),
    fc.constantFrom<keyof typeof sources>('array', 'iterable', 'async'),
    async (plans: Plan[], concurrency, timeout, stopAfter, abortAfter, source) => {
      const { signal, ...controller } = abortable(abortAfter)
      const slots = new Set<number>()
      let most = 0
      const outcomes = await settle(sources[source](plans), async (plan, context) => {
        slots.add(context.index)
        most = Math.max(most, slots.size)
        context.signal.addEventListener('abort', () => slots.delete(context.index))
        try {
          return await work(plan, context.index, context.signal)
        } finally {
          slots.delete(context.index)
        }
      }, { concurrency, timeout, stopAfter, signal })
      controller.clear()

      const stopped = signal.aborted || stopAfter !== undefined
      const impossible = outcomes.filter((outcome, index) => !isPossible(plans[index]!, outcome, index, stopped))
      assert.deepEqual(impossible, [])
      if (source !== 'async' || !signal.aborted) assert.equal(outcomes.length, plans.length)
      assert.ok(most <= concurrency, `${most} ran at a time, ${concurrency} may`)
      assert.deepEqual(getEventListeners(signal, 'abort'), [])
    }
  ), { numRuns: 150 })
  t.equal(timers(), 0)
  await turns()
  t.strictSame(unhandled, [])
})

function abortable (ms: number | undefined) {
  const controller = new AbortController()
  const timer = ms === undefined ? undefined : setTimeout(() => controller.abort(), ms)
  return { signal: controller.signal, clear: () => clearTimeout(timer) }
}
