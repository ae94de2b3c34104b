// Properties of the core that hold for thousands of random batches.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { compileKeyRules } from '../lib/core/items/keys.js'
import { createCompiler } from '../lib/core/items/validator.js'
import { parsePrefer, readPreferences } from '../lib/core/request/preferences.js'
import { serializerOf } from '../lib/core/results/serializer.js'
import { readLines } from '../lib/core/items/ndjson.js'
import { bulkRoute, defineContract, generic, settle, settleEach, tasks, uploads, type ItemContext, type Outcome, type SettleOptions, type WorkerContext } from '../lib/index.js'
import { build } from './fixtures/build.js'
import { anyFate, createClock, isPossible, meet, type Clock, type Fate } from './fixtures/fates.js'
import { anyGiven, type Given } from './fixtures/given.js'
import { noteUnhandled, timers, turns } from './fixtures/leaks.js'

// One test at a time, because the tests count the timers of the whole process.
t.jobs = 1

/** Waits until the timers of earlier runs are gone. */
async function settleDown (): Promise<void> {
  for (const end = Date.now() + 10_000; timers() > 0; await new Promise(resolve => setImmediate(resolve))) {
    assert.ok(Date.now() < end, 'no timer is left')
  }
}

/** The source of the items. Some sources throw after the last item. */
const SOURCES = {
  array: (fates: Fate[]) => fates,
  iterable: (fates: Fate[]) => fates.values(),
  async: async function * (fates: Fate[]) { yield * fates },
  broken: function * (fates: Fate[]) {
    yield * fates
    throw new Error('broken')
  },
  'async, broken': async function * (fates: Fate[]) {
    yield * fates
    throw new Error('broken')
  }
}

interface Plan {
  fates: Fate[]
  source: keyof typeof SOURCES
  concurrency: number
  timeout: number | undefined
  isPerItem: boolean
  retries: number
  backoff: number
  stopAfter: number | undefined
  abortAfter: number | undefined
}

const anyPlan: fc.Arbitrary<Plan> = fc.record({
  fates: fc.array(anyFate, { maxLength: 20 }),
  source: fc.constantFrom(...Object.keys(SOURCES) as Plan['source'][]),
  concurrency: fc.integer({ min: 1, max: 8 }),
  timeout: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
  isPerItem: fc.boolean(),
  retries: fc.constantFrom(0, 0, 0, 1, 2),
  backoff: fc.nat(2),
  stopAfter: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined, freq: 4 }),
  abortAfter: fc.option(fc.nat(8), { nil: undefined, freq: 3 })
}).map(plan => plan.timeout === undefined && plan.abortAfter === undefined ? { ...plan, fates: plan.fates.filter(({ how }) => how !== 'hang') } : plan)

/** A batch in progress, and what the test observes. */
interface Watched {
  readonly options: SettleOptions<Fate>
  readonly clock: Clock
  readonly signal: AbortSignal
  /** The items that have started and are not delivered yet. */
  readonly running: Set<number>
  /** The violations that were observed. */
  readonly faults: string[]
  failures: number
  worker (fate: Fate, context: WorkerContext): unknown
  /** Checks after the end of the batch that it has left nothing behind. */
  end (): Promise<void>
}

function watch ({ concurrency, timeout, isPerItem, retries, backoff, stopAfter, abortAfter }: Plan): Watched {
  const controller = new AbortController()
  const { signal } = controller
  const abortion = abortAfter === undefined ? undefined : setTimeout(() => controller.abort(), abortAfter)
  const clock = createClock()
  const timeoutOf = ({ how }: Fate) => how === 'no time' ? 0 : timeout
  const watched: Watched = {
    options: { concurrency, timeout: isPerItem ? timeoutOf : timeout, retries, backoff, stopAfter, signal },
    clock,
    signal,
    running: new Set(),
    faults: [],
    failures: 0,
    worker (fate, context) {
      const { index, attempt } = context
      if (signal.aborted) watched.faults.push(`attempt ${attempt} at item ${index} begins after the abort`)
      if (attempt === 1 && watched.failures === stopAfter) watched.faults.push(`item ${index} begins after ${stopAfter} failures`)
      if (attempt > retries + 1) watched.faults.push(`item ${index} has attempt ${attempt}`)
      return meet(fate, context, clock)
    },
    async end () {
      clearTimeout(abortion)
      assert.equal(timers(), clock.open, 'no timers but those of the work itself')
      assert.deepEqual(getEventListeners(signal, 'abort'), [])
      assert.deepEqual(watched.faults, [])
      await clock.idle()
    }
  }
  return watched
}

