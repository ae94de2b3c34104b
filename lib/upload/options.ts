// The options of /upload.
import { Type, type Static } from '@sinclair/typebox'
import { bytesOf, custom, integer, optional, path, size, withMethod, type Settings } from '../core/options.js'
import type { Limits } from './checks/limits.js'
import { disk } from './storage/disk.js'
import type { Storage } from './storage/interface.js'
import { withTimeout } from './storage/timeout.js'

const UploadLimits = Type.Object({
  /** Bytes of one file; a number, or text as "10mb". @default '10mb' */
  fileSize: optional(size, { default: '10mb', description: 'bytes of one file' }),
  /** Files of one request. @default 100 */
  files: optional(integer(1), {
    default: 100, description: 'files of one request; each one more fails alone, and in JSON more than 1,000 more are refused (413)'
  }),
  /** Bytes of all files of one request; a number, or text as "1gb". @default '1gb' */
  total: optional(size, { default: '1gb', description: 'bytes of all files of one request' }),
  /** Bytes of one file name in UTF-8. @default 255 */
  nameBytes: optional(integer(1), { default: 255, description: 'bytes of one file name' })
})

/** What /upload takes, and where it puts it. */
export const UploadOptions = Type.Object({
  /** @default '/upload' */
  url: optional(path, { default: '/upload' }),
  /** Where files go. @default disk({ dir: './uploads' }) */
  storage: optional(withMethod<Storage>('open', 'a storage, as disk({ dir }) makes'), {
    defaultText: "`disk({ dir: './uploads' })`", description: 'anything with an `open` as in the type `Storage`'
  }),
  limits: optional(UploadLimits, { default: {} }),
  /** The media types that are allowed, as "image/png" or "image/*". @default any */
  accept: optional(custom<string[]>('an array of media types as "image/png" or "image/*"', isMediaTypes), {
    defaultText: 'any', description: "media types, as `'image/png'` or `'image/*'`; types without a signature, as SVG or text, by full name"
  }),
  /** Milliseconds that one step of the storage may take, as opening, writing a piece or publishing. @default 30000 */
  storageTimeout: optional(integer(1), { default: 30_000, description: 'milliseconds for one step of the storage; then the file fails, retryable' }),
  /** Milliseconds without a byte from the client after which the file that it is sending counts as cut. @default 30000 */
  idleTimeout: optional(integer(1), {
    default: 30_000, description: 'milliseconds without a byte from the client; then the file that it is sending fails, retryable'
  })
})
export type UploadOptions = Static<typeof UploadOptions>

/** The options with every default in place. */
export interface UploadSettings {
  readonly url: string
  readonly storage: Storage
  readonly limits: Limits
  readonly accept?: readonly string[]
  readonly idleTimeout: number
}

/** Makes of the options what the route works with. */
export function prepareUpload ({ url, storage, limits, accept, storageTimeout, idleTimeout }: Settings<typeof UploadOptions>): UploadSettings {
  return {
    url,
    storage: withTimeout(storage ?? disk({ dir: './uploads' }), storageTimeout),
    idleTimeout,
    limits: { ...limits, fileSize: bytesOf(limits.fileSize), total: bytesOf(limits.total) },
    ...(accept !== undefined && { accept: accept.map(one => one.toLowerCase()) })
  }
}

function isMediaTypes (value: unknown): boolean {
  return Array.isArray(value) && value.every(one => typeof one === 'string' && /^[^/\s]+\/[^/\s]+$/.test(one))
}
