// The taking in of one file: its checks, its hash, and its way into the storage.
import { createHash, hash as hashWhole, type Hash } from 'node:crypto'
import { isThenable } from '../core/settle/attempt.js'
import { ItemError } from '../errors.js'
import { checkFileName } from './checks/name.js'
import type { IncomingFile } from './file-part.js'
import type { Limits, Meter } from './checks/limits.js'
import { checkMediaType } from './checks/type.js'
import { HEAD_SIZE } from './checks/signatures.js'
import type { Sink, Storage } from './storage/interface.js'

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
  /** Takes a piece of the content. @returns what has to be waited for */
  take (chunk: Buffer): void | Promise<void>
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
    const failure = failed ??= { reason }
    await content.discard()
    // What it is comes before what became of it, and is not worth another try.
    failure.reason = await content.findFault() ?? failure.reason
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
    take (chunk) {
      meter.add(chunk.length)
      if (failed !== undefined) return
      try {
        return content.store(chunk)?.catch(fail)
      } catch (reason) {
        return fail(reason)
      }
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
  /** What has come of it while that is less than tells its type, or nothing has come behind it. */
  let held: Buffer[] = []
  let hash: Hash | undefined
  let size = 0
  let type = file.type
  let sink: Sink | undefined
  let isDiscarded = false

  const write = (sink: Sink, chunk: Buffer) => {
    if (!storage.releases) return sink.write(chunk)
    let release = file.release
    return sink.write(chunk, () => {
      // Once, as others may share the memory.
      release?.(chunk)
      release = undefined
    })
  }

  /** The storage is told of a file only once its first bytes have said what it is. */
  const openSink = async (first: Buffer) => {
    type = await checkMediaType(first, file.type, accept)
    const opening = storage.open({ name: file.name!, type })
    const opened = isThenable(opening) ? await opening : opening
    if (isDiscarded) return opened.discard()
    sink = opened
    if (first.length > 0) await write(sink, first)
  }

  const takeHeld = () => {
    const pieces = held
    held = []
    if (pieces.length === 1) return pieces[0]!
    const first = Buffer.concat(pieces)
    for (const piece of pieces) file.release?.(piece)
    return first
  }
  /** What comes behind the first bytes. */
  const storeBehind = async (chunk: Buffer) => {
    if (hash === undefined) {
      const first = takeHeld()
      hash = createHash('sha256').update(first)
      await openSink(first)
    }
    hash.update(chunk)
    if (sink !== undefined) await write(sink, chunk)
  }
  /** All of a small file is here at its end, and hashed in one go. */
  const completeWhole = async () => {
    const whole = takeHeld()
    const sha256 = hashWhole('sha256', whole)
    await openSink(whole)
    return sha256
  }

  return {
    store (chunk: Buffer): void | Promise<void> {
      signal.throwIfAborted()
      meter.check()
      const before = size
      size += chunk.length
      if (hash !== undefined || before >= HEAD_SIZE) return storeBehind(chunk)
      held.push(chunk)
    },
    async complete (): Promise<StoredFile> {
      const sha256 = hash === undefined ? await completeWhole() : hash.digest('hex')
      if (file.sha256 !== undefined) checkSum(await file.sha256, sha256)
      return { sink: sink!, size, type, sha256 }
    },
    /** What is wrong with the type of a file of which nothing was stored yet; undefined when nothing is, or it is not known. */
    async findFault (): Promise<unknown> {
      if (held.length === 0 || size < HEAD_SIZE) return undefined
      return checkMediaType(takeHeld(), file.type, accept).then(() => undefined, (fault: unknown) => fault)
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