/** Checks every outcome of a batch, in the order of the items. */
function expectTruth (plan: Plan, outcomes: Outcome<unknown>[], { signal }: Watched): void {
  const { fates, source, retries, timeout, stopAfter } = plan
  const isBroken = source.endsWith('broken')
  const isAborted = signal.aborted
  const size = fates.length + Number(isBroken)
  // An asynchronous source is not read any more after an abort.
  if (!isAborted || !source.startsWith('async')) assert.equal(outcomes.length, size)
  assert.ok(outcomes.length <= size)
  for (const [index, outcome] of Array.from(outcomes).entries()) {
    assert.ok(outcome !== undefined, `item ${index} has no outcome`)
    const fate = fates[index]
    const isRight = fate === undefined ? isBreak(outcome) : isPossible(fateIn(plan, fate), outcome, { retries, timeout, isAborted, isStopped: stopAfter !== undefined })
    assert.ok(isRight, `item ${index} has an outcome that it cannot have`)
  }
}

function isBreak (outcome: Outcome<unknown>): boolean {
  return outcome.status === 'rejected' && (outcome.reason as Error).message === 'broken'
}

/** Only a function that returns the timeout of an item can return an invalid one. */
function fateIn ({ isPerItem }: Plan, fate: Fate): Fate {
  return !isPerItem && fate.how === 'no time' ? { ...fate, how: 'return' } : fate
}

t.test('settle: returns one valid outcome for each item in order, and leaves nothing behind', async t => {
  const unhandled = noteUnhandled(t)
  await fc.assert(fc.asyncProperty(anyPlan, async plan => {
    const watched = watch(plan)
    const outcomes = await settle(SOURCES[plan.source](plan.fates), watched.worker, watched.options)
    await watched.end()
    expectTruth(plan, outcomes, watched)
  }).beforeEach(settleDown), { numRuns: 1000 })
  await turns()
  t.strictSame(unhandled, [])
})

/** How outcomes are consumed: at once, after some milliseconds, or with an error from the nth on. */
const anyTaker = fc.record({
  ms: fc.option(fc.nat(2), { nil: undefined }),
  fails: fc.option(fc.record({ from: fc.nat(10), isLate: fc.boolean() }), { nil: undefined, freq: 3 })
})

t.test('settleEach: keeps to the concurrency, and delivers each item once, also to a slow or failing consumer', async t => {
  const unhandled = noteUnhandled(t)
  await fc.assert(fc.asyncProperty(anyPlan, anyTaker, async (plan, { ms, fails }) => {
    const watched = watch(plan)
    const { running, faults, clock } = watched
    const outcomes: Outcome<unknown>[] = []
    let count = 0
    let failed = false

    const take = (outcome: Outcome<unknown>, index: number, fate: Fate | undefined): void | Promise<void> => {
      if (failed) faults.push(`item ${index} is delivered to who has failed`)
      if (index in outcomes) faults.push(`item ${index} is delivered twice`)
      if (fate !== plan.fates[index]) faults.push(`item ${index} is delivered as another`)
      outcomes[index] = outcome
      if (outcome.status === 'rejected') watched.failures++
      const isLast = fails !== undefined && count++ >= fails.from
      const done = () => {
        running.delete(index)
        if (isLast) throw new Error('taker')
      }
      if (ms !== undefined || (isLast && fails.isLate)) {
        const late = clock.wait(ms ?? 0).then(done)
        // When who waits for it has heard of it.
        late.catch(() => queueMicrotask(() => { failed = true }))
        return late
      }
      failed = isLast
      done()
    }

    const error: unknown = await settleEach(SOURCES[plan.source](plan.fates), (fate, context) => {
      running.add(context.index)
      if (running.size > plan.concurrency) faults.push(`${running.size} items are in hand, ${plan.concurrency} may be`)
      if (failed) faults.push(`item ${context.index} begins after the taker has failed`)
      return watched.worker(fate, context)
    }, watched.options, take).then(() => undefined, (error: unknown) => error)
    await watched.end()
    if (!failed) expectTruth(plan, outcomes, watched)
    assert.equal((error as Error | undefined)?.message, failed ? 'taker' : undefined)
  }).beforeEach(settleDown), { numRuns: 1000 })
  await turns()
  t.strictSame(unhandled, [])
})

