// Registers POST /upload, which stores files and answers with one result for each.
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
import { receiveFiles, type FileData, type UploadReader } from './receive.js'

/** How many files are published at once, unless the storage says how many. */
const PUBLISHING = 8

/** Bytes that a form may have besides the content of its files. */
const FORM_SIZE = 1024 * 1024

/** Registers the route in a context of its own, so that the multipart parser stays there. */
export async function registerUpload (app: FastifyInstance, settings: UploadSettings): Promise<void> {
  app.addHook('onReady', async () => settings.storage.start?.())
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
    // Every file is validated on its own while it is read.
    validatorCompiler: () => () => true,
    config: { multiStatus: uploads },
    handler: (request, reply) => upload(request, reply, settings)
  }
}

function describeLimits ({ limits, accept }: UploadSettings): string {
  const types = accept === undefined ? '' : ` Types: ${accept.join(', ')}.`
  return 'Every file gets its own result; one that fails does not cost another. ' +
    `At most ${formatBytes(limits.fileSize)} a file, ${limits.files} files and ${formatBytes(limits.total)} a request, ` +
    `${limits.nameBytes} bytes a name.${types}`
}

/** Formats bytes in the largest unit that needs no fraction. */
function formatBytes (size: number): string {
  const unit = (['GB', 'MB', 'KB'] as const).find(unit => size % bytes(`1${unit}`)! === 0)
  return unit === undefined ? `${size} bytes` : bytes(size, { unit, unitSeparator: ' ' })!
}

async function upload (request: FastifyRequest, reply: FastifyReply, settings: UploadSettings): Promise<FastifyReply> {
  const signal = reply.batchSignal()
  const reader = receiveFiles(readParts(request, settings, signal), { ...settings, signal })
  try {
    const outcomes = await publishFiles(reader, signal, settings.storage.publishing)
    if (outcomes.length === 0) {
      stopReading(request, reply)
      throw emptyError(reader)
    }
    endReading(request, reply, signal.aborted ? signal.reason : reader.failure())
    return reply.multiStatus(outcomes, { keys: reader.names })
  } finally {
    await reader.discard()
  }
}

/** @returns one outcome for each file that has begun */
async function publishFiles (reader: UploadReader, signal: AbortSignal, concurrency = PUBLISHING): Promise<PromiseSettledResult<FileData>[]> {
  const begun: Promise<FileData>[] = []
  const outcomes = await settle(reader.files, (file, { index }) => (begun[index] = file.publish()), { concurrency, signal })
  // The last file had begun when the reading stopped.
  while (outcomes.length < reader.names.length) outcomes.push({ status: 'rejected', reason: signal.reason })
  if (signal.aborted) {
    // Before the answer, because the process may end after it.
    await reader.discard()
    // The publishing of a file cannot be called back, so that its own outcome counts.
    for (const index of begun.keys()) outcomes[index] = (await Promise.allSettled([begun[index]!]))[0]
  }
  return outcomes
}

/**
 * Lets the client finish what it is sending, because a connection that is closed at once takes the answer with it. After a
 * cut form the connection ends, because the beginning of the next request is not known.
 */
function endReading (request: FastifyRequest, reply: FastifyReply, cut: unknown): void {
  if (cut === undefined || cut instanceof UploadTooLarge) return stopReading(request, reply)
  request.log.info({ err: cut }, 'the form was not read to its end')
  endAfterAnswer(request, reply)
}

function readParts (request: FastifyRequest, { limits, idleTimeout }: UploadSettings, signal: AbortSignal) {
  if (!request.headers['content-type']?.toLowerCase().startsWith('multipart/form-data')) return readEntries(request.body, limits.files)
  if (request.raw.readableDidRead) throw new BodyConsumed()
  const { files: maxFiles, total, fileSize } = limits
  const announced = Number(request.headers['content-length'] ?? 0)
  // A form that announces too many bytes is refused before anything is stored.
  if (announced > total + FORM_SIZE) throw new UploadTooLarge(total, announced)
  return readMultipart(request.raw, { maxFiles, limits: { total, form: total + fileSize + FORM_SIZE }, idleTimeout, signal })
}

function emptyError (reader: UploadReader): Error {
  const failure = reader.failure()
  return failure instanceof MalformedForm || failure instanceof UploadTooLarge ? failure : new BatchEmpty('the form')
}
