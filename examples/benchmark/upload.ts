// Measures the time and memory of /upload beside the bare parser and other packages: npx tsx examples/benchmark/upload.ts
//   --quick takes less data and fewer rounds
//   --only=name measures this server alone, and may be repeated; raw busboy is always there, because all else is measured against it
import { rm } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { createForm, createLongForm, post, type Form } from './form.js'
import { describeMachine, formatTable, median } from './report.js'
import { buildServers, names, startServer, type RunningServer } from './servers.js'

const { values: { quick, only } } = parseArgs({ options: { quick: { type: 'boolean' }, only: { type: 'string', multiple: true } } })

const PACKAGES = ['fastify', '@fastify/busboy', '@fastify/multipart', 'express', 'multer', 'formidable']
const KB = 1000
const MB = 1000 * KB
const ROUNDS = quick ? 3 : 9
const WARM_UP = quick ? 1 : 3
const FORMS = quick
  ? [createForm('4 x 1 MB', 4, MB), createForm('50 x 10 KB', 50, 10 * KB)]
  : [createForm('20 x 5 MB', 20, 5 * MB), createForm('500 x 10 KB', 500, 10 * KB)]
const LONG = quick ? 100 * MB : 2000 * MB

/** The times of one server for one form, in milliseconds. */
interface Timings {
  readonly elapsed: number[]
  readonly cpu: number[]
}

const build = await buildServers()
try {
  const chosen = names.filter(name => only === undefined || name === names[0] || only.includes(name))
  console.log(await describeMachine(PACKAGES))
  for (const form of FORMS) console.log(await compare(form, chosen))
  if (only === undefined) console.log(await measureMemory())
} finally {
  await rm(build, { recursive: true })
}

/** The servers take turns in each round, so that other load of the machine falls on all of them. */
async function compare (form: Form, chosen: readonly string[]): Promise<string> {
  const servers = await Promise.all(chosen.map(name => startServer(build, name)))
  const timings = new Map(servers.map(server => [server, { elapsed: [], cpu: [] } as Timings]))
  // The first rounds, uncounted, warm up.
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    for (const [server, { elapsed, cpu }] of timings) {
      const taken = await measure(server, form)
      if (round < 0) continue
      elapsed.push(taken.elapsed)
      cpu.push(taken.cpu)
    }
  }
  await Promise.all(servers.map(server => server.stop()))
  return formatTimings(form, timings)
}

/** Times the request alone, without the check and removal of the stored files. */
async function measure (server: RunningServer, form: Form): Promise<{ elapsed: number, cpu: number }> {
  const before = await server.usage()
  const start = performance.now()
  await post(server.port, form)
  const elapsed = performance.now() - start
  const { cpu } = await server.usage()
  await server.empty(form)
  return { elapsed, cpu: cpu - before.cpu }
}

function formatTimings (form: Form, timings: ReadonlyMap<RunningServer, Timings>): string {
  const raw = median([...timings.values()][0]!.elapsed)
  const rows = [...timings].map(([{ name }, { elapsed, cpu }]) => {
    const ms = median(elapsed)
    return [name, ms.toFixed(0), Math.min(...elapsed).toFixed(0), (ms / raw).toFixed(2), median(cpu).toFixed(0)]
  })
  const title = `## ${form.title} in one request, ${ROUNDS} rounds\n\n`
  return title + formatTable(['server', 'median ms', 'fastest ms', 'median / raw busboy', 'CPU ms'], rows)
}

async function measureMemory (): Promise<string> {
  const server = await startServer(build, 'multi-status')
  const warmUp = createForm('one small file', 1, KB)
  await post(server.port, warmUp)
  await server.empty(warmUp)

  const { rss: idle } = await server.usage()
  const form = createLongForm(LONG)
  await post(server.port, form)
  const { peak } = await server.usage()
  await server.empty(form)
  await server.stop()
  const rows = [idle, peak, peak - idle].map(size => (size / 2 ** 20).toFixed(0))
  const title = `## Memory of multi-status while one file of ${LONG / MB} MB goes through (RSS, every 50 ms)\n\n`
  return title + formatTable(['idle MiB', 'peak MiB', 'above idle MiB'], [rows])
}
