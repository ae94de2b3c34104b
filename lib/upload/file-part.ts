// Describes one file of an upload, whether it comes from a form or from JSON.
import type { ItemError } from '../errors.js'

/** One file of an upload: what the client says about it, and its content. */
export interface FilePart {
  /** The name that the client gave; null when it gave none that can be read. */
  readonly name: string | null
  /** The media type that the client declared. */
  readonly type: string
  /** Must be read to its end before the next file. Throws when the rest of the content does not come. */
  readonly content: AsyncIterable<Buffer> | Iterable<Buffer>
  /** The checksum that the client expects, in hexadecimal. */
  readonly sha256?: string | Promise<string | undefined> | undefined
  /** The reason why this entry of the request is no file. */
  readonly refused?: ItemError
}
