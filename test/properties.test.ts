// What holds of the core whatever happens: thousands of random batches, and what must be true of every one.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { settle, settleEach, type Outcome, type SettleOptions, type WorkerContext } from '../lib/index.js'
import { anyFate, createClock, isPossible, meet, type Clock, type Fate } from './fixtures/fates.js'

// The tests look at the timers of the whole process.
t.jobs = 1

const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length

/** Waits until nothing is left of a run before, so that one that fails does not make the next one fail. */
async function settleDown (): Promise<void> {
  while (timers() > 0) await new Promise(resolve => setImmediate(resolve))
}

/** Two turns of the event loop: Node reports an unhandled rejection after the microtasks of the turn it is in. */
async function turns (): Promise<void> {
  for (let left = 2; left > 0; left--) await new Promise(resolve => setImmediate(resolve))
}

/** The rejections that nobody handled, from now to the end of the test. */
function noteUnhandled (t: Test): unknown[] {
  const unhandled: unknown[] = []
  const note = (reason: unknown) => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  return unhandled
}

/** Where the items come from; some sources break after the last one. */
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

/** A batch in progress, and what is seen of it. */
interface Watched {
  readonly options: SettleOptions<Fate>
  readonly clock: Clock
  readonly signal: AbortSignal
  /** The items that have been started and not been delivered. */
  readonly running: Set<number>
  /** What was seen that must not be. */
  readonly faults: string[]
  failures: number
  worker (fate: Fate, context: WorkerContext): unknown
  /** To be called when the batch has ended: looks at what it has left behind. */
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

/** Looks at every outcome of a batch, in the order of the items. */
function expectTruth (plan: Plan, outcomes: Outcome<unknown>[], { signal }: Watched): void {
  const { fates, source, retries, timeout, stopAfter } = plan
  const isBroken = source.endsWith('broken')
  const isAborted = signal.aborted
  const size = fates.length + Number(isBroken)
  // A source that has to be waited for is not read on after an abort.
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

/** Only where items are asked for their time, one can say nonsense. */
function fateIn ({ isPerItem }: Plan, fate: Fate): Fate {
  return !isPerItem && fate.how === 'no time' ? { ...fate, how: 'return' } : fate
}

t.test('settle: one possible outcome for each item, in order, and nothing is left behind', async t => {
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

/** How the one who takes the outcomes takes them: at once or after some milliseconds; or not at all, from the nth on. */
const anyTaker = fc.record({
  ms: fc.option(fc.nat(2), { nil: undefined }),
  fails: fc.option(fc.record({ from: fc.nat(10), isLate: fc.boolean() }), { nil: undefined, freq: 3 })
})

t.test('settleEach: never more items in hand than allowed, each delivered once, also to who is slow or fails', async t => {
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
