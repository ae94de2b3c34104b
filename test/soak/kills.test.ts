// Kills a server while it stores uploads: every file that was reported uploaded is there and whole, and no half of one is visible.
// KILLS says how many times.
import { spawn, type ChildProcess } from 'node:child_process'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { nodeArgs } from '../fixtures/root.js'

const KILLS = Number(process.env.KILLS ?? 50)
/** Servers at a time. */
const SERVERS = 2
const LONGEST_LIFE = 800

interface Sent {
  /** The sha256 of everything that was ever sent. */
  readonly hashes: Set<string>
  /** The sha256 of every file that was reported uploaded, by key. */
  readonly reported: Map<string, string>
}

t.test(`${KILLS} kills at random moments lose no file that was reported uploaded, and show no half of one`, async t => {
  await Promise.all(Array.from({ length: SERVERS }, async () => {
    const dir = await mkdtemp(join(tmpdir(), 'durability-'))
    t.teardown(() => rm(dir, { recursive: true }))
    const sent: Sent = { hashes: new Set(), reported: new Map() }
    for (let kill = 0; kill < KILLS / SERVERS; kill++) await liveAndDie(dir, sent)

    const { server } = await start(dir)
    const names = await readdir(dir)
    t.strictSame(names.filter(name => name.startsWith('.')), [], 'the next start removes what was left behind')
    const visible = new Map(await Promise.all(names.map(async name => [name, sha256(await readFile(join(dir, name)))] as const)))
    t.strictSame([...sent.reported].filter(([key, hash]) => visible.get(key) !== hash), [], 'every reported file is there and whole')
    t.strictSame([...visible.values()].filter(hash => !sent.hashes.has(hash)), [], 'every visible file is whole')
    t.ok(sent.reported.size > KILLS / SERVERS, `${sent.reported.size} files were reported, ${visible.size} are visible`)
    await stop(server)
  }))
})

/** Starts a server, uploads to it until it is killed, and notes what it said. */
async function liveAndDie (dir: string, sent: Sent): Promise<void> {
  const { server, port } = await start(dir)
  const uploading = uploadUntilDead(port, sent)
  await setTimeout(randomInt(LONGEST_LIFE))
  await stop(server)
  await uploading
}

async function uploadUntilDead (port: string, { hashes, reported }: Sent): Promise<void> {
  try {
    while (true) {
      const form = new FormData()
      for (let count = 0; count < 4; count++) {
        const content = randomBytes(randomInt(4) === 0 ? 1_000_000 : randomInt(20_000))
        hashes.add(sha256(content))
        form.append('files', new Blob([content]), `${count}.bin`)
      }
      const response = await fetch(`http://127.0.0.1:${port}/upload`, { method: 'POST', body: form })
      const { results } = await response.json() as { results: { status: string, key: string, sha256: string }[] }
      for (const { status, key, sha256 } of results) if (status === 'uploaded') reported.set(key, sha256)
    }
  } catch {
    // The server is dead, as it should be.
  }
}

async function start (dir: string): Promise<{ server: ChildProcess, port: string }> {
  const server = spawn(process.execPath, nodeArgs('test/fixtures/upload-server.ts'), {
    env: { PATH: process.env.PATH, UPLOAD_DIR: dir }, stdio: ['ignore', 'pipe', 'inherit']
  })
  const [port] = await once(createInterface(server.stdout!), 'line') as [string]
  return { server, port }
}

async function stop (server: ChildProcess): Promise<void> {
  const exited = once(server, 'exit')
  server.kill('SIGKILL')
  await exited
}

function sha256 (content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
