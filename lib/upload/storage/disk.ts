// Stores files in a directory of the local disk.
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { checkOption, custom, objectOf } from '../../core/options.js'
import { ItemError } from '../../errors.js'
import { createDiskThread } from './disk-thread.js'
import { createSmallFile, type WholeFile } from './small-file.js'
import type { Sink, Storage } from './interface.js'

/** Where on the disk. */
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

/** When this process, which may have more than one thread, began; a little earlier, as clocks are coarse. */
const STARTED = Date.now() - process.uptime() * 1000 - 100

/** Milliseconds without a write after which a temporary file counts as left behind, whoever made it. */
const STALE = 24 * 60 * 60 * 1000

/** Bytes of one file that are gathered before they are written, and the most pieces that they may come in. */
const BATCH = 256 * 1024
const PIECES = 64

/** The most bytes of a file that is stored by a thread. */
const SMALL = 64 * 1024

/** Enough that they share the syncs of the directory, and keep a thread busy; each may hold a batch in memory. */
const PUBLISHING = 64

/** One for all storages, as it does only what is quick. */
const thread = createDiskThread()

/**
 * Makes a storage that keeps each file under a name of its own making. Content is written to a temporary file, synced
 * and then linked to its final name, so that a file is either whole and durable or not there. Small files are stored by a
 * thread; without the right to start one (`--allow-worker` of Node's permission model) they only take longer.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when the directory is not named
 * @example app.register(multiStatus, { upload: { storage: disk({ dir: './uploads' }) } })
 */
export function disk (options: DiskOptions): Storage {
  checkOption('disk', objectOf('an object of options'), options)
  const { dir, sync = true } = options
  checkOption('disk.dir', custom('the path of a directory', value => typeof value === 'string' && value !== ''), dir)
  /** What the paths of all files begin with. */
  const before = join(dir, 'x').slice(0, -1)
  const syncNames = createDirectorySync(dir)
  return {
    publishing: PUBLISHING,
    releases: true,
    async start () {
      await mkdir(dir, { recursive: true })
      await sweep(dir)
    },
    open () {
      const key = randomUUID()
      return createSink(key, [`${before}.${key}.${HOST}.${process.pid}.part`, before + key], sync ? syncNames : undefined)
    }
  }
}

/** Where a file is until it is whole, and where it is then. */
type Paths = readonly [temporary: string, target: string]

/** @param syncNames makes the names in the directory durable; undefined when nothing has to be */
function createSink (key: string, paths: Paths, syncNames: (() => Promise<void>) | undefined): Sink {
  const file = createFile(...paths)
  /** What is to be published: another, where all of it is here before any of it is written. */
  let whole: WholeFile = file
  let pieces: Buffer[] = []
  let releases: (() => void)[] = []
  let size = 0
  /** All that is being done to the file: one thing after the other, and nothing after one that has failed. */
  let step: Promise<void> = Promise.resolve()

  const flush = async () => {
    const gathered = pieces
    const written = releases
    pieces = []
    releases = []
    size = 0
    await file.write(gathered)
    for (const release of written) release()
  }
  const finish = async () => {
    if (!file.isMade() && size <= SMALL && thread.isFree()) whole = createSmallFile(thread, ...paths, pieces)
    else await flush()
    await whole.publish(syncNames !== undefined)
    for (const release of releases) release()
    await syncNames?.()
  }
  return {
    write (chunk, release) {
      pieces.push(chunk)
      if (release !== undefined) releases.push(release)
      size += chunk.length
      if (size < BATCH && pieces.length < PIECES) return
      const before = step
      step = before.then(flush)
      step.catch(() => {})
      // Only for the one before: what comes next is gathered, and hashed, while this one is written.
      return before.catch(failStorage)
    },
    async publish () {
      step = step.then(finish)
      await step.catch(failStorage)
      return { key }
    },
    async discard () {
      pieces = []
      releases = []
      // Somebody may have lost patience with a slow disk, which must not show the file afterwards.
      await step.catch(() => {})
      await whole.remove()
    }
  }
}

/** A file that gets its name when it is whole. */
interface TemporaryFile extends WholeFile {
  /** Whether anything of it is on the disk. */
  isMade (): boolean
  /** Appends; the first time, the file is made. */
  write (pieces: readonly Buffer[]): Promise<void>
}

function createFile (temporary: string, target: string): TemporaryFile {
  let handle: FileHandle | undefined
  let linked = false
  return {
    isMade: () => handle !== undefined,
    async write (pieces) {
      handle ??= await open(temporary, 'wx', 0o600)
      await writeAll(handle, pieces)
    },
    async publish (sync) {
      if (sync) await handle!.datasync()
      await handle!.close()
      // Unlike rename, link does not overwrite what is there already.
      await link(temporary, target)
      linked = true
      await unlink(temporary)
    },
    async remove () {
      // Without a handle, what is there is not ours.
      if (handle === undefined) return
      await handle.close().catch(() => {})
      await unlink(temporary).catch(() => {})
      if (linked) await unlink(target).catch(() => {})
    }
  }
}

async function writeAll (handle: FileHandle, pieces: readonly Buffer[]): Promise<void> {
  for (let rest = pieces; rest.length > 0;) {
    const { bytesWritten } = await handle.writev(rest)
    rest = skip(rest, bytesWritten)
  }
}

/** What is left of the pieces behind so many bytes. */
function skip (pieces: readonly Buffer[], bytes: number): Buffer[] {
  let before = bytes
  const rest = pieces.map(piece => {
    const left = piece.subarray(before)
    before = Math.max(0, before - piece.length)
    return left
  })
  return rest.filter(left => left.length > 0)
}

/** A new name is durable only once its directory is. One sync serves all who wait when it begins. */
function createDirectorySync (dir: string): () => Promise<void> {
  let running: Promise<unknown> = Promise.resolve()
  let next: Promise<void> | undefined
  return () => {
    next ??= running.catch(() => {}).then(() => {
      next = undefined
      return syncDirectory(dir)
    })
    running = next
    return next
  }
}

async function syncDirectory (dir: string): Promise<void> {
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function failStorage (cause: unknown): never {
  const { code } = cause as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    throw new ItemError('Storage full', { code: 'STORAGE_FULL', statusCode: 507, retryable: true, cause })
  }
  throw new ItemError('Storage failed', { code: 'STORAGE_FAILED', statusCode: 500, retryable: true, cause })
}

/** Removes the temporary files of processes that are no more. */
async function sweep (dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const [, host, pid] = /^\.[0-9a-f-]{36}\.([A-Za-z0-9-]+)\.(\d+)\.part$/.exec(name) ?? []
    if (pid === undefined) continue
    const path = join(dir, name)
    // What is gone meanwhile has been removed by another process that sweeps.
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
