// The options of /upload, and their checks.
import bytes from 'bytes'
import { InvalidOption } from '../errors.js'
import { checkInteger, show } from '../core/settle/options.js'
import { withTimeout } from './storage/timeout.js'
import { disk } from './storage/disk.js'
import type { Limits } from './checks/limits.js'
import type { Storage } from './storage/interface.js'

/** What /upload takes, and where it puts it. */
export interface UploadOptions {
  /** @default '/upload' */
  url?: string
  /** Where files go. @default disk({ dir: './uploads' }) */
  storage?: Storage
  limits?: {
    /** Bytes of one file; a number, or text as "10mb". @default '10mb' */
    fileSize?: number | string
    /** Files of one request. @default 100 */
    files?: number
    /** Bytes of all files of one request; a number, or text as "1gb". @default '1gb' */
    total?: number | string
    /** Bytes of one file name in UTF-8. @default 255 */
    nameBytes?: number
  }
  /** The media types that are allowed, as "image/png" or "image/*". @default any */
  accept?: string[]
  /** Milliseconds that one step of the storage may take, as opening, writing a piece or publishing. @default 30000 */
  storageTimeout?: number
  /** Milliseconds without a byte from the client after which the file that it is sending counts as cut. @default 30000 */
  idleTimeout?: number
}

/** The options with every default in place. */
export interface UploadSettings {
  readonly url: string
  readonly storage: Storage
  readonly limits: Limits
  readonly accept?: readonly string[]
  readonly idleTimeout: number
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readUploadOptions (options: UploadOptions): UploadSettings {
  const { url = '/upload', storage = disk({ dir: './uploads' }), limits = {}, accept } = options
  const { storageTimeout = 30_000, idleTimeout = 30_000 } = options
  const { fileSize = '10mb', files = 100, total = '1gb', nameBytes = 255 } = limits
  checkInteger('upload.limits.files', files, 1)
  checkInteger('upload.limits.nameBytes', nameBytes, 1)
  if (typeof storage?.open !== 'function') throw new InvalidOption('upload.storage', 'a storage, as disk({ dir }) makes', show(storage))
  checkAccept(accept)
  checkInteger('upload.storageTimeout', storageTimeout, 1)
  checkInteger('upload.idleTimeout', idleTimeout, 1)
  return {
    url,
    storage: withTimeout(storage, storageTimeout),
    idleTimeout,
    limits: { fileSize: readSize('upload.limits.fileSize', fileSize), files, total: readSize('upload.limits.total', total), nameBytes },
    ...(accept !== undefined && { accept: accept.map(one => one.toLowerCase()) })
  }
}

function readSize (name: string, value: number | string): number {
  const size = bytes.parse(value)
  if (size !== null && size >= 1 && /^\d+(\.\d+)?\s*([kmgtp]?b)?$/i.test(String(value))) return Math.floor(size)
  throw new InvalidOption(name, 'a number of bytes or text as "10mb"', show(value))
}

function checkAccept (accept: unknown): void {
  if (accept === undefined) return
  if (Array.isArray(accept) && accept.every(one => typeof one === 'string' && /^[^/\s]+\/[^/\s]+$/.test(one))) return
  throw new InvalidOption('upload.accept', 'an array of media types as "image/png" or "image/*"', show(accept))
}
