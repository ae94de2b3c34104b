// Tests uploads to S3 that go wrong: the result is failed and retryable, and no part or object is orphaned.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { s3 } from '../../../lib/upload/storage/s3.js'
import { build, type LogLine } from '../../fixtures/build.js'
import { createGate } from '../../fixtures/gate.js'
import { hasS3Server, startS3Server } from '../../fixtures/s3-server.js'
import { skipUnless } from '../../fixtures/skip.js'
import { waitFor } from '../../fixtures/wait.js'

const BUCKET = 'uploads'
const MEGABYTE = 1024 * 1024
const skip = skipUnless(await hasS3Server(), 'an S3 API (swift-proxy-server)')

t.test('uploads to S3', { skip }, async t => {
  const server = await startS3Server()
  t.teardown(() => server.close())
  const client = server.client()
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }))

  t.test('good files are uploaded, one that is too large is not and leaves no part behind', async t => {
    const app = await build(t, { plugin: { upload: { storage: s3({ client, bucket: BUCKET }), limits: { fileSize: '13mb' } } } })

    const response = await app.inject({ method: 'POST', url: '/upload', payload: form([['a.bin', 12], ['b.bin', 14], ['c.bin', 1]]) })

    t.match(response.json(), {
      results: [
        { file: 'a.bin', status: 'uploaded', size: 12 * MEGABYTE },
        { file: 'b.bin', status: 'failed', error: 'File too large', retryable: false },
        { file: 'c.bin', status: 'uploaded', size: MEGABYTE }
      ]
    })
    t.strictSame((await objects(client)).map(({ Size }) => Size).sort(), [MEGABYTE, 12 * MEGABYTE].sort())
    t.strictSame(await parts(client), [])
  })

  t.test('a wrong secret fails the file, retryable, and the reason stays in the log', async t => {
    const lines: LogLine[] = []
    const wrong = server.client({ credentials: { accessKeyId: 'test:tester', secretAccessKey: 'wrong' } })
    const app = await build(t, { plugin: { upload: { storage: s3({ client: wrong, bucket: BUCKET }) } }, onLog: line => lines.push(line) })

    const response = await app.inject({ method: 'POST', url: '/upload', payload: form([['a.bin', 1]]) })

    t.equal(response.statusCode, 207)
    t.strictSame(response.json(), {
      results: [{ file: 'a.bin', status: 'failed', error: 'Storage failed', code: 'STORAGE_FAILED', statusCode: 500, retryable: true }]
    })
    t.match(lines.find(({ msg }) => msg === 'item failed'), { index: 0, key: 'a.bin', err: { message: /SignatureDoesNotMatch|signature/i } })
  })

  t.test('after an upload has failed, later writes fail with the same error', async t => {
    const wrong = server.client({ credentials: { accessKeyId: 'test:tester', secretAccessKey: 'wrong' } })
    const sink = await s3({ client: wrong, bucket: BUCKET }).open({ name: 'a.bin', type: 'application/octet-stream' })
    const part = Buffer.alloc(6 * 1024 * 1024)
    await t.rejects(async () => { while (true) await sink.write(part) }, { code: 'STORAGE_FAILED' })
    await t.rejects(async () => sink.write(part), { code: 'STORAGE_FAILED' })
    await sink.discard()
  })

  t.test('a client that stalls and disconnects leaves neither an object nor a part', async t => {
    const before = await objects(client)
    const app = await build(t, { plugin: { upload: { storage: s3({ client, bucket: BUCKET }), limits: { fileSize: '100mb' } } } })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write('POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 99999999\r\n\r\n' +
      '--x\r\ncontent-disposition: form-data; name="f"; filename="stalled.bin"\r\n\r\n')
    socket.write(randomBytes(12 * MEGABYTE))
    await waitFor('a part on its way', async () => (await parts(client)).length === 1)

    socket.destroy()

    await waitFor('the parts to be removed', async () => (await parts(client)).length === 0)
    t.strictSame(await objects(client), before)
  })

  t.test('a server that dies midway fails the file, retryable, and once it is back nothing is orphaned', async t => {
    const before = await objects(client)
    const app = await build(t, { plugin: { upload: { storage: s3({ client, bucket: BUCKET }), limits: { fileSize: '100mb' } } } })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    const head = '--x\r\ncontent-disposition: form-data; name="f"; filename="cut.bin"\r\n\r\n'
    const tail = '\r\n--x--\r\n'
    const size = 24 * MEGABYTE
    socket.write('POST /upload HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: multipart/form-data; boundary=x\r\n' +
      `content-length: ${size + head.length + tail.length}\r\n\r\n${head}`)
    socket.write(randomBytes(size / 2))
    await waitFor('a part on its way', async () => (await parts(client)).length === 1)

    await server.kill()
    socket.write(randomBytes(size / 2))
    socket.write(tail)

    const answer = await read(socket)
    t.match(answer, /^HTTP\/1\.1 207/)
    t.match(answer, '{"file":"cut.bin","status":"failed","error":"Storage failed","code":"STORAGE_FAILED","statusCode":500,"retryable":true}')
    await server.restart()
    await waitFor('the parts to be removed', async () => (await parts(client)).length === 0)
    t.strictSame(await objects(client), before)
  })
})

