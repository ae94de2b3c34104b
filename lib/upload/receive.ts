// Takes in files one after the other, each on its own account: what is wrong with one does not touch the next.
import type { UploadResult } from '../../schemas/index.js'
import { ItemError } from '../errors.js'
import type { IncomingFile } from './file-part.js'
import { createIntake, type Intake, type IntakeOptions, type StoredFile } from './file-writer.js'
import { createMeter, type Meter } from './checks/limits.js'
import type { Sink } from './storage/interface.js'

/** What a success says of its file. */
export type FileData = Pick<Extract<UploadResult, { status: 'uploaded' }>, 'key' | 'size' | 'type' | 'sha256'>

/** A file whose content has been read to its end. */
export interface ReceivedFile {
  /** Makes it durable and visible; throws what was wrong with it. */
  publish (): Promise<FileData>
}

/** The files of one upload. */
export interface Reception {
  /** Each file of the upload, in order, as soon as it has been read. */
  readonly files: AsyncIterable<ReceivedFile>
  /** The names of the files so far, those included that have not been read to their end. */
  readonly names: readonly (string | null)[]
  /** What stopped the reading after the last file; undefined when nothing did. */
  failure (): unknown
  /** Whether reading stopped because the upload brought more than it may. */
  isExhausted (): boolean
  /** Removes what has been read, all of a file or a part, and was not published. */
  discard (): Promise<void>
}

/** Takes in the files; the caller publishes each and discards the rest in the end. */
export function receive (incoming: AsyncIterable<IncomingFile> | Iterable<IncomingFile>, options: IntakeOptions): Reception {
  const unpublished = new Set<Sink>()
  const names: (string | null)[] = []
  const meter = createMeter(options.limits)
  let current: Intake | undefined
  let failure: unknown

  const discard = async () => {
    await Promise.all([current?.fail(options.signal.reason), ...[...unpublished].map(sink => sink.discard())])
    unpublished.clear()
  }
  async function * readFiles (): AsyncGenerator<ReceivedFile> {
    try {
      for await (const file of incoming) {
        names.push(file.name)
        current = createIntake(file, meter, options)
        const stored = await takeIn(file, current, meter)
        current = undefined
        yield toReceived(stored, unpublished)
        // Files that are here already cost no reading, and have their results.
        if (meter.isExhausted() && Symbol.asyncIterator in incoming) break
      }
    } catch (error) {
      failure = error
    } finally {
      if (options.signal.aborted) await discard()
    }
  }
  return { files: readFiles(), names, failure: () => failure, isExhausted: meter.isExhausted, discard }
}

/** Never throws: what is wrong with the file is its reason. */
async function takeIn (file: IncomingFile, intake: Intake, meter: Meter): Promise<StoredFile | { reason: unknown }> {
  intake.begin()
  try {
    // To its end, also after a failure, because the next file comes only then; unless there is no end to it.
    for (;;) {
      const read = file.content.read()
      const chunk = read instanceof Promise ? await read : read
      if (chunk === undefined) break
      const taken = intake.take(chunk)
      if (taken !== undefined) await taken
      if (meter.isExhausted()) break
    }
  } catch (cause) {
    await intake.fail(incomplete(cause))
  }
  return intake.end()
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

function incomplete (cause: unknown): ItemError {
  return new ItemError('Upload incomplete', { code: 'UPLOAD_INCOMPLETE', statusCode: 400, retryable: true, cause })
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