const contract = defineContract({
  name: 'Job', key: 'id', envelope: 'jobs', success: 'done', failure: 'failed', reason: 'why', data: Type.Object({ n: Type.Integer() })
})
const Job = Type.Object({ id: Type.Union([Type.Integer(), Type.String()]), n: Type.Integer() })

type Result = Record<string, unknown>

/** What the header counts, and the body that it is about. */
function countsOf ({ headers, body }: { headers: Result, body: string }): { counts: string, results: Result[] } {
  const results = Object.values(JSON.parse(body) as Record<string, Result[]>)[0]!
  const isFailure = ({ status }: Result) => status === 'failed' || status === 'error' || Number(status) >= 400
  const failed = results.filter(isFailure).length
  const counts = `total=${results.length}, succeeded=${results.length - failed}, failed=${failed}`
  assert.equal(headers['multi-status'], counts)
  return { counts, results }
}

const anyKey = fc.oneof(fc.integer(), fc.string({ unit: 'binary', maxLength: 8 }))

/** An item of a request: valid, or invalid with a valid key. */
const anyItem = fc.record({ id: anyKey, isValid: fc.boolean(), given: anyGiven })
const anyItems = fc.uniqueArray(anyItem, { minLength: 1, maxLength: 12, selector: ({ id }) => id })

/** No generator, because that would wait for what is there to be handed on as it is. */
const later = (all: unknown[], end: () => IteratorResult<unknown>): AsyncIterable<unknown> => ({
  [Symbol.asyncIterator] () {
    const rest = [...all]
    return { next: async () => rest.length > 0 ? { done: false, value: rest.shift() } : end() }
  }
})

const anyNumber = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  ...[10, 100, 1000].map(scale => fc.integer().map(n => n / scale)),
  fc.constantFrom(-0, 0.01, 1e7, 9999999.99, 9999999.995, 10000000.01, 2 ** 31, -(2 ** 31), 1e21)
)

t.test('a number is answered as JSON.stringify writes it', async t => {
  let results: object[] = []
  const numbers = defineContract({ name: 'Number', key: 'id', success: 'done', failure: 'failed', reason: 'why', data: Type.Object({ n: Type.Number() }) })
  const app = await build(t)
  app.post('/', { config: { multiStatus: numbers } }, (_request, reply) => { reply.multiStatus(results) })

  await fc.assert(fc.asyncProperty(fc.array(anyNumber, { minLength: 1, maxLength: 50 }), async all => {
    results = all.map((n, id) => ({ id, status: 'done', n }))
    const { body } = await app.inject({ method: 'POST', url: '/' })
    assert.equal(body, JSON.stringify({ [numbers.envelope]: results }))
  }))
})

/** How a handler returns its results: correctly or not. */
const GIVE = {
  array: (all: unknown[]) => all,
  async: (all: unknown[]) => later(all, () => ({ done: true, value: undefined })),
  iterable: (all: unknown[]) => new Set(all) as unknown as AsyncIterable<unknown>,
  broken: (all: unknown[]) => later(all, () => { throw new Error('broken') }),
  'last first': (all: unknown[]) => all.toReversed(),
  'one too few': (all: unknown[]) => all.slice(1),
  'one too many': (all: unknown[]) => [...all, { id: 'nobody', status: 'done', n: 1 }],
  nothing: () => undefined as never
}

