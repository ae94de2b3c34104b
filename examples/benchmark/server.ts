// One of the servers that are compared: node server.js <name> <directory>. Tells its parent the port, then its figures when asked.
import { createHash, randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { link, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'

/** What a server says of its process. */
export interface Usage {
  /** Milliseconds of processor time since it started, of all threads. */
  readonly cpu: number
  /** Bytes in memory. */
  readonly rss: number
  /** The most bytes in memory that were seen since it was last asked. */
  readonly peak: number
}

const [, , name, dir] = process.argv as [string, string, string, string]
const FILE_SIZE = 4e9
const FILES = 10_000

/** Each with every limit far away, and with no more in its process than it needs. */
const servers: Record<string, () => Promise<Server>> = {
  'raw busboy': () => startBusboy(storePlain),
  'raw busboy + sha256': () => startBusboy(storeHashed),
  'raw busboy + sha256, temporary file, link': () => startBusboy(storeWhole),
  'multi-status': () => startMultiStatus(true),
  'multi-status, sync: false': () => startMultiStatus(false),
  '@fastify/multipart + pipeline': startFastifyMultipart,
  'multer on express': startMulter,
  formidable: startFormidable
}

const server = await servers[name]!()
tellUsage((server.address() as AddressInfo).port)

async function startBusboy (store: (file: Readable) => Promise<unknown>): Promise<Server> {
  const { Busboy } = await import('@fastify/busboy')
  return listen((request, response) => {
    const headers = request.headers as IncomingMessage['headers'] & { 'content-type': string }
    const written: Promise<unknown>[] = []
    const parser = new Busboy({ headers })
    parser.on('file', (_field, file) => { written.push(store(file)) })
    parser.on('finish', async () => {
      await Promise.all(written)
      response.end(`${written.length} files`)
    })
    request.pipe(parser)
  })
}

function storePlain (file: Readable, path = join(dir, randomUUID())): Promise<void> {
  return finished(file.pipe(createWriteStream(path)))
}

/** The least that a hash can cost, with nothing else of what multi-status does. */
async function storeHashed (file: Readable, path?: string): Promise<string> {
  const hash = createHash('sha256')
  file.on('data', (chunk: Buffer) => hash.update(chunk))
  await storePlain(file, path)
  return hash.digest('hex')
}

/** The least that a file can cost that is hashed, and visible only when it is whole. */
async function storeWhole (file: Readable): Promise<string> {
  const target = join(dir, randomUUID())
  const temporary = `${target}.part`
  const sha256 = await storeHashed(file, temporary)
  await link(temporary, target)
  await unlink(temporary)
  return sha256
}

async function startMultiStatus (sync: boolean): Promise<Server> {
  const { default: fastify } = await import('fastify')
  const { default: multiStatus, disk } = await import('../../lib/index.js')
  const app = fastify()
  await app.register(multiStatus, {
    upload: { storage: disk({ dir, sync }), limits: { fileSize: FILE_SIZE, total: FILE_SIZE, files: FILES } },
    tasks: false,
    docs: false
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

async function startFastifyMultipart (): Promise<Server> {
  const { default: fastify } = await import('fastify')
  const { default: multipart } = await import('@fastify/multipart')
  const app = fastify()
  await app.register(multipart, { limits: { fileSize: FILE_SIZE, files: FILES, parts: FILES } })
  app.post('/upload', async request => {
    let count = 0
    for await (const part of request.files()) {
      await pipeline(part.file, createWriteStream(join(dir, randomUUID())))
      count++
    }
    return `${count} files`
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

async function startMulter (): Promise<Server> {
  const { default: express } = await import('express')
  const { default: multer } = await import('multer')
  const app = express()
  app.post('/upload', multer({ dest: dir }).array('files', FILES), (request, response) => {
    response.send(`${(request.files as unknown[]).length} files`)
  })
  return listen(app)
}

async function startFormidable (): Promise<Server> {
  const { default: formidable } = await import('formidable')
  return listen(async (request, response) => {
    const options = { uploadDir: dir, maxFileSize: FILE_SIZE, maxTotalFileSize: FILE_SIZE, maxFiles: FILES }
    const [, files] = await formidable(options).parse(request)
    response.end(`${files.files!.length} files`)
  })
}

function listen (listener: RequestListener): Promise<Server> {
  return new Promise(resolve => {
    const listening = createServer(listener).listen(0, '127.0.0.1', () => resolve(listening))
  })
}

function tellUsage (port: number): void {
  const say = process.send!.bind(process)
  let peak = 0
  setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()) }, 50)
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    const rss = process.memoryUsage.rss()
    say({ cpu: (user + system) / 1000, rss, peak: Math.max(peak, rss) } satisfies Usage)
    peak = 0
  })
  // Without its parent there is nobody to serve.
  process.on('disconnect', () => process.exit())
  say(port)
}
