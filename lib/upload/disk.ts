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
}

/** Tells the temporary files of this process from those that a crashed one has left. */
const PROCESS = `${hostname().replace(/[^A-Za-z0-9-]/g, '-')}.${process.pid}.${randomUUID().slice(0, 8)}`

/** Milliseconds after which a temporary file of another host counts as left behind. */
const STALE = 24 * 60 * 60 * 1000

/**
 * Makes a storage that keeps each file under a name of its own making. Content is written to a temporary file, synced
 * and then linked to its final name, so that a file is either whole and durable or not there.
 * @example app.register(multiStatus, { upload: { storage: disk({ dir: './uploads' }) } })
 */
export function disk ({ dir }: DiskOptions): Storage {
  return {
    async start () {
      await mkdir(dir, { recursive: true })
      await sweep(dir)
    },
    async open () {
      const key = randomUUID()
      const temporary = join(dir, `.${key}.${PROCESS}.part`)
      const handle = await open(temporary, 'wx', 0o600).catch(failStorage)
      return createSink(dir, key, temporary, handle)
    }
  }
}

function createSink (dir: string, key: string, temporary: string, handle: FileHandle): Sink {
  return {
    write: chunk => writeAll(handle, chunk).catch(failStorage),
    async publish () {
      try {
        await handle.datasync()
        await handle.close()
        // Unlike rename, link does not overwrite what is there already.
        await link(temporary, join(dir, key))
        await unlink(temporary)
        await syncDirectory(dir)
        return { key }
      } catch (error) {
        return failStorage(error)
      }
    },
    async discard () {
      await handle.close().catch(() => {})
      await unlink(temporary).catch(() => {})
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
    const [, host, pid, boot] = /^\.[0-9a-f-]{36}\.([A-Za-z0-9-]+)\.(\d+)\.([0-9a-f]{8})\.part$/.exec(name) ?? []
    if (boot === undefined || `${host}.${pid}.${boot}` === PROCESS) continue
    if (await isLeftover(join(dir, name), host!, Number(pid))) await unlink(join(dir, name)).catch(() => {})
  }
}

async function isLeftover (path: string, host: string, pid: number): Promise<boolean> {
  if (!PROCESS.startsWith(`${host}.`)) return Date.now() - (await stat(path)).mtimeMs > STALE
  // An earlier process may have had the number of this one.
  return pid === process.pid || !isAlive(pid)
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
