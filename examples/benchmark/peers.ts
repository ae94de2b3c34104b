// The servers that are compared over HTTP, each in a process of its own.
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

/** What a server says of itself. */
export interface Figures {
  /** Microseconds of processor time since it started, of all threads. */
  readonly cpu: number
  /** Bytes in memory. */
  readonly rss: number
  /** The most bytes in memory that were seen since this was last asked. */
  readonly peak: number
  /** How many items of long batches it has worked on. */
  readonly handled: number
}

/** A server, and how to end it. */
export interface Peer {
  readonly name: string
  readonly url: string
  figures (): Promise<Figures>
  stop (): Promise<void>
}

/** @param build what `buildServers` made */
export async function startPeer (build: string, name: string): Promise<Peer> {
  const child = fork(join(build, 'examples/benchmark/peer.js'), [name], { execArgv: [] })
  const [port] = await once(child, 'message') as [number]
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    async figures () {
      child.send('figures')
      const [figures] = await once(child, 'message') as [Figures]
      return figures
    },
    stop: () => stop(child)
  }
}

/** Undefined, with a message, where the machine has no gunicorn or no Flask. */
export async function startFlask (): Promise<Peer | undefined> {
  const port = await freePort()
  const child = spawn('gunicorn', ['-w', '1', '-b', `127.0.0.1:${port}`, '--log-level', 'warning', 'names:app'],
    { cwd: import.meta.dirname, stdio: 'inherit', env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } })
  const gone = new Promise<boolean>(resolve => child.once('error', () => resolve(false)).once('exit', () => resolve(false)))
  const url = `http://127.0.0.1:${port}`
  if (!await Promise.race([gone, answering(url)])) {
    console.error('*** SKIPPED: Flask, because this machine has no gunicorn or no Flask (Debian: apt install gunicorn python3-flask) ***')
    return undefined
  }
  return { name: 'flask', url, figures: async () => ({ cpu: 0, rss: 0, peak: 0, handled: 0 }), stop: () => stop(child) }
}

async function answering (url: string): Promise<true> {
  for (let left = 200; left > 0; left--) {
    try {
      await fetch(url)
      return true
    } catch {
      await setTimeout(50)
    }
  }
  throw new Error(`Nobody answers at ${url}`)
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

async function stop (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  child.kill()
  await once(child, 'exit')
}
