// Stores files in a directory of the local disk.
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import { link, mkdir, open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { checkOption, custom, objectOf } from '../../core/options.js'
import { storageFailed, storageFull } from '../../errors.js'
import type { Sink, Storage } from './interface.js'

/** The options of `disk()`. */
export interface DiskOptions {
  /** The directory; made when it does not exist. Nothing else should write to it. */
  dir: string
  /**
   * Whether a file is on the disk itself before it counts as uploaded. Without it, files are faster, and one that was
   * reported uploaded may be gone after a loss of power; the end of the process alone still costs none.
   * @default true
   */
  sync?: boolean
}

/** Tells the temporary files of this host from those of another that shares the directory. */
const HOST = hostname().replace(/[^A-Za-z0-9-]/g, '-')

/** When this process began, which may have several threads. A little earlier, because clocks are coarse. */
const STARTED = Date.now() - process.uptime() * 1000 - 100

/** Milliseconds without a write after which a temporary file counts as left behind, whichever process made it. */
const STALE = 24 * 60 * 60 * 1000

/** Bytes of one file that are gathered before they are written, and the most pieces that they may come in. */
const BATCH = 256 * 1024
const PIECES = 64

/** Unlike that of fs/promises, it makes no handle, which takes a third of the time of a small file. */
const writeFile = promisify(fs.writeFile)

/** Files that are published at once share the syncs of the directory. Each may hold one batch in memory. */
const PUBLISHING = 64

/**
 * Makes a storage that keeps each file under a name of its own making. Content is written to a temporary file, synced
 * and then linked to its final name, so that a file is either whole and durable or not there.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when the directory is not named
 * @example app.register(multiStatus, { upload: { storage: disk({ dir: './uploads' }) } })
 */
export function disk (options: DiskOptions): Storage {
  checkOption('disk', objectOf('an object of options'), options)
  const { dir, sync = true } = options
  checkOption('disk.dir', custom('the path of a directory', value => typeof value === 'string' && value !== ''), dir)
  const syncDirectory = createDirectorySync(dir)
  return {
    publishing: PUBLISHING,
    async start () {
      await mkdir(dir, { recursive: true })
      await sweep(dir)
    },
    open () {
      const key = randomUUID()
      const file = createFile(join(dir, `.${key}.${HOST}.${process.pid}.part`), join(dir, key))
      return createSink(key, file, sync ? syncDirectory : undefined)
    }
  }
}

/** @param syncDirectory makes the new name durable; undefined without `sync` */
function createSink (key: string, file: TemporaryFile, syncDirectory: (() => Promise<void>) | undefined): Sink {
  let pieces: Buffer[] = []
  let size = 0
  /** The operations on the file run one after the other, and none runs after one that has failed. */
  let step: Promise<void> = Promise.resolve()

  const takePieces = () => {
    const gathered = pieces
    pieces = []
    size = 0
    return gathered
  }
  const flush = () => file.write(takePieces())
  const finish = async () => {
    await file.publish(takePieces(), syncDirectory !== undefined)
    await syncDirectory?.()
  }
  return {
    write (chunk) {
      pieces.push(chunk)
      size += chunk.length
      if (size < BATCH && pieces.length < PIECES) return
      const before = step
      step = before.then(flush)
      step.catch(() => {})
      // Only for the batch before: the next one is gathered, and hashed, while this one is written.
      return before.catch(failStorage)
    },
    async publish () {
      step = step.then(finish)
      await step.catch(failStorage)
      return { key }
    },
    async discard () {
      pieces = []
      // A slow disk may still be working on the file, which must not appear afterwards.
      await step.catch(() => {})
      await file.remove()
    }
  }
}

/** A file that gets its name when it is whole. */
interface TemporaryFile {
  /** Appends; the first time, it makes the file. */
  write (pieces: readonly Buffer[]): Promise<void>
  /**
   * @param pieces the rest of the content, or all of it
   * @param sync whether the content is to be durable before the file has its name
   */
  publish (pieces: readonly Buffer[], sync: boolean): Promise<void>
  /** Removes the file under both names. */
  remove (): Promise<void>
}

function createFile (temporary: string, target: string): TemporaryFile {
  let handle: FileHandle | undefined
  /** False when another file has the temporary name, which must stay. */
  let isOurs = true
  let isLinked = false
  const failMaking = (error: NodeJS.ErrnoException): never => {
    isOurs = error.code !== 'EEXIST'
    throw error
  }
  const file: TemporaryFile = {
    async write (pieces) {
      handle ??= await open(temporary, 'wx', 0o600).catch(failMaking)
      await writeAll(handle, pieces)
    },
    async publish (pieces, sync) {
      if (handle === undefined) {
        await writeFile(temporary, Buffer.concat(pieces), { flag: 'wx', mode: 0o600, flush: sync }).catch(failMaking)
      } else {
        await file.write(pieces)
        if (sync) await handle.datasync()
        await handle.close()
      }
      // Unlike rename, link does not overwrite an existing file.
      await link(temporary, target)
      isLinked = true
      await unlink(temporary)
    },
    async remove () {
      await handle?.close().catch(() => {})
      if (isOurs) await unlink(temporary).catch(() => {})
      if (isLinked) await unlink(target).catch(() => {})
    }
  }
  return file
}

async function writeAll (handle: FileHandle, pieces: readonly Buffer[]): Promise<void> {
  for (let rest = pieces; rest.length > 0;) {
    const { bytesWritten } = await handle.writev(rest)
    rest = skip(rest, bytesWritten)
  }
}

/** The pieces without their first bytes. */
function skip (pieces: readonly Buffer[], bytes: number): Buffer[] {
  let before = bytes
  const rest = pieces.map(piece => {
    const left = piece.subarray(before)
    before = Math.max(0, before - piece.length)
    return left
  })
  return rest.filter(left => left.length > 0)
}

/** A new name is durable only once its directory is synced. One sync serves every file that waits when it begins. */
function createDirectorySync (dir: string): () => Promise<void> {
  let running: Promise<unknown> = Promise.resolve()
  let next: Promise<void> | undefined
  return () => {
    next ??= running.catch(() => {}).then(() => {
      next = undefined
      return syncNames(dir)
    })
    running = next
    return next
  }
}

async function syncNames (dir: string): Promise<void> {
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function failStorage (cause: unknown): never {
  const { code } = cause as NodeJS.ErrnoException
  throw code === 'ENOSPC' || code === 'EDQUOT' ? storageFull(cause) : storageFailed(cause)
}

/** Removes the temporary files of processes that have ended. */
async function sweep (dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const [, host, pid] = /^\.[0-9a-f-]{36}\.([A-Za-z0-9-]+)\.(\d+)\.part$/.exec(name) ?? []
    if (pid === undefined) continue
    const path = join(dir, name)
    // Another process may have removed the file meanwhile.
    const written = await stat(path).then(({ mtimeMs }) => mtimeMs, () => undefined)
    if (written !== undefined && isLeftover(host!, Number(pid), written)) await unlink(path).catch(() => {})
  }
}

function isLeftover (host: string, pid: number, written: number): boolean {
  if (Date.now() - written > STALE) return true
  if (host !== HOST) return false
  // An earlier process may have had the number of this one.
  return pid === process.pid ? written < STARTED : !isAlive(pid)
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