t.test('reply.multiStatus: sends one result for each item in request order, whatever the handler returns', async t => {
  let give = (): unknown => undefined
  const app = await build(t)
  app.post('/', { schema: { body: Type.Array(Job) }, config: { multiStatus: contract } }, (_request, reply) => { reply.multiStatus(give() as never) })

  await fc.assert(fc.asyncProperty(anyItems, fc.constantFrom(...Object.keys(GIVE) as (keyof typeof GIVE)[]), fc.boolean(), async (items, way, minimal) => {
    give = () => GIVE[way](items.filter(({ isValid }) => isValid).map(({ id, given }) => given.make(id)))
    const payload = items.map(({ id, isValid }) => ({ id, n: isValid ? 1 : 'x' }))
    const response = await app.inject({ method: 'POST', url: '/', payload, headers: minimal ? { prefer: 'return=minimal' } : {} })
    const { results } = countsOf(response)
    assert.equal(response.statusCode, 207)
    assert.deepEqual(results.map(({ id }) => id), items.map(({ id }) => id))
    for (const [index, { status, ...rest }] of results.entries()) {
      const { isValid, given } = items[index]!
      const isSuccess = status === 'done'
      if (!isSuccess) assert.ok(status === 'failed' && typeof rest.why === 'string', `result ${index} is neither`)
      if (minimal && isSuccess) assert.deepEqual(Object.keys(rest), ['id'])
      // Outcomes without a key are matched by their order.
      if (isSuccess && way !== 'last first') assert.ok(isValid && given.isSuccess, `result ${index} succeeds, which its item has not`)
      if (['array', 'async', 'broken'].includes(way)) assert.equal(isSuccess, isValid && given.isSuccess, `result ${index} has the wrong status`)
    }
  }), { numRuns: 1000 })
})

t.test('reply.multiStatus: sends one result for each given result without a contract', async t => {
  let given: unknown[] = []
  const app = await build(t)
  app.post('/', (_request, reply) => { reply.multiStatus(given) })
  await fc.assert(fc.asyncProperty(fc.array(anyGiven, { maxLength: 12 }), async all => {
    given = all.map(({ make }, index) => make(index))
    const { results } = countsOf(await app.inject({ method: 'POST', url: '/' }))
    assert.equal(results.length, all.length)
  }), { numRuns: 300 })
})

const CONTRACTS = { none: undefined, generic, tasks, uploads, own: contract }

/** A result that fits one of the contracts, or none of them. */
const anyResult = fc.oneof(
  { weight: 2, arbitrary: anyGiven },
  {
    weight: 3,
    arbitrary: fc.record({
      id: anyKey,
      taskId: anyKey,
      file: anyKey,
      status: fc.constantFrom('success', 'completed', 'uploaded', 'done', 'error', 'failed', 'pending', 207, 500),
      message: fc.string({ unit: 'binary' }),
      error: fc.string(),
      reason: fc.string(),
      why: fc.oneof(fc.string(), fc.integer()),
      n: fc.oneof(fc.integer(), fc.double()),
      size: fc.maxSafeNat(),
      output: fc.anything({ withBigInt: true, withDate: true })
    }, { requiredKeys: [] }).map((result): Given => ({ isSuccess: true, what: fc.stringify(result), make: () => result }))
  }
)

/** The key that a result has itself, if it can be read and is one. */
function keyIn (result: unknown, name: string, isKey: (value: unknown) => unknown): unknown {
  try {
    const { [name]: key } = result as Result
    return ['string', 'number'].includes(typeof key) && isKey(key) === undefined ? key : undefined
  } catch {
    return undefined
  }
}

t.test('the serializer: always JSON, one result for each, with its key, and as many failures as it says', async () => {
  const isKeyOf = new Map(Object.values(CONTRACTS).map(one => [one, createCompiler()((one ?? generic).schemas.key)]))
  fc.assert(fc.property(
    fc.constantFrom(...Object.values(CONTRACTS)), fc.array(anyResult, { maxLength: 12 }), fc.boolean(), fc.constantFrom(1, 300, Infinity),
    (own, all, minimal, length) => {
      const { key: name, failureWord } = own ?? generic
      const results = all.map(({ make }, index) => make(index))
      const serialization = serializerOf(own)(results, {
        minimal, keys: results.map((_, index) => `item ${index}`), onInvalid () {}
      })
      const texts = []
      for (let isLast = false; !isLast;) {
        const next = serialization.next(length)
        texts.push(next.text)
        isLast = next.isLast
      }

      const written = JSON.parse(texts.join('')) as Result[]
      assert.equal(written.length, all.length)
      if (own === undefined) return
      assert.equal(serialization.failed(), written.filter(({ status }) => status === failureWord).length)
      for (const [index, one] of written.entries()) {
        assert.ok([...own.successWords, failureWord].includes(one.status as string), `result ${index} has a status of nobody's`)
        const key = keyIn(results[index], name, isKeyOf.get(own)!)
        if (key !== undefined || one.status === failureWord) assert.ok(one[name] === (key ?? `item ${index}`) || one[name] === null, `result ${index} has another key`)
      }
    }
  ), { numRuns: 1500 })
})

