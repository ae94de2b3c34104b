// What an item costs as batches grow, and what a stream takes of memory: npx tsx examples/benchmark/growth.ts [--quick]
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { startPeer, type Peer } from './peers.js'
import { drawGrowth, type Series } from './plot.js'
import { formatTable, median, printReport } from './report.js'
import { buildServers } from './servers.js'

const PLOT = fileURLToPath(new URL('growth.svg', import.meta.url))
const MIB = 2 ** 20

/** Tables of the cost of an item by the size of its batch, and of one long stream; draws the plot. */
export async function measureGrowth (quick = false): Promise<string> {
  const build = await buildServers()
  const peer = await startPeer(build, 'multi-status')
  try {
    const sizes = [1, 10, 100, 1e3, 1e4, 1e5, ...(quick ? [] : [1e6])]
    const json: Series = { name: 'JSON', points: await measureSizes(sizes, size => postJson(peer, size)) }
    const stream: Series = { name: 'stream', points: await measureSizes(sizes, async size => { await postStream(peer, size) }) }
    await writeFile(PLOT, drawGrowth([json, stream]))
    const rows = sizes.map((size, index) => [size.toLocaleString('en'), json.points[index]![1].toFixed(2), stream.points[index]![1].toFixed(2)])
    const growth = formatTable(['items in one request', 'JSON, µs per item', 'stream, µs per item'], rows)
    return `## Growth\n\nWhole requests over HTTP, client and server together.\n\n${growth}\n${await measureStream(peer, quick ? 1e5 : 1e6)}`
  } finally {
    await peer.stop()
    await rm(build, { recursive: true })
  }
}

/** @returns by size, microseconds per item: the medians of so many requests that each size has about the same time */
async function measureSizes (sizes: number[], post: (size: number) => Promise<void>): Promise<[size: number, cost: number][]> {
  for (let warmUp = 0; warmUp < 300; warmUp++) await post(100)
  const points: [number, number][] = []
  for (const size of sizes) {
    const costs: number[] = []
    const times = Math.max(3, Math.min(300, 30_000 / size))
    for (let time = 0; time < times; time++) {
      const start = performance.now()
      await post(size)
      costs.push((performance.now() - start) * 1000 / size)
    }
    points.push([size, median(costs)])
  }
  return points
}

async function postJson (peer: Peer, size: number): Promise<void> {
  const body = `[${Array.from({ length: size }, (_, id) => `{"id":${id}}`).join(',')}]`
  const outgoing = request(`${peer.url}/items`, { method: 'POST', headers: { 'content-type': 'application/json', 'content-length': body.length } })
  outgoing.end(body)
  const [response] = await once(outgoing, 'response') as [IncomingMessage]
  response.resume()
  await once(response, 'end')
  const expected = `total=${size}, succeeded=${size}, failed=0`
  if (response.headers['multi-status'] !== expected) throw new Error(`expected ${expected}; received ${String(response.headers['multi-status'])}`)
}

/** As many lines as a client writes in one go. */
const LINES = 1000

function * makeLines (size: number): Generator<string> {
  for (let id = 0; id < size; id += LINES) {
    let text = ''
    for (let one = id; one < Math.min(id + LINES, size); one++) text += `{"id":${one}}\n`
    yield text
  }
}

/** @returns how many items the client had sent when the first result came */
async function postStream (peer: Peer, size: number): Promise<number> {
  const outgoing = request(`${peer.url}/items/stream`, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' } })
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>
  let sent = 0
  let sentBefore = -1
  function * counted () {
    for (const text of makeLines(size)) {
      sent += LINES
      yield text
    }
  }
  const sending = pipeline(Readable.from(counted()), outgoing)
  const [response] = await answered
  let end = ''
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (sentBefore < 0) sentBefore = sent
    end = (end + chunk.toString('latin1', Math.max(0, chunk.length - 100))).slice(-100)
  }
  await sending
  const expected = `{"summary":{"total":${size},"succeeded":${size},"failed":0}}\n`
  if (!end.endsWith(expected)) throw new Error(`expected ${expected}; received ${end}`)
  return Math.min(sentBefore, size)
}

async function measureStream (peer: Peer, size: number): Promise<string> {
  const { rss } = await peer.memory()
  const start = performance.now()
  const sent = await postStream(peer, size)
  const seconds = (performance.now() - start) / 1000
  const { peak } = await peer.memory()
  const title = `${size.toLocaleString('en')} items in one stream`
  const rows = [[title, (size / seconds).toFixed(0), (rss / MIB).toFixed(0), ((peak - rss) / MIB).toFixed(0), sent.toLocaleString('en')]]
  return formatTable(['', 'items/s', 'RSS before, MiB', 'growth, MiB', 'sent when the first result came'], rows)
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })
  await printReport(await measureGrowth(quick))
}
