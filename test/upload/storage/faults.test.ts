// Storages that fail for real: a full disk, and an object storage that never answers.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { S3Client } from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { s3 } from '../../../lib/upload/storage/s3.js'
import { build, type LogLine } from '../../fixtures/build.js'
import { nodeArgs } from '../../fixtures/root.js'
import { skipUnless } from '../../fixtures/skip.js'

/** Runs a shell command that may mount file systems; they are gone when it ends. */
const MOUNTING = ['--user', '--map-root-user', '--mount', 'sh', '-c'] as const
const canMount = spawnSync('unshare', [...MOUNTING, 'mount -t tmpfs none /mnt']).status === 0

t.test('a full disk fails the file that does not fit, keeps nothing of it, and stores the files that fit', {
  skip: skipUnless(canMount, 'right to mount a file system')
}, async t => {
  const dir = t.testdir()
  const command = `mount -t tmpfs -o size=1m none "$UPLOAD_DIR" && exec "${process.execPath}" ${nodeArgs('test/fixtures/upload-server.ts').join(' ')}`
  const server = spawn('unshare', [...MOUNTING, command], {
    env: { PATH: process.env.PATH, UPLOAD_DIR: dir, LOG_LEVEL: 'error' }, stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(async () => {
    server.kill('SIGKILL')
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
  })
  const lines = createInterface(server.stdout)[Symbol.asyncIterator]()
  const { value: port } = await lines.next() as { value: string }

  const answer = await upload(`http://127.0.0.1:${port}`, { 'a.bin': 300_000, 'large.bin': 2_000_000, 'b.bin': 300_000 })

  t.match(answer, [
    { file: 'a.bin', status: 'uploaded', size: 300_000 },
    { file: 'large.bin', status: 'failed', error: 'Storage full', code: 'STORAGE_FULL', statusCode: 507, retryable: true },
    { file: 'b.bin', status: 'uploaded', size: 300_000 }
  ])
  t.match(JSON.parse((await lines.next()).value as string), {
    level: 50, msg: 'item failed', code: 'STORAGE_FULL', index: 1, key: 'large.bin', err: { message: /Storage full.*ENOSPC/ }
  })
  t.strictSame((await readdir(`/proc/${server.pid}/root${dir}`)).sort(), [answer[0]!.key, answer[2]!.key].sort())
})

t.test('an object storage that accepts a connection and never answers fails the file after storageTimeout', async t => {
  const lines: LogLine[] = []
  const silent = await listen(t, createServer(socket => socket.on('error', () => {}).resume()))
  const client = new S3Client({ endpoint: silent, region: 'x', forcePathStyle: true, credentials: { accessKeyId: 'x', secretAccessKey: 'x' } })
  t.teardown(() => client.destroy())
  const app = await build(t, {
    plugin: { upload: { storage: s3({ client, bucket: 'b' }), storageTimeout: 300 } }, onLog: line => lines.push(line)
  })

  const answer = await upload(await app.listen({ host: '127.0.0.1', port: 0 }), { 'a.bin': 10 })

  t.strictSame(answer, [{ file: 'a.bin', status: 'failed', error: 'Storage timeout', code: 'STORAGE_TIMEOUT', statusCode: 504, retryable: true }])
  t.match(lines.filter(({ level }) => level >= 50), [{ msg: 'item failed', code: 'STORAGE_TIMEOUT', index: 0, key: 'a.bin' }])
})

/** Uploads files of these sizes, and returns their results. */
async function upload (origin: string, files: Record<string, number>): Promise<Record<string, unknown>[]> {
  const form = new FormData()
  for (const [name, bytes] of Object.entries(files)) form.append('files', new Blob([Buffer.alloc(bytes, 'x')]), name)
  const response = await fetch(`${origin}/upload`, { method: 'POST', body: form })
  return (await response.json() as { results: Record<string, unknown>[] }).results
}

async function listen (t: Test, server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
