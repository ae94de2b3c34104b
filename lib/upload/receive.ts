// Takes in files one after the other, each on its own account: what is wrong with one does not touch the next.
import { createHash } from 'node:crypto'
import type { UploadResult } from '../../schemas/index.js'
import { ItemError } from '../errors.js'
import { checkFileName } from './file-name.js'
import type { IncomingFile } from './incoming.js'
import { checkType, createMeter, type Limits, type Meter } from './limits.js'
import type { Sink, Storage } from './storage.js'

/** What a success says of its file. */
export type FileData = Pick<Extract<UploadResult, { status: 'uploaded' }>, 'key' | 'size' | 'type' | 'sha256'>

/** A file whose content has been read to its end. */
export interface ReceivedFile {
  readonly name: string | null
  /** Makes it durable and visible; throws what was wrong with it. */
  publish (): Promise<FileData>
}

/** The files of one upload. */
export interface Reception {
  /** Each file of the upload, in order, as soon as it has been read. */
  readonly files: AsyncIterable<ReceivedFile>
  /** What stopped the reading after the last file; undefined when nothing did. */
  failure (): unknown
  /** Removes what has been read and was not published. */
  discard (): Promise<void>
}

/** How files are taken in. */
export interface ReceiveOptions {
  readonly storage: Storage
  readonly limits: Limits
  readonly accept?: readonly string[]
  /** Once aborted, nothing more is stored. */
  readonly signal: AbortSignal
}

/** Takes in the files; the caller publishes each and discards the rest in the end. */
export function receive (incoming: AsyncIterable<IncomingFile> | Iterable<IncomingFile>, options: ReceiveOptions): Reception {
  const unpublished = new Set<Sink>()
  const meter = createMeter(options.limits)
  let failure: unknown

  const discard = async () => {
    await Promise.all([...unpublished].map(sink => sink.discard()))
    unpublished.clear()
  }
  async function * readFiles (): AsyncGenerator<ReceivedFile> {
    try {
      for await (const file of incoming) yield await receiveFile(file, meter, unpublished, options)
    } catch (error) {
      failure = error
    } finally {
      if (options.signal.aborted) await discard()
    }
  }
  return { files: readFiles(), failure: () => failure, discard }
}

/** Never throws: what is wrong with the file is thrown by its `publish`. */
async function receiveFile (
  file: IncomingFile, meter: Meter, unpublished: Set<Sink>, options: ReceiveOptions
): Promise<ReceivedFile> {
  const intake = createIntake(file, meter, options)
  await intake.begin()
  try {
    // To its end, also after a failure, because the next file comes only then.
    for await (const chunk of file.content) await intake.take(chunk)
  } catch (cause) {
    await intake.fail(new ItemError('Upload incomplete', { code: 'UPLOAD_INCOMPLETE', statusCode: 400, retryable: true, cause }))
  }
  const stored = intake.end()
  if ('reason' in stored) return { name: file.name, publish: () => Promise.reject(stored.reason) }
  unpublished.add(stored.sink)
  return {
    name: file.name,
    publish () {
      unpublished.delete(stored.sink)
      return publishSink(stored.sink, stored.data)
    }
  }
}

async function publishSink (sink: Sink, data: FileData): Promise<FileData> {
  try {
    return { ...await sink.publish(), ...data }
  } catch (error) {
    await sink.discard()
    throw error
  }
}

/** The storing of one file; none of its steps throws, and after the first failure they do no more. */
interface Intake {
  begin (): Promise<void>
  take (chunk: Buffer): Promise<void>
  fail (reason: unknown): Promise<void>
  end (): { sink: Sink, data: FileData } | { reason: unknown }
}

function createIntake (file: IncomingFile, meter: Meter, { storage, limits, accept, signal }: ReceiveOptions): Intake {
  const hash = createHash('sha256')
  let size = 0
  let sink: Sink | undefined
  let failed: { reason: unknown } | undefined

  const fail = async (reason: unknown) => {
    failed ??= { reason }
    const unwanted = sink
    sink = undefined
    await unwanted?.discard()
  }
  return {
    async begin () {
      try {
        meter.beginFile()
        if (file.refused !== undefined) throw file.refused
        const { name, type } = file as IncomingFile & { name: string }
        checkFileName(name, limits.nameBytes)
        checkType(type, accept)
        sink = await storage.open({ name, type })
      } catch (reason) {
        await fail(reason)
      }
    },
    async take (chunk) {
      meter.add(chunk.length)
      if (failed !== undefined) return
      try {
        signal.throwIfAborted()
        meter.check()
        size += chunk.length
        hash.update(chunk)
        await sink!.write(chunk)
      } catch (reason) {
        await fail(reason)
      }
    },
    fail,
    end: () => failed ?? { sink: sink!, data: { size, type: file.type, sha256: hash.digest('hex') } }
  }
}
