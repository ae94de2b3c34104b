// Checks the life of a batch, from its submission to its end.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { notRun, toFailure } from '../../../errors.js'
import { abortsOf, allSettled, batchOf, check, endsOf, expectFailure, infoOf, repeat, resultsOf, startsOf, until, type EngineCheck } from './harness.js'

export const lifeChecks: readonly EngineCheck[] = [
  check('a batch can be found as soon as it is submitted, with its owner and its progress', {}, async engine => {
    const owner = { tenant: 'a', roles: ['x'] }
    const batch = batchOf([{ type: 'hang' }, 'Invalid'], { owner })
    const before = Date.now()
    await engine.submit(batch)
    const { batchId, createdAt, summary, owner: kept } = await infoOf(engine, batch.batchId)
    assert.equal(batchId, batch.batchId)
    assert.deepEqual(kept, owner)
    assert.deepEqual(summary, { total: 2, succeeded: 0, failed: 1, pending: 1 })
    assert.ok(createdAt >= before - 1000 && createdAt <= Date.now() + 1000, 'createdAt is not now')
    assert.equal(await engine.results(batch.batchId), undefined)
  }),

  check('of a batch that never was, nothing is known, and nothing can be done to it', {}, async engine => {
    const batchId = randomUUID()
    assert.equal(await engine.find(batchId), undefined)
    assert.equal(await engine.results(batchId), undefined)
    assert.equal(await engine.settled(batchId, 0, 10), undefined)
    await engine.cancel(batchId)
    await engine.remove(batchId)
    engine.watch(batchId, 'end', () => {})()
  }),

  check('what has settled is told page by page, in an order that stays', { concurrency: 1 }, async engine => {
    for (const keep of [true, false]) {
      const batch = batchOf([...repeat(7, { type: 'later' }), 'Invalid'], { keep })
      await engine.submit(batch)
      const results = await resultsOf(engine, batch)
      const all = await allSettled(engine, batch.batchId)
      assert.deepEqual(await allSettled(engine, batch.batchId, 3), all)
      assert.equal(all[0]!.index, 7)
      for (const { index, result } of all) assert.deepEqual(result, results[index])
      assert.deepEqual(await engine.settled(batch.batchId, 8, 10), [])
      assert.deepEqual(await engine.settled(batch.batchId, 6, 10), all.slice(6))
    }
  }),

  check('progress never goes back, and what is told of it can be read', {}, async engine => {
    const batch = batchOf(repeat(300, { type: 'pause', payload: 1 }))
    await engine.submit(batch)
    let before = 0
    await until('it has ended', async () => {
      const { summary: { total, pending } } = await infoOf(engine, batch.batchId)
      assert.ok(total - pending >= before, 'progress went back')
      before = total - pending
      assert.ok((await allSettled(engine, batch.batchId)).length >= before, 'progress tells of more than can be read')
      return pending === 0
    })
    assert.equal((await resultsOf(engine, batch)).length, 300)
  }),

  check('who watches gets a notification of each change, or finds it by looking', {}, async engine => {
    const batch = batchOf(repeat(3, { type: 'pause', payload: 20 }))
    await engine.submit(batch)
    let notifications = 0
    const stops = (['result', 'end'] as const).map(what => engine.watch(batch.batchId, what, () => { notifications++ }))
    await resultsOf(engine, batch)
    for (const stop of stops) stop()
    await until('it is told', async () => notifications > 0 || engine.pollInterval !== undefined)
    for (const stop of stops) stop()
  }),

  check('a batch that is cancelled has a result for each task, and what runs is told', { concurrency: 2 }, async engine => {
    const batch = batchOf([{ type: 'echo' }, ...repeat(10, { type: 'watch' })])
    await engine.submit(batch)
    await until('two run', async () => startsOf(batch.batchId) >= 2 && (await allSettled(engine, batch.batchId)).length > 0)
    await engine.cancel(batch.batchId)
    const results = await resultsOf(engine, batch)
    assert.equal(results[0]!.status, 'completed')
    for (const result of results.slice(1)) expectFailure(result, 'Cancelled', 'CANCELLED')
    await until('the handlers are told', async () => abortsOf(batch.batchId) === startsOf(batch.batchId))
    assert.deepEqual((await infoOf(engine, batch.batchId)).summary, { total: 11, succeeded: 1, failed: 10, pending: 0 })
    await engine.cancel(batch.batchId)
    assert.deepEqual(await engine.results(batch.batchId), results)
  }),

  check('a task that waits to be tried again is cancelled as well', { retries: 5 }, async engine => {
    const batch = batchOf([{ type: 'much-later' }])
    await engine.submit(batch)
    await until('it has failed once', async () => startsOf(batch.batchId) > 0)
    await engine.cancel(batch.batchId)
    expectFailure((await resultsOf(engine, batch))[0], 'Cancelled', 'CANCELLED')
  }),

  check('what has not begun can be given another reason', { concurrency: 1, maxRunning: 1 }, async engine => {
    const batch = batchOf(repeat(3, { type: 'watch' }))
    await engine.submit(batch)
    await until('one runs', async () => startsOf(batch.batchId) > 0)
    await engine.cancel(batch.batchId, toFailure(notRun('Client disconnected')))
    const [first, ...others] = await resultsOf(engine, batch)
    expectFailure(first, 'Cancelled', 'CANCELLED')
    for (const result of others) expectFailure(result, 'Client disconnected', 'NOT_RUN')
  }),

  check('a handler that ignores its signal holds up no end, and what it does later changes nothing', {}, async engine => {
    const batch = batchOf([{ type: 'pause', payload: 300 }])
    await engine.submit(batch)
    await until('it runs', async () => startsOf(batch.batchId) > 0)
    await engine.cancel(batch.batchId)
    const results = await resultsOf(engine, batch)
    expectFailure(results[0], 'Cancelled', 'CANCELLED')
    await until('the handler has ended', async () => endsOf(batch.batchId) === 1)
    assert.deepEqual(await engine.results(batch.batchId), results)
    assert.equal((await allSettled(engine, batch.batchId)).length, 1)
  }),

  check('a batch that is removed is unknown; one that runs is not removed', {}, async engine => {
    const [done, running] = [batchOf([{ type: 'echo' }], { keep: false }), batchOf([{ type: 'hang' }])]
    await Promise.all([engine.submit(done), engine.submit(running)])
    await resultsOf(engine, done)
    await Promise.all([engine.remove(done.batchId), engine.remove(running.batchId)])
    assert.equal(await engine.find(done.batchId), undefined)
    assert.equal((await infoOf(engine, running.batchId)).summary.pending, 1)
  }),

  check('a batch that has been kept for its time has expired', { ttl: 100 }, async engine => {
    const batch = batchOf([{ type: 'echo' }])
    await engine.submit(batch)
    await until('it has expired', async () => await engine.find(batch.batchId) === 'expired')
    assert.equal(await engine.results(batch.batchId), undefined)
    assert.equal(await engine.settled(batch.batchId, 0, 10), undefined)
  }),

  check('the time to live begins with the end', { ttl: 100 }, async engine => {
    const batch = batchOf([{ type: 'pause', payload: 500 }])
    await engine.submit(batch)
    await until('it has ended, and been there until then', async () => {
      if (endsOf(batch.batchId) === 0) await infoOf(engine, batch.batchId)
      return endsOf(batch.batchId) === 1
    })
  }),

  check('a batch that finds no room in the queue is refused whole', { concurrency: 1, maxRunning: 1, maxQueued: 5 }, async engine => {
    const first = batchOf(repeat(4, { type: 'watch' }))
    const second = batchOf(repeat(5, { type: 'watch' }))
    await engine.submit(first)
    await until('one runs', async () => startsOf(first.batchId) > 0)
    await assert.rejects(engine.submit(second), { code: 'FST_MULTI_STATUS_QUEUE_FULL', statusCode: 503 })
    assert.equal(await engine.find(second.batchId), undefined)
    await engine.cancel(first.batchId)
    assert.equal(startsOf(second.batchId), 0)
  }),

  check('closing lets what runs end within its grace', {}, async engine => {
    const batch = batchOf([{ type: 'pause', payload: 100 }])
    await engine.submit(batch)
    await until('it runs', async () => startsOf(batch.batchId) > 0)
    await engine.close(20_000)
    assert.equal(endsOf(batch.batchId), 1)
  }),

  check('closing ends what still runs after its grace, and takes no further batch', {}, async engine => {
    const batch = batchOf([{ type: 'watch' }])
    await engine.submit(batch)
    await until('it runs', async () => startsOf(batch.batchId) > 0)
    await engine.close(10)
    await until('the handler is told', async () => abortsOf(batch.batchId) === 1)
    await assert.rejects(engine.submit(batchOf([{ type: 'echo' }])), { statusCode: 503 })
  })
]
