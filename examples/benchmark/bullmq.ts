// The BullMQ engine beside bare BullMQ: batches of 1,000 trivial jobs, from adding them to having every result.
//   npm run bench:bullmq, with redis-server installed; ROUNDS (9), TASKS (1000), CONCURRENCY (256)
import { randomUUID } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Queue, QueueEvents, Worker } from 'bullmq'
import Fastify from 'fastify'
import { bullmq } from '../../lib/tasks/bullmq.js'
import { lookUntil } from '../../lib/tasks/look.js'
import { createTaskRunner } from '../../lib/tasks/run-task.js'
import { describeMachine, formatTable, median } from './report.js'

const ROUNDS = Number(process.env.ROUNDS || 9)
const TASKS = Number(process.env.TASKS || 1000)
/** The default of the product, for all of them. */
const CONCURRENCY = Number(process.env.CONCURRENCY || 256)

/** Runs one batch; resolves when all results are there. */
type Contestant = { readonly name: string, run (): Promise<void>, close (): Promise<void> }

async function startRedis () {
  const dir = await mkdtemp(join(tmpdir(), 'benchmark-'))
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  listener.close()
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', ''], { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const chunk of server.stdout) if (String(chunk).includes('Ready to accept')) break
  return {
    connection: { host: '127.0.0.1', port },
    async close () {
      server.kill()
      await rm(dir, { recursive: true, force: true })
    }
  }
}

/** As the documentation of BullMQ shows it: each job is waited for by itself. */
async function waiting (connection: { host: string, port: number }): Promise<Contestant> {
  const { queue, events, worker } = await openBare('waiting', connection)
  return {
    name: 'bare BullMQ: addBulk + waitUntilFinished',
    async run () {
      const jobs = await queue.addBulk(Array.from({ length: TASKS }, (_, payload) => ({ name: 'echo', data: { payload } })))
      expectAll(await Promise.all(jobs.map(job => job.waitUntilFinished(events))))
    },
    close: () => closeAll(worker, events, queue)
  }
}

/** The fastest way that there is with bare BullMQ: jobs are removed when they end, and their events counted. */
async function counting (connection: { host: string, port: number }): Promise<Contestant> {
  const { queue, events, worker } = await openBare('counting', connection)
  let batch = 0
  return {
    name: 'bare BullMQ: addBulk + counting events',
    async run () {
      const id = ++batch
      const results = new Array<unknown>(TASKS)
      let left = TASKS
      const ended = new Promise<void>(resolve => events.on('completed', function hear ({ jobId, returnvalue }) {
        const [, own, index] = jobId.split('-')
        if (Number(own) !== id) return
        results[Number(index)] = Number(returnvalue)
        if (--left > 0) return
        events.off('completed', hear)
        resolve()
      }))
      await queue.addBulk(Array.from({ length: TASKS }, (_, payload) =>
        ({ name: 'echo', data: { payload }, opts: { jobId: `job-${id}-${payload}`, removeOnComplete: true } })))
      await ended
      expectAll(results)
    },
    close: () => closeAll(worker, events, queue)
  }
}

async function openBare (name: string, connection: { host: string, port: number }) {
  const queue = new Queue(name, { connection })
  const events = new QueueEvents(name, { connection })
  const worker = new Worker(name, async job => job.data.payload, { connection, concurrency: CONCURRENCY })
  for (const one of [queue, events, worker]) one.setMaxListeners(0)
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady(), worker.waitUntilReady()])
  return { queue, events, worker }
}

async function closeAll (...all: { close (): Promise<void> }[]): Promise<void> {
  await Promise.all(all.map(one => one.close()))
}

async function ours (connection: { host: string, port: number }): Promise<Contestant> {
  const engine = bullmq({ connection })
  const { log } = Fastify({ logger: { level: 'silent' } })
  await engine.start!({
    runTask: createTaskRunner({ handlers: { echo: { handler: payload => payload } }, timeout: 30_000, retries: 0 }),
    limits: { concurrency: CONCURRENCY, maxRunning: CONCURRENCY, maxQueued: 1_000_000, ttl: 60_000 },
    log
  })
  return {
    name: 'multi-status on BullMQ',
    async run () {
      const batchId = randomUUID()
      const tasks = Array.from({ length: TASKS }, (_, index) => ({ index, task: { taskId: index, type: 'echo', payload: index } }))
      await engine.submit({ batchId, total: TASKS, tasks, invalid: [], keep: false, log })
      const results = await lookUntil(() => engine.results(batchId), { engine, batchId, what: 'end', ms: Infinity })
      await engine.remove(batchId)
      expectAll(results!.map(result => (result as { output?: unknown }).output))
    },
    close: () => engine.close(0)
  }
}

function expectAll (results: readonly unknown[]): void {
  if (results.length !== TASKS || results.some((result, index) => result !== index)) throw new Error('a result is wrong')
}

/** Jobs in a second, and milliseconds of CPU of this process for a thousand jobs. */
async function measure ({ run }: Contestant) {
  const cpu = process.cpuUsage()
  const start = performance.now()
  await run()
  const ms = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  return { rate: TASKS / ms * 1000, cpu: (user + system) / 1000 / TASKS * 1000 }
}

const redis = await startRedis()
const contestants = await Promise.all([waiting, counting, ours].map(open => open(redis.connection)))
const rounds: Awaited<ReturnType<typeof measure>>[][] = []
for (let warmUp = 0; warmUp < 3; warmUp++) for (const contestant of contestants) await measure(contestant)
for (let round = 0; round < ROUNDS; round++) {
  const figures: Awaited<ReturnType<typeof measure>>[] = []
  const order = contestants.map((_, place) => (place + round) % contestants.length)
  for (const place of order) figures[place] = await measure(contestants[place]!)
  rounds.push(figures)
}
const rows = contestants.map(({ name }, place) => {
  const ratio = median(rounds.map(figures => figures[place]!.rate / figures[0]!.rate))
  const rate = median(rounds.map(figures => figures[place]!.rate))
  const cpu = median(rounds.map(figures => figures[place]!.cpu))
  return [name, ratio.toFixed(2), rate.toFixed(0), cpu.toFixed(0)]
})
console.log(await describeMachine(['bullmq', 'ioredis']))
console.log(formatTable([`batches of ${TASKS}`, 'jobs/s, ratio', 'jobs/s', 'CPU ms per 1,000 jobs'], rows))
for (const { close } of contestants) await close()
await redis.close()
