// The BullMQ engine beside bare BullMQ: batches of 1,000 trivial jobs, from adding them to having every result. Each has
// a process of its own, as none is to collect the garbage of another, and they take turns in an order that chance makes.
// The processes are started several times, because one can be fast or slow for as long as it lives.
//   npm run bench:bullmq, with redis-server installed; STARTS (5), ROUNDS (9), TASKS (1000), CONCURRENCY (256)
import { randomUUID } from 'node:crypto'
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Queue, QueueEvents, Worker } from 'bullmq'
import Fastify from 'fastify'
import { bullmq } from '../../lib/tasks/engines/bullmq/index.js'
import { pollUntil } from '../../lib/tasks/http/poll.js'
import { createTaskRunner } from '../../lib/tasks/run-task.js'
import { describeMachine, formatTable, median } from './report.js'

const STARTS = Number(process.env.STARTS || 5)
/** Of each start. */
const ROUNDS = Number(process.env.ROUNDS || 9)
const TASKS = Number(process.env.TASKS || 1000)
/** The default of the product, for all of them. */
const CONCURRENCY = Number(process.env.CONCURRENCY || 256)

/** Runs one batch; resolves when all results are there. */
type Contestant = { run (): Promise<void>, close (): Promise<void> }

type Open = (connection: { host: string, port: number }) => Promise<Contestant>

/** The first is what the others are measured against. */
const contestants: Record<string, Open> = {
  'bare BullMQ: addBulk + waitUntilFinished': waiting,
  'bare BullMQ: addBulk + counting events': counting,
  'multi-status on BullMQ': ours
}

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
    async run () {
      const batchId = randomUUID()
      const tasks = Array.from({ length: TASKS }, (_, index) => ({ index, task: { taskId: index, type: 'echo', payload: index } }))
      await engine.submit({ batchId, total: TASKS, tasks, invalid: [], keep: false, log })
      const results = await pollUntil(() => engine.results(batchId), { engine, batchId, what: 'end', ms: Infinity })
      await engine.remove(batchId)
      expectAll(results!.map(result => (result as { output?: unknown }).output))
    },
    close: () => engine.close(0)
  }
}

function expectAll (results: readonly unknown[]): void {
  if (results.length !== TASKS || results.some((result, index) => result !== index)) throw new Error('a result is wrong')
}

/** What one batch took. */
interface Figures {
  /** Jobs in a second. */
  readonly rate: number
  /** Milliseconds of CPU of the process for a thousand jobs. */
  readonly cpu: number
}

async function measure ({ run }: Contestant): Promise<Figures> {
  const cpu = process.cpuUsage()
  const start = performance.now()
  await run()
  const ms = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  return { rate: TASKS / ms * 1000, cpu: (user + system) / 1000 / TASKS * 1000 }
}

/** Is one of them, and runs a batch whenever it is told to. */
async function compete (name: string, port: number): Promise<void> {
  const contestant = await contestants[name]!({ host: '127.0.0.1', port })
  process.on('message', async () => { process.send!(await measure(contestant)) })
  process.once('disconnect', () => { contestant.close() })
  process.send!('ready')
}

async function compare (): Promise<void> {
  const rounds: Figures[][] = []
  for (let start = 0; start < STARTS; start++) rounds.push(...await takeRounds())
  await report(rounds)
}

/** Starts all of them, and lets them take turns. */
async function takeRounds (): Promise<Figures[][]> {
  const redis = await startRedis()
  const processes = await Promise.all(Object.keys(contestants).map(async name => {
    const child = fork(import.meta.filename, [name, String(redis.connection.port)])
    await once(child, 'message')
    return child
  }))
  for (let warmUp = 0; warmUp < 5; warmUp++) for (const child of processes) await ask(child)
  const rounds: Figures[][] = []
  for (let round = 0; round < ROUNDS; round++) {
    const figures: Figures[] = []
    for (const place of shuffle(processes.keys())) figures[place] = await ask(processes[place]!)
    rounds.push(figures)
  }
  await Promise.all(processes.map(child => {
    child.disconnect()
    return once(child, 'exit')
  }))
  await redis.close()
  return rounds
}

async function ask (child: ChildProcess): Promise<Figures> {
  child.send('run')
  const [figures] = await once(child, 'message')
  return figures as Figures
}

function shuffle (places: Iterable<number>): number[] {
  return [...places].map(place => ({ place, by: Math.random() })).sort((a, b) => a.by - b.by).map(({ place }) => place)
}

async function report (rounds: readonly Figures[][]): Promise<void> {
  const rows = Object.keys(contestants).map((name, place) => {
    const ratio = median(rounds.map(figures => figures[place]!.rate / figures[0]!.rate))
    const rate = median(rounds.map(figures => figures[place]!.rate))
    const cpu = median(rounds.map(figures => figures[place]!.cpu))
    return [name, ratio.toFixed(2), rate.toFixed(0), cpu.toFixed(0)]
  })
  console.log(await describeMachine(['bullmq', 'ioredis']))
  console.log(formatTable([`batches of ${TASKS}, ${STARTS} starts of ${ROUNDS} rounds`, 'jobs/s, ratio', 'jobs/s', 'CPU ms per 1,000 jobs'], rows))
}

const [name, port] = process.argv.slice(2)
if (name === undefined) await compare()
else await compete(name, Number(port))
