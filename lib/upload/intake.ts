// The taking in of one file: its checks, its hash, and its way into the storage.
import { createHash } from 'node:crypto'
import { ItemError } from '../errors.js'
import { checkFileName } from './file-name.js'
import type { IncomingFile } from './incoming.js'
import type { Limits, Meter } from './limits.js'
import { checkMediaType, HEAD_SIZE } from './media-type.js'
import type { Sink, Storage } from './storage.js'

/** What is known of a file when all of it has come. */
export interface StoredFile {
  readonly sink: Sink
  readonly size: number
  readonly type: string
  readonly sha256: string
}

/** One file on its way in; none of its steps throws, and after the first failure they do no more. */
export interface Intake {
  /** Checks what is known before the content. */
  begin (): void
  take (chunk: Buffer): Promise<void>
  fail (reason: unknown): Promise<void>
  end (): Promise<StoredFile | { reason: unknown }>
}

/** How a file is taken in. */
export interface IntakeOptions {
  readonly storage: Storage
  readonly limits: Limits
  readonly accept?: readonly string[]
  /** Once aborted, nothing more is stored. */
  readonly signal: AbortSignal
}

export function createIntake (file: IncomingFile, meter: Meter, options: IntakeOptions): Intake {
  const content = createContent(file, meter, options)
  let failed: { reason: unknown } | undefined

  const fail = async (reason: unknown) => {
    failed ??= { reason }
    await content.discard()
  }

  return {
    begin () {
      try {
        meter.beginFile()
        if (file.refused !== undefined) throw file.refused
        checkFileName(file.name!, options.limits.nameBytes)
      } catch (reason) {
        failed = { reason }
      }
    },
    async take (chunk) {
      meter.add(chunk.length)
      if (failed === undefined) await content.store(chunk).catch(fail)
    },
    fail,
    async end () {
      const stored = failed === undefined ? await content.complete().catch(fail) : undefined
      // Who gave it up meanwhile has discarded it.
      return failed ?? stored!
    }
  }
}

/** What a file has in it, on its way into the storage; every step throws what is wrong. */
function createContent (file: IncomingFile, meter: Meter, { storage, accept, signal }: IntakeOptions) {
  const hash = createHash('sha256')
  const head: Buffer[] = []
  let size = 0
  let type = file.type
  let sink: Sink | undefined
  let isDiscarded = false

  const write = (sink: Sink, chunk: Buffer) => storage.releases ? sink.write(chunk, () => file.release?.(chunk)) : sink.write(chunk)

  /** The storage is told of a file only once its first bytes have said what it is. */
  const openSink = async () => {
    const first = head.length === 1 ? head[0]! : Buffer.concat(head)
    type = await checkMediaType(first, file.type, accept)
    const opened = await storage.open({ name: file.name!, type })
    if (isDiscarded) return opened.discard()
    sink = opened
    if (first.length > 0) await write(sink, first)
  }

  return {
    async store (chunk: Buffer): Promise<void> {
      signal.throwIfAborted()
      meter.check()
      size += chunk.length
      hash.update(chunk)
      if (sink !== undefined) return write(sink, chunk)
      head.push(chunk)
      if (size >= HEAD_SIZE) await openSink()
    },
    async complete (): Promise<StoredFile> {
      if (sink === undefined) await openSink()
      const sha256 = hash.digest('hex')
      checkSum(await file.sha256, sha256)
      return { sink: sink!, size, type, sha256 }
    },
    async discard (): Promise<void> {
      const unwanted = sink
      isDiscarded = true
      sink = undefined
      await unwanted?.discard()
    }
  }
}

/** @throws ItemError CHECKSUM_INVALID or CHECKSUM_MISMATCH, both 422; the second is worth another try */
function checkSum (expected: string | undefined, actual: string): void {
  if (expected === undefined || expected.toLowerCase() === actual) return
  if (!/^[0-9a-f]{64}$/i.test(expected)) {
    const errors = [{ pointer: '#/sha256', detail: 'must be 64 hexadecimal digits' }]
    throw new ItemError('Checksum invalid', { code: 'CHECKSUM_INVALID', errors })
  }
  throw new ItemError('Checksum mismatch', { code: 'CHECKSUM_MISMATCH', retryable: true })
}
