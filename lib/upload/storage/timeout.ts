// A storage that hangs must not hang the upload.
import { isThenable } from '../../core/settle/attempt.js'
import { ItemError } from '../../errors.js'
import type { FileInfo, Sink, Storage } from './interface.js'

/**
 * Gives every step of a storage a time limit. A file that is opened after its time is discarded.
 * @param timeout milliseconds for one step
 */
export function withDeadline (storage: Storage, timeout: number): Storage {
  return {
    publishing: storage.publishing,
    releases: storage.releases,
    start: async () => storage.start?.(),
    open (file: FileInfo) {
      const opening = storage.open(file)
      return isThenable(opening) ? waitToOpen(opening, timeout) : limitSink(opening, timeout)
    }
  }
}

async function waitToOpen (opening: PromiseLike<Sink>, timeout: number): Promise<Sink> {
  try {
    return limitSink(await within(opening, timeout), timeout)
  } catch (error) {
    opening.then(sink => sink.discard()).then(() => {}, () => {})
    throw error
  }
}

function limitSink (sink: Sink, timeout: number): Sink {
  return {
    write (...piece) {
      const writing = sink.write(...piece)
      return isThenable(writing) ? within(writing, timeout) : undefined
    },
    publish: () => within(sink.publish(), timeout),
    // What cannot be removed in time is the storage's to remove later; the result of the file is known already.
    discard: () => within(sink.discard(), timeout).catch(() => {})
  }
}

/** By hand, because there is one for every step of every file, and a race of promises costs twice as much. */
function within<T> (promise: PromiseLike<T>, timeout: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new ItemError('Storage timeout', { code: 'STORAGE_TIMEOUT', statusCode: 504 })), timeout)
    promise.then(value => {
      clearTimeout(timer)
      resolve(value)
    }, (error: unknown) => {
      clearTimeout(timer)
      reject(error)
    })
  })
}
