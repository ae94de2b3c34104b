// Writes one file to the storage, and checks its name, size, type and checksum on the way.
import { createHash } from 'node:crypto'
import { checksumInvalid, checksumMismatch } from '../errors.js'
import type { Limits, Meter } from './checks/limits.js'
import { checkFileName } from './checks/name.js'
import { checkMediaType, HEAD_SIZE } from './checks/type.js'
import type { FilePart } from './file-part.js'
import type { Sink, Storage } from './storage/interface.js'

/** A file whose content is complete. */
export interface StoredFile {
  readonly sink: Sink
  readonly size: number
  readonly type: string
  readonly sha256: string
}

/** Writes one file. No method throws or rejects: the first failure is kept, and what follows is only counted. */
export interface FileWriter {
  /** Checks what is known before the content. */
  begin (): void
  write (chunk: Buffer): void | Promise<void>
  /** Gives the file up, and removes what is stored of it. */
  fail (reason: unknown): Promise<void>
  /** Writes what is left, and compares the checksum. */
  end (): Promise<StoredFile | { reason: unknown }>
}

/** The settings of an upload that a file writer needs. */
export interface WriterOptions {
  readonly storage: Storage
  readonly limits: Limits
  readonly accept?: readonly string[]
  /** Once aborted, nothing more is stored. */
  readonly signal: AbortSignal
}

/** @param meter counts the bytes of all files of the request */
export function createFileWriter (file: FilePart, meter: Meter, options: WriterOptions): FileWriter {
  const content = createContentWriter(file, meter, options)
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
    async write (chunk) {
      meter.add(chunk.length)
      if (failed === undefined) await content.write(chunk).catch(fail)
    },
    fail,
    async end () {
      const stored = failed === undefined ? await content.end().catch(fail) : undefined
      return failed ?? stored!
    }
  }
}

/** Writes the content of a file; every method rejects with what is wrong. */
function createContentWriter (file: FilePart, meter: Meter, { storage, accept, signal }: WriterOptions) {
  const hash = createHash('sha256')
  /** The first bytes, which decide the type of the file. The storage hears of the file after that. */
  let head: Buffer[] = []
  let size = 0
  let type = file.type
  let sink: Sink | undefined
  let isDiscarded = false

  const openSink = async () => {
    const first = head.length === 1 ? head[0]! : Buffer.concat(head)
    head = []
    type = await checkMediaType(first, file.type, accept)
    const opened = await storage.open({ name: file.name!, type })
    if (isDiscarded) return opened.discard()
    sink = opened
    if (first.length > 0) await sink.write(first)
  }
  return {
    async write (chunk: Buffer): Promise<void> {
      signal.throwIfAborted()
      meter.check()
      hash.update(chunk)
      size += chunk.length
      if (sink !== undefined) return sink.write(chunk)
      head.push(chunk)
      if (size >= HEAD_SIZE) await openSink()
    },
    async end (): Promise<StoredFile> {
      if (sink === undefined) await openSink()
      const sha256 = hash.digest('hex')
      checkSha256(await file.sha256, sha256)
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

/** @throws ItemError CHECKSUM_INVALID or CHECKSUM_MISMATCH */
function checkSha256 (expected: string | undefined, actual: string): void {
  if (expected === undefined || expected.toLowerCase() === actual) return
  throw /^[0-9a-f]{64}$/i.test(expected) ? checksumMismatch() : checksumInvalid()
}
