// Requests per second over HTTP, client and servers in processes of their own: npx tsx examples/benchmark/http.ts [--quick]
import { rm } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import autocannon from 'autocannon'
import { startFlask, startPeer, type Peer } from './peers.js'
import { formatTable, median, printReport } from './report.js'
import { buildServers } from './servers.js'

const NAMES = ['multi-status', 'Fastify by hand', 'express', 'hono']

interface Load {
  readonly title: string
  readonly path: string
  readonly body: string
  /** Whether Flask does it too. */
  readonly inFlask: boolean
}

const names = (count: number) => JSON.stringify({
  files: Array.from({ length: count }, (_, index) => index % 2 === 0 ? `${index}.txt` : `a-long-name-${index}.txt`)
})

const LOADS: Load[] = [
  { title: 'names, 2 files', path: '/upload', body: names(2), inFlask: true },
  { title: 'names, 100 files', path: '/upload', body: names(100), inFlask: true },
  {
    title: 'contacts, 1,000 items, 1 in 10 invalid',
    path: '/contacts',
    inFlask: false,
    body: JSON.stringify(Array.from({ length: 1000 }, (_, index) => ({ email: index % 10 === 0 ? `ada${index}` : `ada${index}@example.org`, name: `Ada ${index}` })))
  }
]

/** One Markdown table: the medians, and relative to multi-status. */
export async function measureHttp (quick = false): Promise<string> {
  const build = await buildServers()
  const peers = await Promise.all(NAMES.map(name => startPeer(build, name)))
  const flask = await startFlask()
  try {
    await expectSameAnswers(flask === undefined ? peers : [...peers, flask])
    const tables = []
    for (const load of LOADS) tables.push(await compare(load, flask !== undefined && load.inFlask ? [...peers, flask] : peers, quick))
    return `## Over HTTP\n\nRequests per second, medians of interleaved rounds, 10 connections; client and servers share the machine.\n\n${tables.join('\n')}`
  } finally {
    await Promise.all([...peers, ...(flask === undefined ? [] : [flask])].map(peer => peer.stop()))
    await rm(build, { recursive: true })
  }
}

async function expectSameAnswers (peers: readonly Peer[]): Promise<void> {
  for (const { title, path, body, inFlask } of LOADS) {
    const asked = peers.filter(({ name }) => inFlask || name !== 'flask')
    const answers = await Promise.all(asked.map(async ({ url }) => {
      const response = await fetch(url + path, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
      return JSON.stringify([response.status, sorted(await response.json())])
    }))
    if (new Set(answers).size > 1) throw new Error(`${title}: the servers answer not the same`)
  }
}

/** Flask sorts the members. */
function sorted (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).sort().map(([name, member]) => [name, sorted(member)]))
}

async function compare ({ title, path, body }: Load, peers: readonly Peer[], quick: boolean): Promise<string> {
  const rates = new Map(peers.map(peer => [peer, [] as number[]]))
  const rounds = quick ? 3 : 7
  for (let round = -1; round < rounds; round++) {
    for (const [{ url }, found] of rates) {
      const result = await autocannon({
        url: url + path, method: 'POST', body, headers: { 'content-type': 'application/json' }, connections: 10, duration: quick ? 1 : 3, workers: 1
      })
      if (result['2xx'] === 0 || result.non2xx > 0) throw new Error(`${title}: ${result.non2xx} other answers than 207`)
      if (round >= 0) found.push(result.requests.average)
    }
  }
  const ours = median(rates.get(peers[0]!)!)
  const rows = [...rates].map(([{ name }, found]) => [name, median(found).toFixed(0), (ours / median(found)).toFixed(2)])
  return formatTable([title, 'requests/s', 'multi-status is so many times as fast'], rows)
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })
  await printReport(await measureHttp(quick))
}
