// How much an upload may bring, and of what.
import { ItemError } from '../../errors.js'

/** The limits of an upload, all of them kept while reading. */
export interface Limits {
  /** Bytes of one file. */
  readonly fileSize: number
  /** Files of one request. */
  readonly files: number
  /** Bytes of all files of one request. */
  readonly total: number
  /** Bytes of one file name in UTF-8. */
  readonly nameBytes: number
}

/** How many files beyond those that are allowed are refused one by one. */
export const SPARE_FILES = 1000

/** Counts the files and bytes of one upload. */
export interface Meter {
  /** Begins the next file. @throws ItemError TOO_MANY_FILES, 413 */
  beginFile (): void
  /** Notes bytes that have been read. */
  add (bytes: number): void
  /** @throws ItemError FILE_TOO_LARGE or UPLOAD_TOO_LARGE, both 413 */
  check (): void
  /** Whether so much has come that nothing more can be taken. */
  isExhausted (): boolean
}

export function createMeter ({ fileSize, files, total }: Limits): Meter {
  let seen = 0
  let ofFile = 0
  let ofAll = 0
  return {
    beginFile () {
      ofFile = 0
      if (++seen > files) throw tooMuch('Too many files', 'TOO_MANY_FILES', true)
    },
    add (bytes) {
      ofFile += bytes
      ofAll += bytes
    },
    check () {
      if (ofFile > fileSize) throw tooMuch('File too large', 'FILE_TOO_LARGE', false)
      if (ofAll > total) throw tooMuch('Upload too large', 'UPLOAD_TOO_LARGE', true)
    },
    // A little more is read, so that the files that follow can be refused by name.
    isExhausted: () => ofAll > total + fileSize
  }
}

/** @param retryable whether the file can succeed in a request of its own */
function tooMuch (message: string, code: string, retryable: boolean): ItemError {
  return new ItemError(message, { code, statusCode: 413, retryable })
}
