// A file that is stored in one go, as all of it is in memory.
import { close, fdatasync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import type { DiskAnswer, DiskThread } from './disk-thread.js'

/** A file of which there is no more to come. */
export interface WholeFile {
  /** @param sync whether it is to be on the disk itself before it has its name */
  publish (sync: boolean): Promise<void>
  /** Removes it under both names. */
  remove (): Promise<void>
}

/** @param pieces all that is in it; not to be changed before it is published */
export function createSmallFile (thread: DiskThread, temporary: string, target: string, pieces: readonly Buffer[]): WholeFile {
  let fd: number | undefined
  let removed: string[] = []

  const note = ({ fd: opened, error }: DiskAnswer, names: string[]) => {
    fd = opened
    removed = names
    if (error === undefined) return
    // Of what has failed nothing is left, but nobody knows what a thread has done that is no more.
    removed = error.isLost ? [temporary, target] : []
    throw Object.assign(new Error(error.message), { code: error.code })
  }
  return {
    async publish (sync) {
      if (!sync) return note(await thread.ask({ temporary, target }, pieces), [target])
      note(await thread.ask({ temporary }, pieces), [temporary])
      await syncContent(fd!)
      note(await thread.ask({ temporary, target, fd: fd! }, []), [target])
    },
    async remove () {
      if (fd !== undefined) await closeFile(fd)
      for (const name of removed) await unlink(name).catch(() => {})
    }
  }
}

/** From the descriptor alone, as the thread has opened the file. */
function syncContent (fd: number): Promise<void> {
  return new Promise((resolve, reject) => fdatasync(fd, error => error === null ? resolve() : reject(error)))
}

function closeFile (fd: number): Promise<void> {
  return new Promise(resolve => close(fd, () => resolve()))
}
