// The clock of the machine jumps while tasks run: whatever waits goes by a clock that cannot jump.
import { mock } from 'node:test'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { bulkRoute, defineContract, memoryIdempotency } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { openEvents, readEvents } from '../../fixtures/events.js'
import { createGate } from '../../fixtures/gate.js'
import { waitFor } from '../../fixtures/wait.js'

const HOUR = 3_600_000

const jobs = defineContract({ name: 'Job', key: 'id', success: 'done', failure: 'failed', reason: 'why' })
const Job = Type.Object({ id: Type.String() })

for (const hours of [5, -5]) {
  t.test(`a clock that jumps by ${hours} hours changes no timeout, wait, heartbeat, idempotency key or time to live`, async t => {
    const gate = createGate()
    let runs = 0
    const app = await build(t, {
      plugin: {
        idempotency: { store: memoryIdempotency() },
        tasks: {
          ttl: 2_000,
          timeout: 300,
          heartbeat: 50,
          handlers: {
            wait: { handler: () => gate.opened, timeout: 60_000 },
            hang: { handler: () => new Promise(() => {}) }
          }
        }
      }
    })
    app.route(bulkRoute({ url: '/jobs', contract: jobs, item: Job, handler: async () => { runs++; await gate.opened } }))
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const submit = (prefer: string) => app.inject({
      method: 'POST', url: '/tasks', headers: { prefer }, payload: { tasks: ['wait', 'hang'].map(type => ({ taskId: type, type })) }
    })
    const post = () => app.inject({ method: 'POST', url: '/jobs', headers: { 'idempotency-key': 'k' }, payload: [{ id: 'a' }] })

    const location = (await submit('respond-async')).headers.location as string
    const waiting = submit('respond-async, wait=1')
    const running = post()
    await waitFor('the job to run', () => runs === 1)
    const events = readEvents(await openEvents(`${origin}${location}/events`))
    await events.next()
    jump(t, hours)

    let signs = 0
    while (signs < 2) if ((await events.next()).value!.comment !== undefined) signs++
    await events.return(undefined)
    t.equal((await waiting).statusCode, 202, 'a client waits no longer than it has said')
    t.equal((await post()).statusCode, 409, 'a key is held for as long as its request runs')
    t.equal((await app.inject(location)).json().summary.failed, 1, 'what hangs has timed out')
    t.ok(Number((await app.inject(location)).headers['retry-after']) >= 1)

    gate.open()
    t.strictSame((await running).json(), { results: [{ id: 'a', status: 'done' }] })
    t.equal((await post()).headers['idempotency-replayed'], 'true')
    t.equal(runs, 1)
    let ended = await app.inject(location)
    await waitFor('the end of the batch', async () => (ended = await app.inject(location)).statusCode === 207)
    t.strictSame(ended.json().tasks.map(({ status, code }: { status: string, code?: string }) => code ?? status), ['completed', 'TIMEOUT'])
    await waitFor('the batch to expire', async () => (await app.inject(location)).statusCode === 410)
  })
}

/** Moves the clock of this process alone, because a test may not set that of the machine. */
function jump (t: Test, hours: number): void {
  mock.timers.enable({ apis: ['Date'], now: Date.now() + hours * HOUR })
  t.teardown(() => mock.timers.reset())
}