/** The options of the routes. Without a timeout, only a client that disconnects ends items that hang. */
const HOW = {
  '/timed': { concurrency: 3, timeout: 4, retries: 0 },
  '/retried': { concurrency: 8, timeout: 3, retries: 1, backoff: 1 },
  '/stopped': { concurrency: 2, timeout: 5, retries: 0, stopAfter: 2 },
  '/patient': { concurrency: 4, retries: 0 }
}

/** An item of a request, valid or not, and the behaviour of its handler. */
interface Sent { readonly isValid: boolean, readonly fate: Fate }

/** The data of a success, in half of the cases. */
const anyValue = fc.oneof(fc.integer().map(n => ({ n })), fc.anything())
const anySent: fc.Arbitrary<Sent> = fc.record({
  isValid: fc.nat(5).map(Boolean),
  fate: fc.record({ fate: anyFate, value: anyValue }).map(({ fate, value }) => ({ ...fate, value, how: fate.how === 'no time' ? 'return' : fate.how }))
})

interface Call { url: keyof typeof HOW, isStream: boolean, goesAfter: number | undefined, sent: Sent[] }

const anyCall: fc.Arbitrary<Call> = fc.record({
  url: fc.constantFrom(...Object.keys(HOW) as Call['url'][]),
  isStream: fc.boolean(),
  goesAfter: fc.option(fc.nat(4), { nil: undefined, freq: 3 }),
  sent: fc.array(anySent, { minLength: 1, maxLength: 12 })
}).map(call => call.goesAfter === undefined && call.url === '/patient'
  ? { ...call, sent: call.sent.filter(({ fate, isValid }) => fate.how !== 'hang' || !isValid) }
  : call).filter(({ sent }) => sent.length > 0)

/** The results of a stream in item order. Checks that every item has one and that the summary is right. */
function readStream (body: string): Result[] {
  const lines = body.trimEnd().split('\n').map(line => JSON.parse(line) as Result)
  const { summary } = lines.pop() as { summary: Result }
  const failed = lines.filter(({ status }) => status === 'failed').length
  assert.deepEqual(summary, { total: lines.length, succeeded: lines.length - failed, failed })
  const results: Result[] = []
  for (const { index, ...result } of lines) results[index as number] = result
  assert.equal(Object.keys(results).length, lines.length)
  return results
}

/** Whether an item may succeed, and whether it must. */
function expectedOf ({ isValid, fate }: Sent, { retries, ...how }: { retries: number, stopAfter?: number }): { may: boolean, must: boolean } {
  const isGood = Number.isInteger((fate.value as Result | null | undefined)?.n)
  const circumstances = { retries, timeout: undefined, isAborted: false, isStopped: false }
  const may = isValid && isGood && isPossible(fate, { status: 'fulfilled', value: fate.value }, circumstances)
  return { may, must: may && how.stopAfter === undefined && fate.failures === 0 && (fate.ms === undefined || fate.how !== 'resolve') }
}

