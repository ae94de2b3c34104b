// What an item costs as batches grow, and what a stream takes of memory: npx tsx examples/benchmark/growth.ts [--quick]
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
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
  try {
    // In a process of its own, because the memory of one that has had a million items at once has grown already.
    const long = await startPeer(build, 'multi-status')
    const stream = await measureStream(long, quick ? 1e5 : 1e6).finally(long.stop)
    const peer = await startPeer(build, 'multi-status')
    const growth = await compareSizes(peer, [1, 10, 100, 1e3, 1e4, 1e5, ...(quick ? [] : [1e6])]).finally(peer.stop)
    return `## Growth\n\nProcessor time of the server for whole requests over HTTP, as many as ${LANES} at a time; medians of ${ROUNDS} rounds.\n\n${growth}\n${stream}`
  } finally {
    await rm(build, { recursive: true })
  }
}

async function compareSizes (peer: Peer, sizes: number[]): Promise<string> {
  const json: Series = { name: 'JSON', points: await measureSizes(peer, sizes, size => postJson(peer, size)) }
  const streamed: Series = { name: 'stream', points: await measureSizes(peer, sizes, async size => { await postStream(peer, size) }) }
  await writeFile(PLOT, drawGrowth([json, streamed]))
  const rows = sizes.map((size, index) => [size.toLocaleString('en'), json.points[index]![1].toFixed(2), streamed.points[index]![1].toFixed(2)])
  return formatTable(['items in one request', 'JSON, µs per item', 'stream, µs per item'], rows)
}

/** How many requests are under way at a time, as long as they have no more items together than the largest one. */
const LANES = 8

/** @returns by size, microseconds of the server per item: the medians of some rounds */
async function measureSizes (peer: Peer, sizes: number[], post: (size: number) => Promise<void>): Promise<[size: number, cost: number][]> {
  const largest = Math.max(...sizes)
  await measureRound(peer, 100, LANES, 500, post)
  const points: [number, number][] = []
  for (const size of sizes) {
    const lanes = Math.min(LANES, largest / size)
    const times = Math.max(1, Math.min(50, Math.ceil(30_000 / size / lanes)))
    const costs: number[] = []
    for (let round = 0; round < ROUNDS; round++) costs.push(await measureRound(peer, size, lanes, times, post))
    points.push([size, median(costs)])
  }
  return points
}

const ROUNDS = 5

/** Every lane posts so many times. @returns microseconds of the server per item */
async function measureRound (peer: Peer, size: number, lanes: number, times: number, post: (size: number) => Promise<void>): Promise<number> {
  const { cpu } = await peer.figures()
  await Promise.all(Array.from({ length: lanes }, async () => {
    for (let time = 0; time < times; time++) await post(size)
  }))
  return ((await peer.figures()).cpu - cpu) / (size * lanes * times)
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
  await postStream(peer, 10_000)
  const { rss } = await peer.figures()
  const start = performance.now()
  const sent = await postStream(peer, size)
  const seconds = (performance.now() - start) / 1000
  const { peak } = await peer.figures()
  const title = `${size.toLocaleString('en')} items in one stream`
  const late = String(await leaveStream(peer, size))
  const rows = [[title, (size / seconds).toFixed(0), (rss / MIB).toFixed(0), ((peak - rss) / MIB).toFixed(0), sent.toLocaleString('en'), late]]
  return formatTable(['', 'items/s', 'RSS before, MiB', 'growth, MiB', 'sent when the first result came', 'handled later than 100 ms after the client had gone'], rows)
}

/** Goes away in the middle of a stream. @returns how many items were still handled later than 100 ms after that */
async function leaveStream (peer: Peer, size: number): Promise<number> {
  const outgoing = request(`${peer.url}/items/stream`, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' } })
  outgoing.on('error', () => {})
  const sending = pipeline(Readable.from(makeLines(size)), outgoing)
  const [response] = await once(outgoing, 'response') as [IncomingMessage]
  await once(response, 'data')
  outgoing.destroy()
  await sending.catch(() => {})
  await setTimeout(100)
  const { handled } = await peer.figures()
  await setTimeout(500)
  return (await peer.figures()).handled - handled
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })
  await printReport(await measureGrowth(quick))
}
