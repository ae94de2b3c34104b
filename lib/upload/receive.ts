// Reads the files of an upload one after the other. A file that fails does not touch the next one.
import type { UploadResult } from '../../schemas/index.js'
import { uploadIncomplete } from '../errors.js'
import { createMeter, type Meter } from './checks/limits.js'
import type { FilePart } from './file-part.js'
import { createFileWriter, type FileWriter, type StoredFile, type WriterOptions } from './file-writer.js'
import type { Sink } from './storage/interface.js'

/** The data of a successful result. */
export type FileData = Pick<Extract<UploadResult, { status: 'uploaded' }>, 'key' | 'size' | 'type' | 'sha256'>

/** A file whose content has been read to its end. */
export interface ReceivedFile {
  /** Makes the file durable and visible. Rejects with the reason why the file failed. */
  publish (): Promise<FileData>
}

/** The files of one upload. */
export interface UploadReader {
  /** The files in order, each as soon as it has been read. */
  readonly files: AsyncIterable<ReceivedFile>
  /** The names of all files that have begun. */
  readonly names: readonly (string | null)[]
  /** The error that stopped the reading after the last file; undefined when there was none. */
  failure (): unknown
  /** Removes every file that has begun and was not published. */
  discard (): Promise<void>
}

/** Reads files into the storage. The caller publishes each file, and discards the rest in the end. */
export function receiveFiles (parts: AsyncIterable<FilePart> | Iterable<FilePart>, options: WriterOptions): UploadReader {
  const unpublished = new Set<Sink>()
  const names: (string | null)[] = []
  const meter = createMeter(options.limits)
  let current: FileWriter | undefined
  let failure: unknown

  const discard = async () => {
    await Promise.all([current?.fail(options.signal.reason), ...[...unpublished].map(sink => sink.discard())])
    unpublished.clear()
  }
  async function * readFiles (): AsyncGenerator<ReceivedFile> {
    try {
      for await (const part of parts) {
        names.push(part.name)
        current = createFileWriter(part, meter, options)
        const stored = await writeFile(part, current, meter)
        current = undefined
        yield toReceived(stored, unpublished)
        // The files of a JSON body are in memory already, so that each of them gets its own result.
        if (meter.isExhausted() && Symbol.asyncIterator in parts) break
      }
    } catch (error) {
      failure = error
    } finally {
      if (options.signal.aborted) await discard()
    }
  }
  return { files: readFiles(), names, failure: () => failure, discard }
}

async function writeFile (part: FilePart, writer: FileWriter, meter: Meter): Promise<StoredFile | { reason: unknown }> {
  writer.begin()
  try {
    // A file that has failed is read to its end too, because the next one comes after it.
    for await (const chunk of part.content) {
      await writer.write(chunk)
      if (meter.isExhausted()) break
    }
  } catch (cause) {
    await writer.fail(uploadIncomplete(cause))
  }
  return writer.end()
}

function toReceived (stored: StoredFile | { reason: unknown }, unpublished: Set<Sink>): ReceivedFile {
  if ('reason' in stored) return { publish: () => Promise.reject(stored.reason) }
  unpublished.add(stored.sink)
  return {
    publish () {
      unpublished.delete(stored.sink)
      return publishFile(stored)
    }
  }
}

async function publishFile ({ sink, size, type, sha256 }: StoredFile): Promise<FileData> {
  try {
    const { key } = await sink.publish()
    return { key, size, type, sha256 }
  } catch (error) {
    await sink.discard()
    throw error
  }
}