t.test('bulkRoute: returns one true result for each item in JSON and in a stream, and leaves nothing behind, also if the client disconnects', async t => {
  const unhandled = noteUnhandled(t)
  const app = await build(t)
  const clock = createClock()
  let sent: Sent[] = []
  let answer: ServerResponse | undefined
  app.addHook('onRequest', async (_request, { raw }) => { answer = raw })
  for (const [url, how] of Object.entries(HOW)) {
    const handler = ({ n }: { n: number }, context: ItemContext) => meet(sent[n]!.fate, context, clock) as { n: number }
    app.route(bulkRoute({ ...how, url, contract, item: Job, stream: true, handler }))
  }

  async function call ({ url, isStream, goesAfter }: Call): Promise<LightMyRequestResponse | undefined> {
    const items = sent.map(({ isValid }, index) => JSON.stringify({ id: `job ${index}`, n: isValid ? index : 'x' }))
    let isGone = false
    const go = () => {
      isGone = true
      answer?.destroy()
    }
    const goes = goesAfter === undefined ? undefined : setTimeout(go, goesAfter)
    const headers = { 'content-type': isStream ? 'application/x-ndjson' : 'application/json' }
    const payload = isStream ? items.join('\n') : `[${items.join()}]`
    try {
      return await app.inject({ method: 'POST', url: isStream ? `${url}/stream` : url, headers, payload })
    } catch (error) {
      assert.ok(isGone, String(error))
    } finally {
      clearTimeout(goes)
    }
  }

  await fc.assert(fc.asyncProperty(anyCall, async one => {
    sent = one.sent
    const response = await call(one)
    // The client is gone.
    if (response === undefined) return
    assert.equal(timers(), clock.open, 'no timers but those of the work itself')
    assert.equal(response.statusCode, 207)
    const results = one.isStream ? readStream(response.body) : countsOf(response).results
    assert.deepEqual(results.map(({ id }) => id), sent.map((_, index) => `job ${index}`))
    for (const [index, { status }] of results.entries()) {
      const { may, must } = expectedOf(sent[index]!, HOW[one.url])
      if (!may) assert.equal(status, 'failed', `item ${index} cannot have succeeded`)
      if (must) assert.equal(status, 'done', `item ${index} must have succeeded`)
    }
  }).beforeEach(settleDown), { numRuns: 1000 })
  await settleDown()
  await turns()
  t.strictSame(unhandled, [])
})

/** Similar keys: with the same start, the same end, or all but one character the same. */
const anyAlike = fc.tuple(fc.constantFrom('', 'user-', 'x'.repeat(40)), fc.nat(99), fc.constantFrom('', '@example.org', 'y'.repeat(40)), fc.nat(3))
  .map(([before, number, between, last]) => `${before}${number}${between}${last}`)
const anyKeys = fc.oneof(
  fc.array(anyAlike, { minLength: 1, maxLength: 60 }),
  fc.array(fc.constantFrom('x'.repeat(80), 'z').chain(same => fc.nat(80).map(n => `${same}${n}`)), { minLength: 1, maxLength: 60 }),
  fc.array(fc.oneof(anyKey, anyAlike, fc.constantFrom(1, '1', '')), { minLength: 1, maxLength: 20 }),
  fc.integer({ min: 8190, max: 8194 }).chain(count => fc.nat(count - 1).map(twice => Array.from({ length: count + 1 }, (_, index) => `${(index === count ? twice : index) * 7919}`)))
)

t.test('refuses a batch exactly if two of its items have the same key', async t => {
  const app = await build(t)
  app.route(bulkRoute({ url: '/jobs', contract, item: Job, maxItems: 10_000, handler: () => ({ n: 1 }) }))
  await app.ready()

  await fc.assert(fc.asyncProperty(anyKeys, async keys => {
    const { statusCode } = await app.inject({ method: 'POST', url: '/jobs', payload: keys.map(id => ({ id, n: 1 })) })
    assert.equal(statusCode, new Set(keys).size === keys.length ? 207 : 400)
  }), { numRuns: 500 })
})

const LIMITS = { maxItems: 6, maxLineBytes: 24 }

/** The bytes of one line: an item, something similar, or something else, perhaps too long. */
const anyLine = fc.oneof(
  fc.record({ id: anyKey, n: fc.integer() }).map(item => Buffer.from(JSON.stringify(item))),
  fc.jsonValue().map(value => Buffer.from(JSON.stringify(value))),
  fc.uint8Array({ maxLength: 30 }).map(bytes => Buffer.from(bytes).filter(byte => byte !== 10)).map(bytes => Buffer.from(bytes)),
  fc.constantFrom('', ' ', '{', '"é😀"', 'x'.repeat(24), 'x'.repeat(25), ' '.repeat(25)).map(text => Buffer.from(text))
)

