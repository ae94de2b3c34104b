// Checks engines that several processes share. Other engines pass them.
import assert from 'node:assert/strict'
import { abortsOf, allSettled, batchOf, checkPeers, expectFailure, infoOf, outputsOf, repeat, resultsOf, startsOf, until, type EngineCheck } from './harness.js'

export const peerChecks: readonly EngineCheck[] = [
  checkPeers('another process can tell of a batch: its progress, its owner, its results', {}, async (engine, peer) => {
    const batch = batchOf([...repeat(20, { type: 'pause', payload: 5 }), 'Invalid'], { owner: 'a' })
    await engine.submit(batch)
    assert.equal((await infoOf(peer, batch.batchId)).owner, 'a')
    const results = await resultsOf(peer, batch)
    assert.deepEqual(results, await resultsOf(engine, batch))
    assert.deepEqual(await allSettled(peer, batch.batchId), await allSettled(engine, batch.batchId))
  }),

  checkPeers('another process gets notifications, or finds what has changed by looking', {}, async (engine, peer) => {
    const batch = batchOf([{ type: 'pause', payload: 50 }])
    await engine.submit(batch)
    let notifications = 0
    const stop = peer.watch(batch.batchId, 'end', () => { notifications++ })
    await resultsOf(peer, batch)
    await until('it is told', async () => notifications > 0 || peer.pollInterval !== undefined)
    stop()
  }),

  checkPeers('another process can cancel a batch, and what runs is told wherever it does', { concurrency: 2 }, async (engine, peer) => {
    const batch = batchOf(repeat(6, { type: 'watch' }))
    await engine.submit(batch)
    await until('one runs', async () => startsOf(batch.batchId) > 0)
    await peer.cancel(batch.batchId)
    for (const result of await resultsOf(engine, batch)) expectFailure(result, 'Cancelled', 'CANCELLED')
    await until('the handlers are told', async () => abortsOf(batch.batchId) === startsOf(batch.batchId))
  }),

  checkPeers('a batch outlives the process that has taken it', {}, async (engine, peer) => {
    const batch = batchOf(Array.from({ length: 30 }, (_, payload) => ({ type: 'later', payload })))
    await engine.submit(batch)
    await engine.close(0)
    assert.deepEqual(outputsOf(await resultsOf(peer, batch)), batch.tasks.map(({ task }) => task.payload))
  })
]
