// POST /upload: files in, one result each.
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { FileEntries, FileForm, uploads } from '../../schemas/index.js'
import { settle } from '../core/settle.js'
import { BatchEmpty, BodyConsumed, MalformedForm } from '../errors.js'
import { readEntries } from './json.js'
import { readMultipart } from './multipart.js'
import type { UploadSettings } from './options.js'
import { receive, type Reception } from './receive.js'

/** How many files are made durable while the next ones are read. */
const PUBLISHING = 8

/** Registers the route in a context of its own, so that the multipart parser stays there. */
export async function registerUpload (app: FastifyInstance, settings: UploadSettings): Promise<void> {
  app.addHook('onReady', async () => settings.storage.start?.())
  await app.register(async child => {
    if (!child.hasContentTypeParser('multipart/form-data')) {
      // Left unread: the handler streams it.
      child.addContentTypeParser('multipart/form-data', (_request, _payload, done) => done(null))
    }
    child.route(uploadRoute(settings))
  })
}

function uploadRoute (settings: UploadSettings): RouteOptions {
  return {
    method: 'POST',
    url: settings.url,
    schema: {
      operationId: 'uploadFiles',
      summary: 'Upload several files',
      description: describeLimits(settings),
      tags: ['upload'],
      consumes: ['multipart/form-data', 'application/json'],
      body: { content: { 'multipart/form-data': { schema: FileForm }, 'application/json': { schema: FileEntries } } }
    },
    // Every file is checked on its own, while it is read.
    validatorCompiler: () => () => true,
    config: { multiStatus: uploads },
    handler: (request, reply) => upload(request, reply, settings)
  }
}

function describeLimits ({ limits, accept }: UploadSettings): string {
  const types = accept === undefined ? '' : ` Types: ${accept.join(', ')}.`
  return 'Every file gets its own result; one that fails does not cost another. ' +
    `At most ${limits.fileSize} bytes a file, ${limits.files} files and ${limits.total} bytes a request, ` +
    `${limits.nameBytes} bytes a name.${types}`
}

async function upload (request: FastifyRequest, reply: FastifyReply, settings: UploadSettings): Promise<FastifyReply> {
  const signal = reply.batchSignal()
  const reception = receive(readIncoming(request, settings, signal), { ...settings, signal })
  try {
    const outcomes = await settle(reception.files, file => file.publish(), { concurrency: PUBLISHING, signal })
    // Stopped in the middle of a file.
    while (outcomes.length < reception.names.length) outcomes.push({ status: 'rejected', reason: signal.reason })
    if (outcomes.length === 0) throw emptiness(reception)
    if (reception.failure() !== undefined || reception.isExhausted() || signal.aborted) stopReading(request, reply)
    if (reception.failure() !== undefined) request.log.info({ err: reception.failure() }, 'the form was not read to its end')
    return reply.multiStatus(outcomes, { keys: reception.names })
  } finally {
    await reception.discard()
  }
}

/** Milliseconds in which a client can read its answer before a connection is closed that it still sends on. */
const LINGER = 1_000

/** Ends the connection after the answer, when the client may go on sending what nobody wants. */
function stopReading ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if (raw.complete) return
  reply.header('connection', 'close')
  reply.raw.once('finish', () => {
    const timer = setTimeout(() => raw.destroy(), LINGER)
    raw.once('close', () => clearTimeout(timer))
  })
}

function readIncoming (request: FastifyRequest, { limits, idleTimeout }: UploadSettings, signal: AbortSignal) {
  if (!request.headers['content-type']?.toLowerCase().startsWith('multipart/form-data')) return readEntries(request.body)
  if (request.raw.readableDidRead) throw new BodyConsumed()
  return readMultipart(request.raw, { maxFiles: limits.files, idleTimeout, signal })
}

function emptiness (reception: Reception): Error {
  const failure = reception.failure()
  return failure instanceof MalformedForm ? failure : new BatchEmpty('the form')
}
