// Overload: ten times as many requests at a time as the server admits.
// OVERLOAD_SECONDS says for how long.
import { readdir } from 'node:fs/promises'
import { Agent } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { createSend, KINDS, startLoadServer } from '../fixtures/load.js'

const MEGABYTE = 1024 * 1024
const SECONDS = Number(process.env.OVERLOAD_SECONDS ?? 30)
const MAX_IN_FLIGHT = 8

t.test(`with ten times maxInFlight requests at a time for ${SECONDS} s nothing crashes, memory is bounded, and every answer is true`, { timeout: (SECONDS + 120) * 1000 }, async t => {
  const dir = t.testdir()
  const server = await startLoadServer(t, { dir, busyMs: 2, waitMs: 500, maxInFlight: MAX_IN_FLIGHT })
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const send = createSend(agent, server)
  const kinds = Object.values(KINDS)
  const counts = { served: 0, refused: 0, runs: 0 }
  const stored: string[] = []
  const problems: string[] = []
  let end = 0

  /** Asks again and again, and whatever Retry-After says. */
  async function hammer (client: number): Promise<void> {
    for (let turn = client; performance.now() < end && problems.length === 0; turn++) {
      try {
        const served = await kinds[turn % kinds.length]!(send)
        counts[served === undefined ? 'refused' : 'served']++
        counts.runs += served?.runs ?? 0
        stored.push(...served?.files ?? [])
        // The client has to share the machine.
        if (served === undefined) await setTimeout(20)
      } catch (error) {
        problems.push(String(error))
      }
    }
  }
  async function load (clients: number, seconds: number): Promise<void> {
    end = performance.now() + seconds * 1000
    await Promise.all(Array.from({ length: clients }, (_, client) => hammer(client)))
  }

  await load(MAX_IN_FLIGHT / 2, 3)
  t.equal(counts.refused, 0, 'what fits is never refused')
  const before = await server.look()
  let highest = before.rss
  const watching = setInterval(async () => { highest = Math.max(highest, (await server.look()).rss) }, 1000)
  await load(MAX_IN_FLIGHT * 10, SECONDS).finally(() => clearInterval(watching))
  const after = await server.look()

  t.strictSame(problems, [])
  t.ok(server.isAlive())
  t.comment(JSON.stringify(counts))
  t.ok(counts.served > 0 && counts.refused >= 9 * MAX_IN_FLIGHT, 'most are refused, and some are served')
  t.equal(after.runs, counts.runs, 'nothing has run of what was refused')
  t.strictSame((await readdir(dir)).sort(), stored.sort())
  t.ok(highest - before.rss < 256 * MEGABYTE, `${Math.round((highest - before.rss) / MEGABYTE)} MiB more at most`)
  t.ok(after.heapUsed - before.heapUsed < 16 * MEGABYTE, `${Math.round((after.heapUsed - before.heapUsed) / MEGABYTE)} MiB more in the end`)
  for (const kind of kinds) t.ok(await kind(send), 'and it serves as before')
})
