// What settle costs per item beside its neighbours, and /tasks per request beside a route by hand: npx tsx examples/benchmark/tasks.ts
//   --quick tries it out: fewer rounds
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { describeMachine, formatTable, median } from './report.js'
import { buildServers } from './servers.js'

const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })

const ROUNDS = quick ? 5 : 15
const REQUESTS = quick ? 50 : 200
const CONNECTIONS = 4
const TASKS = 1000

/** The first is what the others are measured against. */
const SERVERS = ['hand-written route', 'hand-written route without a response schema', '/tasks']

const BODY = JSON.stringify({
  tasks: Array.from({ length: TASKS }, (_, taskId) => ({ taskId, type: 'add', payload: { a: taskId, b: 0.5 } }))
})
const COMPLETED = `{"tasks":[${Array.from({ length: TASKS }, (_, taskId) => `{"taskId":${taskId},"status":"completed","output":${taskId + 0.5}}`).join(',')}]}`

interface Taken { readonly elapsed: number[], readonly cpu: number[] }

const build = await buildServers()
try {
  console.log(await describeMachine(['fastify', 'p-map', 'p-timeout', 'p-queue']))
  console.log(await compareSettle())
  console.log(await compareServers())
} finally {
  await rm(build, { recursive: true })
}

async function compareSettle (): Promise<string> {
  const child = start('settle-rounds', String(ROUNDS))
  const taken = await ask<Record<string, Taken>>(child)
  child.kill()
  const bare = median(Object.values(taken)[0]!.elapsed)
  const rows = Object.entries(taken).map(([name, { elapsed, cpu }]) =>
    [name, ...[median(elapsed), median(elapsed) - bare, median(cpu)].map(us => us.toFixed(2))])
  return `## 100,000 trivial items, 50 at a time, ${ROUNDS} rounds; microseconds per item\n\n` +
    formatTable(['', 'median', 'overhead', 'CPU'], rows)
}

/** Every server gets its requests once in each round, in turns. */
async function compareServers (): Promise<string> {
  const servers = await Promise.all(SERVERS.map(async name => {
    const child = start('tasks-server', name)
    return { name, child, port: await ask<number>(child), elapsed: [] as number[], cpu: [] as number[] }
  }))
  for (let round = -3; round < ROUNDS; round++) {
    for (const { child, port, elapsed, cpu } of servers) {
      const taken = await measure(child, port)
      if (round < 0) continue
      elapsed.push(taken.elapsed)
      cpu.push(taken.cpu)
    }
  }
  for (const { child } of servers) child.kill()
  const [first] = servers
  const rows = servers.map(({ name, elapsed, cpu }) => [
    name,
    (REQUESTS / median(elapsed) * 1000).toFixed(0),
    (median(first!.elapsed) / median(elapsed)).toFixed(2),
    (median(cpu) / REQUESTS).toFixed(2),
    (median(first!.cpu) / median(cpu)).toFixed(2)
  ])
  return `## ${TASKS} trivial tasks in one request, ${ROUNDS} rounds of ${REQUESTS} requests\n\n` +
    formatTable(['server', 'requests/s', 'ratio', 'CPU ms per request', 'ratio by CPU'], rows)
}

async function measure (child: ChildProcess, port: number): Promise<{ elapsed: number, cpu: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const before = await usage(child)
  const start = performance.now()
  let left = REQUESTS
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => { while (left-- > 0) await post(agent, port) }))
  const elapsed = performance.now() - start
  const after = await usage(child)
  agent.destroy()
  return { elapsed, cpu: after - before }
}

/** Looks at the answer too, so that nobody is fast because it does something else. */
async function post (agent: Agent, port: number): Promise<void> {
  const sent = request({ agent, port, host: '127.0.0.1', method: 'POST', path: '/tasks', headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(BODY) } })
  sent.end(BODY)
  const [response] = await once(sent, 'response')
  if (await text(response) !== COMPLETED) throw new Error('The answer is not what was asked for')
}

function usage (child: ChildProcess): Promise<number> {
  child.send('usage')
  return ask<number>(child)
}

function start (module: string, argument: string): ChildProcess {
  return fork(join(build, `examples/benchmark/${module}.js`), [argument], { execArgv: [] })
}

async function ask<T> (child: ChildProcess): Promise<T> {
  const [message] = await once(child, 'message')
  return message as T
}
