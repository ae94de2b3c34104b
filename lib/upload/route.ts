// POST /upload: files in, one result each.
import bytes from 'bytes'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { uploads } from '../../schemas/index.js'
import { endAfterAnswer, stopReading } from '../core/request/unread-body.js'
import { settle } from '../core/settle/settle.js'
import { BatchEmpty, BodyConsumed, MalformedForm, UploadTooLarge } from '../errors.js'
import { documentFiles, documentTooLarge } from './openapi.js'
import { readEntries } from './json.js'
import { readMultipart } from './multipart/reader.js'
import type { UploadSettings } from './options.js'
import { receive, type FileData, type Reception } from './receive.js'
import { prepareTypes } from './checks/signatures.js'

/** How many files are made durable while the next ones are read, unless the storage says how many. */
const PUBLISHING = 8

/** Registers the route in a context of its own, so that the multipart parser stays there. */
export async function registerUpload (app: FastifyInstance, settings: UploadSettings): Promise<void> {
  app.addHook('onReady', async () => {
    await prepareTypes()
    await settings.storage.start?.()
  })
  await app.register(async child => {
    // The app's own parser, if it has one, may read the form before the handler can stream it.
    if (child.hasContentTypeParser('multipart/form-data')) child.removeContentTypeParser('multipart/form-data')
    child.addContentTypeParser('multipart/form-data', (_request, _payload, done) => done(null))
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
      body: documentFiles(settings.limits),
      response: { 413: documentTooLarge(settings.limits) }
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
    `At most ${showBytes(limits.fileSize)} a file, ${limits.files} files and ${showBytes(limits.total)} a request, ` +
    `${limits.nameBytes} bytes a name.${types}`
}

/** In the largest unit that says it without a fraction. */
function showBytes (size: number): string {
  const unit = (['GB', 'MB', 'KB'] as const).find(unit => size % bytes(`1${unit}`)! === 0)
  return unit === undefined ? `${size} bytes` : bytes(size, { unit, unitSeparator: ' ' })!
}

async function upload (request: FastifyRequest, reply: FastifyReply, settings: UploadSettings): Promise<FastifyReply> {
  const signal = reply.batchSignal()
  const reception = receive(readIncoming(request, settings, signal), { ...settings, signal })
  try {
    const concurrency = settings.storage.publishing ?? PUBLISHING
    const begun: Promise<FileData>[] = []
    const outcomes = await settle(reception.files, (file, { index }) => (begun[index] = file.publish()), { concurrency, signal })
    // Stopped in the middle of a file.
    while (outcomes.length < reception.names.length) outcomes.push({ status: 'rejected', reason: signal.reason })
    if (signal.aborted) {
      // Before the answer, because the process may end after it.
      await reception.discard()
      // A file that is being made durable cannot be called back, so that it is not to be called cancelled either.
      for (const index of begun.keys()) outcomes[index] = (await Promise.allSettled([begun[index]!]))[0]
    }
    if (outcomes.length === 0) {
      stopReading(request, reply)
      throw emptiness(reception)
    }
    // Closed at once, a connection takes the answer with it when the client is still sending.
    const cut = signal.aborted ? signal.reason : reception.failure()
    if (cut === undefined || cut instanceof UploadTooLarge) stopReading(request, reply)
    else endConnection(request, reply, cut)
    return reply.multiStatus(outcomes, { keys: reception.names })
  } finally {
    await reception.discard()
  }
}

/** Nobody knows where the next request would begin. */
function endConnection (request: FastifyRequest, reply: FastifyReply, cut: unknown): void {
  request.log.info({ err: cut }, 'the form was not read to its end')
  endAfterAnswer(request, reply)
}

function readIncoming (request: FastifyRequest, { limits, idleTimeout }: UploadSettings, signal: AbortSignal) {
  if (!request.headers['content-type']?.toLowerCase().startsWith('multipart/form-data')) return readEntries(request.body, limits.files)
  if (request.raw.readableDidRead) throw new BodyConsumed()
  expectSize(Number(request.headers['content-length'] ?? 0), limits.total)
  const { files: maxFiles, total, fileSize } = limits
  return readMultipart(request.raw, { maxFiles, limits: { total, form: total + fileSize + FORM_SIZE }, idleTimeout, signal })
}

/** Bytes that a form may have beside the content of its files. */
const FORM_SIZE = 1024 * 1024

/** A form that says itself that it is too large is refused before anything is stored. */
function expectSize (size: number, total: number): void {
  if (size > total + FORM_SIZE) throw new UploadTooLarge(total, size)
}

function emptiness (reception: Reception): Error {
  const failure = reception.failure()
  return failure instanceof MalformedForm || failure instanceof UploadTooLarge ? failure : new BatchEmpty('the form')
}
