// Limits the time of every step of a storage, so that a storage that hangs does not hang the upload.
import { storageTimeout } from '../../errors.js'
import type { FileInfo, Sink, Storage } from './interface.js'

/**
 * Wraps a storage. A step that takes too long fails the file with STORAGE_TIMEOUT; a file that is opened too late is discarded.
 * @param timeout milliseconds for one step
 */
export function withTimeout (storage: Storage, timeout: number): Storage {
  return {
    publishing: storage.publishing,
    start: async () => storage.start?.(),
    open (file: FileInfo) {
      const opening = storage.open(file)
      return opening instanceof Promise ? openInTime(opening, timeout) : limitSink(opening, timeout)
    }
  }
}

async function openInTime (opening: Promise<Sink>, timeout: number): Promise<Sink> {
  try {
    return limitSink(await within(opening, timeout), timeout)
  } catch (error) {
    opening.then(sink => sink.discard()).catch(() => {})
    throw error
  }
}

function limitSink (sink: Sink, timeout: number): Sink {
  return {
    write (chunk) {
      const writing = sink.write(chunk)
      return writing === undefined ? undefined : within(writing, timeout)
    },
    publish: () => within(sink.publish(), timeout),
    // The storage removes later what it cannot remove in time. The result of the file is known already.
    discard: () => within(sink.discard(), timeout).catch(() => {})
  }
}

/** Waits for a promise, but no longer than `timeout`. @throws ItemError STORAGE_TIMEOUT */
function within<T> (promise: Promise<T>, timeout: number): Promise<T> {
  let timer: NodeJS.Timeout
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(storageTimeout()), timeout)
  })
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer))
}
