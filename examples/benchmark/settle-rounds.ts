// What running trivial items costs: node settle-rounds.js <rounds>. Sends its parent the microseconds per item, by name and round.
import pMap from 'p-map'
import PQueue from 'p-queue'
import pTimeout from 'p-timeout'
import { settle } from '../../lib/core/settle/settle.js'

const ITEMS = Array.from({ length: 100_000 }, (_, index) => index)
const concurrency = 50
const timeout = 10_000
const work = async (item: number) => item

/** The first is what running them costs in any case. */
const runs: Record<string, () => Promise<unknown>> = {
  'bare loop': async () => {
    const results: number[] = []
    let next = 0
    const lane = async () => {
      while (next < ITEMS.length) {
        const index = next++
        results[index] = await work(ITEMS[index]!)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, lane))
  },
  settle: () => settle(ITEMS, work, { concurrency, timeout }),
  'p-map, no timeout': () => pMap(ITEMS, work, { concurrency }),
  'p-map + p-timeout': () => pMap(ITEMS, item => pTimeout(work(item), { milliseconds: timeout }), { concurrency }),
  'p-queue with timeout': () => {
    const queue = new PQueue({ concurrency, timeout })
    return Promise.all(ITEMS.map(item => queue.add(() => work(item))))
  }
}

const taken = Object.fromEntries(Object.keys(runs).map(name => [name, { elapsed: [] as number[], cpu: [] as number[] }]))
const WARM_UP = 2

for (let round = -WARM_UP; round < Number(process.argv[2]); round++) {
  for (const [name, run] of Object.entries(runs)) {
    const before = process.cpuUsage()
    const start = performance.now()
    await run()
    const elapsed = performance.now() - start
    const { user, system } = process.cpuUsage(before)
    if (round < 0) continue
    taken[name]!.elapsed.push(elapsed * 1000 / ITEMS.length)
    taken[name]!.cpu.push((user + system) / ITEMS.length)
  }
}
process.send!(taken)
