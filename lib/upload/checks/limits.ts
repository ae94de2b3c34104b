// Counts the files and bytes of an upload, and holds them against its limits.
import { fileTooLarge, filesTooLarge, tooManyFiles } from '../../errors.js'

/** The limits of an upload. They hold while it is read. */
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

/** The number of surplus files that get a result of their own. */
export const SURPLUS_FILES = 1000

/** Counts the files and bytes of one upload. */
export interface Meter {
  /** Begins the next file. @throws ItemError TOO_MANY_FILES */
  beginFile (): void
  /** Counts bytes of the current file. */
  add (bytes: number): void
  /** @throws ItemError FILE_TOO_LARGE or UPLOAD_TOO_LARGE */
  check (): void
  /** Whether so many bytes have come that the upload is read no further. */
  isExhausted (): boolean
}

export function createMeter ({ fileSize, files, total }: Limits): Meter {
  let count = 0
  let fileBytes = 0
  let totalBytes = 0
  return {
    beginFile () {
      fileBytes = 0
      if (++count > files) throw tooManyFiles()
    },
    add (bytes) {
      fileBytes += bytes
      totalBytes += bytes
    },
    check () {
      if (fileBytes > fileSize) throw fileTooLarge()
      if (totalBytes > total) throw filesTooLarge()
    },
    // One file more is read, so that the files that follow get results under their names.
    isExhausted: () => totalBytes > total + fileSize
  }
}
