// Stores files in a directory of the local disk.
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ItemError } from '../errors.js'
import type { Sink, Storage } from './storage.js'

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

/**
 * Makes a storage that keeps each file under a name of its own making. Content is written to a temporary file, synced
 * and then linked to its final name, so that a file is either whole and durable or not there.
 * @example app.register(multiStatus, { upload: { storage: disk({ dir: './uploads' }) } })
 */
export function disk ({ dir, sync = true }: DiskOptions): Storage {
  return {
    async start () {
      await mkdir(dir, { recursive: true })
      await sweep(dir)
    },
    async open () {
      const key = randomUUID()
      const temporary = join(dir, `.${key}.${HOST}.${process.pid}.part`)
      const handle = await open(temporary, 'wx', 0o600).catch(failStorage)
      return createSink(dir, key, temporary, handle, sync)
    }
  }
}

function createSink (dir: string, key: string, temporary: string, handle: FileHandle, sync: boolean): Sink {
  const target = join(dir, key)
  let publishing: Promise<{ key: string }> | undefined
  let linked = false

  const publish = async () => {
    try {
      if (sync) await handle.datasync()
      await handle.close()
      // Unlike rename, link does not overwrite what is there already.
      await link(temporary, target)
      linked = true
      await unlink(temporary)
      if (sync) await syncDirectory(dir)
      return { key }
    } catch (error) {
      return failStorage(error)
    }
  }
  return {
    write: chunk => writeAll(handle, chunk).catch(failStorage),
    publish: () => (publishing = publish()),
    async discard () {
      // Somebody may have lost patience with a slow disk, which must not show the file afterwards.
      await publishing?.catch(() => {})
      await handle.close().catch(() => {})
      await unlink(temporary).catch(() => {})
      if (linked) await unlink(target).catch(() => {})
    }
  }
}

async function writeAll (handle: FileHandle, chunk: Buffer): Promise<void> {
  for (let offset = 0; offset < chunk.length;) {
    const { bytesWritten } = await handle.write(chunk, offset)
    offset += bytesWritten
  }
}

/** A new name is durable only once its directory is. */
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
