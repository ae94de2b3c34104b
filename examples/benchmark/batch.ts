// 50 small GETs in one batch beside 50 requests, and beside the batches of others: npx tsx examples/benchmark/batch.ts
//   --quick tries it out: fewer rounds
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { Agent, request, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { delayBefore } from './delay.js'
import { describeMachine, formatTable, median } from './report.js'
import { buildServers } from './servers.js'

const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })

const CALLS = 50
const ROUNDS = quick ? 5 : 25
const WARM_UP = quick ? 200 : 1000
/** How often a server is asked in one round. */
const REPEATS = { loopback: quick ? 20 : 40, delayed: quick ? 2 : 5 }
/** Milliseconds for each direction. */
const DELAY = 10

const ids = Array.from({ length: CALLS }, (_, id) => id)

interface Contender {
  readonly title: string
  readonly server: string
  /** Fetches all contacts and gives back their ids. */
  fetchAll (port: number, agent: Agent): Promise<number[]>
}

/** What an answer has of a contact. */
interface Contact { id: number }

const contenders: Contender[] = [
  {
    title: `fastify, ${CALLS} requests over 6 connections`,
    server: 'fastify',
    fetchAll: (port, agent) => Promise.all(ids.map(async id => (JSON.parse(await send(port, agent, `/contacts/${id}`)) as Contact).id))
  },
  {
    title: 'multi-status, one batch',
    server: 'multi-status',
    async fetchAll (port, agent) {
      const answer = await send(port, agent, '/batch', { requests: ids.map(id => ({ id: String(id), url: `/contacts/${id}` })) })
      return (JSON.parse(answer) as { results: { body: Contact }[] }).results.map(({ body }) => body.id)
    }
  },
  {
    title: '@trpc/server, one batch',
    server: 'trpc',
    async fetchAll (port, agent) {
      const input = encodeURIComponent(JSON.stringify(Object.fromEntries(ids.map(id => [id, { id }]))))
      const answer = await send(port, agent, `/${ids.map(() => 'contact').join(',')}?batch=1&input=${input}`)
      return (JSON.parse(answer) as { result: { data: Contact } }[]).map(({ result }) => result.data.id)
    }
  },
  {
    title: 'bassmaster on hapi, one batch',
    server: 'bassmaster',
    async fetchAll (port, agent) {
      const answer = await send(port, agent, '/batch', { requests: ids.map(id => ({ method: 'get', path: `/contacts/${id}` })) })
      return (JSON.parse(answer) as Contact[]).map(({ id }) => id)
    }
  }
]

async function send (port: number, agent: Agent, path: string, body?: object): Promise<string> {
  const outgoing = request({
    port,
    agent,
    path,
    host: '127.0.0.1',
    method: body ? 'POST' : 'GET',
    ...(body && { headers: { 'content-type': 'application/json' } })
  })
  outgoing.end(body && JSON.stringify(body))
  const [response] = await once(outgoing, 'response') as [IncomingMessage]
  return text(response)
}

/** A contender with its server in a process of its own, and with the six connections of a browser. */
interface Lane {
  readonly contender: Contender
  readonly child: ChildProcess
  readonly port: number
  readonly agent: Agent
  readonly elapsed: number[]
  readonly cpu: number[]
}

async function ask (child: ChildProcess): Promise<number> {
  const [answer] = await once(child, 'message')
  return answer as number
}

async function openLane (build: string, contender: Contender): Promise<Lane> {
  const child = fork(join(build, 'examples/benchmark/batch-server.js'), [contender.server], { execArgv: [] })
  const port = await ask(child)
  return { contender, child, port, agent: new Agent({ keepAlive: true, maxSockets: 6 }), elapsed: [], cpu: [] }
}

async function fetchAll ({ contender, port, agent }: Lane): Promise<void> {
  const found = await contender.fetchAll(port, agent)
  if (found.length !== CALLS || found.some((id, index) => id !== index)) throw new Error(`${contender.title} answered ${String(found)}`)
}

async function measure (lane: Lane, repeats: number): Promise<void> {
  const before = await usage(lane.child)
  const start = performance.now()
  for (let count = 0; count < repeats; count++) await fetchAll(lane)
  lane.elapsed.push((performance.now() - start) / repeats)
  lane.cpu.push((await usage(lane.child) - before) / repeats)
}

function usage (child: ChildProcess): Promise<number> {
  child.send('usage')
  return ask(child)
}

/** Every contender in each round, in turns, so that what else the machine does falls on all of them. */
async function compare (title: string, lanes: readonly Lane[], repeats: number): Promise<string> {
  for (let round = 0; round < ROUNDS; round++) {
    for (const lane of lanes) await measure(lane, repeats)
  }
  const separate = median(lanes[0]!.elapsed)
  const rows = lanes.map(({ contender, elapsed, cpu }) => {
    const ms = median(elapsed)
    return [contender.title, ms.toFixed(2), (separate / ms).toFixed(2), median(cpu).toFixed(2)]
  })
  return `## ${CALLS} small GETs, ${title}, ${ROUNDS} rounds of ${repeats}\n\n` +
    formatTable(['', 'median ms', 'throughput / separate requests', 'CPU ms of the server'], rows)
}

const build = await buildServers()
try {
  console.log(await describeMachine(['fastify', '@trpc/server', '@hapi/hapi', 'bassmaster']))
  const lanes = await Promise.all(contenders.map(contender => openLane(build, contender)))
  for (const lane of lanes) for (let count = 0; count < WARM_UP; count++) await fetchAll(lane)
  console.log(await compare('loopback', lanes, REPEATS.loopback))

  const proxies = await Promise.all(lanes.map(({ port }) => delayBefore(port, DELAY)))
  const delayed = lanes.map((lane, index) =>
    ({ ...lane, port: proxies[index]!.port, agent: new Agent({ keepAlive: true, maxSockets: 6 }), elapsed: [], cpu: [] }))
  for (const lane of delayed) for (let count = 0; count < 3; count++) await fetchAll(lane)
  console.log(await compare(`${2 * DELAY} ms of added latency`, delayed, REPEATS.delayed))

  for (const { agent } of [...lanes, ...delayed]) agent.destroy()
  for (const { close } of proxies) close()
  for (const { child } of lanes) child.disconnect()
} finally {
  await rm(build, { recursive: true })
}