for (const [what, size] of [['one piece', 10], ['parts', 6 * MEGABYTE]] as const) {
  t.test(`a file in ${what} that S3 stores only after its time is up is answered at once, and removed then`, async t => {
    const server = await startFaultyServer(t)
    const gate = createGate()
    server.beforeStoring = () => gate.opened
    const app = await build(t, { plugin: { upload: { storage: s3({ client: server.client, bucket: BUCKET }), storageTimeout: 1000 } } })

    const { results } = (await app.inject({ method: 'POST', url: '/upload', payload: form([['a.bin', size / MEGABYTE]]) })).json()
    t.match(results, [{ file: 'a.bin', status: 'failed', code: 'STORAGE_TIMEOUT' }])
    t.notOk(server.calls.includes('stored'))
    gate.open()

    await waitFor('the object to go', () => server.calls.includes('stored') && server.calls.at(-1) === 'deleted')
    t.strictSame([...server.objects], [])
  })
}

t.test('a file whose answer is lost after S3 has stored it is removed before it is answered as failed', async t => {
  const server = await startFaultyServer(t)
  server.afterStoring = response => response.destroy()
  const app = await build(t, { plugin: { upload: { storage: s3({ client: server.client, bucket: BUCKET }) } } })

  const { results } = (await app.inject({ method: 'POST', url: '/upload', payload: form([['a.bin', 1]]) })).json()

  t.match(results, [{ file: 'a.bin', status: 'failed', code: 'STORAGE_FAILED' }])
  t.ok(server.calls.includes('stored'))
  t.strictSame([...server.objects], [])
})

t.test('an object that cannot be removed at first is removed later, once, however often it is discarded', async t => {
  const server = await startFaultyServer(t)
  server.afterStoring = response => response.destroy()
  server.refusesDeletion = true
  const sink = await s3({ client: server.client, bucket: BUCKET }).open({ name: 'a.bin', type: 'application/octet-stream' })
  await sink.write(Buffer.from('content'))
  await t.rejects(sink.publish(), { code: 'STORAGE_FAILED' })
  await Promise.all([sink.discard(), sink.discard()])
  t.equal(server.objects.size, 1)

  server.refusesDeletion = false

  await waitFor('the object to go', () => server.objects.size === 0)
  t.equal(server.calls.filter(call => call === 'deleted').length, 1)
})

t.test('a file that S3 refuses is not removed again', async t => {
  const server = await startFaultyServer(t)
  server.afterStoring = response => response.writeHead(403).end()
  const sink = await s3({ client: server.client, bucket: BUCKET }).open({ name: 'a.bin', type: 'application/octet-stream' })
  await t.rejects(sink.publish(), { code: 'STORAGE_FAILED' })
  await sink.discard()
  t.strictSame(server.calls, ['stored'])
})

/** Stands in for S3 where a real one cannot be made to go wrong: it stores late, or says nothing of it. */
async function startFaultyServer (t: Test) {
  const faulty = {
    objects: new Set<string>(),
    calls: [] as string[],
    refusesDeletion: false,
    beforeStoring: async () => {},
    afterStoring: (response: ServerResponse): unknown => response.setHeader('etag', '"x"').end('<CompleteMultipartUploadResult/>')
  }
  const answer = async ({ method, url = '' }: IncomingMessage, response: ServerResponse) => {
    const { pathname, searchParams } = new URL(url, 'http://localhost')
    if (searchParams.has('uploads')) return response.end('<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>')
    if (searchParams.has('partNumber')) return response.setHeader('etag', '"x"').end()
    if (method === 'DELETE' && searchParams.has('uploadId')) return response.writeHead(404).end('<Error><Code>NoSuchUpload</Code></Error>')
    if (method !== 'DELETE') {
      await faulty.beforeStoring()
      faulty.calls.push('stored')
      faulty.objects.add(pathname)
      return faulty.afterStoring(response)
    }
    if (faulty.refusesDeletion) return response.writeHead(503).end()
    faulty.calls.push('deleted')
    faulty.objects.delete(pathname)
    return response.writeHead(204).end()
  }
  const server = createServer((request, response) => request.resume().once('end', () => answer(request, response))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 2,
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' }
  })
  t.teardown(() => {
    client.destroy()
    server.closeAllConnections()
    server.close()
  })
  return Object.assign(faulty, { client })
}

async function objects (client: S3Client) {
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: BUCKET }))
  return Contents.map(({ Key, Size }) => ({ Key, Size }))
}

async function parts (client: S3Client) {
  return (await client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET }))).Uploads ?? []
}

function form (files: [name: string, megabytes: number][]): FormData {
  const data = new FormData()
  for (const [name, megabytes] of files) data.append('files', new Blob([randomBytes(megabytes * MEGABYTE)]), name)
  return data
}

async function read (socket: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