/** The expected item of each line, by a simple reader. */
function readSimply (lines: Buffer[], isValid: (item: unknown) => boolean): (string | undefined)[] {
  const isEmpty = (line: Buffer) => line.length <= LIMITS.maxLineBytes && line.toString().trim() === ''
  return lines.filter(line => !isEmpty(line)).map((line, index) => {
    if (line.length > LIMITS.maxLineBytes) return 'LINE_TOO_LONG'
    try {
      const item: unknown = JSON.parse(line.toString())
      return index >= LIMITS.maxItems ? 'TOO_MANY_ITEMS' : isValid(item) ? undefined : 'INVALID_ITEM'
    } catch {
      return 'INVALID_LINE'
    }
  })
}

t.test('NDJSON: reads the same items however the bytes are split and however many readers there are', async () => {
  const compile = createCompiler()
  const rules = { ...compileKeyRules(contract, compile), validateItem: compile(Job), parse: JSON.parse }
  const cuts = fc.array(fc.nat(200), { maxLength: 12 })
  await fc.assert(fc.asyncProperty(fc.array(anyLine, { maxLength: 10 }), fc.constantFrom('\n', '\r\n'), fc.boolean(), cuts, fc.integer({ min: 1, max: 4 }), async (lines, newline, isEnded, cuts, lanes) => {
    const bytes = Buffer.concat(lines.flatMap((line, index) => isEnded || index < lines.length - 1 ? [line, Buffer.from(newline)] : [line]))
    const edges = [0, ...cuts.filter(at => at < bytes.length).sort((a, b) => a - b), bytes.length]
    const chunks = edges.slice(1).map((end, index) => bytes.subarray(edges[index], end)).filter(({ length }) => length > 0)
    const source = readLines(Readable.from(chunks, { objectMode: false }), rules, LIMITS, error => { throw error })
    const codes: (string | undefined)[] = []
    await Promise.all(Array.from({ length: lanes }, async () => {
      for (let taken = await source.take(); taken !== undefined; taken = await source.take()) {
        assert.ok('item' in taken && !(taken.index in codes))
        codes[taken.index] = taken.item.failure?.code
      }
    }))
    const whole = lines.map((line, index) => newline === '\r\n' && (isEnded || index < lines.length - 1) ? Buffer.concat([line, Buffer.from('\r')]) : line)
    assert.deepEqual(codes, readSimply(whole, item => rules.validateItem(item) === undefined))
    assert.ok(source.isComplete())
  }), { numRuns: 1000 })
})

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,10}$/)
const space = fc.constantFrom('', ' ', '\t', '  ')

/** A preference, and one way to write it. */
const anyPreference = fc.record({ name: token, value: fc.option(fc.oneof(token, fc.stringMatching(/^[ -~]{0,10}$/))), asText: fc.boolean(), space, parameters: fc.constantFrom('', ';', ';a', '; a=b', ';a="x,y;z"') })

function writePreference ({ name, value, asText, space, parameters }: typeof anyPreference extends fc.Arbitrary<infer P> ? P : never): string {
  if (value === null) return `${space}${name}${space}${parameters}`
  const isToken = /^[^\s=;",\\]+$/.test(value)
  const written = isToken && !asText ? value : `"${value.replace(/["\\]/g, '\\$&')}"`
  return `${space}${name}${space}=${space}${written}${space}${parameters}`
}

t.test('Prefer: reads every written preference, takes the first of two with one name, and never throws', async () => {
  fc.assert(fc.property(fc.array(anyPreference, { maxLength: 6 }), fc.boolean(), (preferences, isSplit) => {
    const written = preferences.map(writePreference)
    const read = parsePrefer(isSplit ? written : written.join(','))
    const expected = new Map<string, string>()
    for (const { name, value } of preferences) {
      if (!expected.has(name.toLowerCase())) expected.set(name.toLowerCase(), value ?? '')
    }
    assert.deepEqual(read, expected)
  }), { numRuns: 1500 })
  const piece = fc.constantFrom('handling', '=', 'strict', ';', ',', '"', '\\', ' ', 'return', 'minimal', 'wait', '5', '__proto__', 'respond-async')
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.array(piece).map(pieces => pieces.join(''))), prefer => {
    const { strict, minimal, async, wait } = readPreferences({ headers: { prefer } } as never)
    assert.deepEqual([strict, minimal, async].map(value => typeof value), ['boolean', 'boolean', 'boolean'])
    assert.ok(wait === undefined || wait >= 0)
    if (strict) assert.ok(prefer.toLowerCase().includes('handling'))
  }), { numRuns: 1500 })
})
