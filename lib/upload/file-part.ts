// A file on its way in, whatever carries it.
import type { ItemError } from '../errors.js'

/** What is in a file. No async iterable, whose promises cost more than the reading of a small file that is here already. */
export interface Content {
  /** The next piece; undefined at the end. Rejects, or throws, when that does not come. */
  read (): Buffer | undefined | Promise<Buffer | undefined>
}

/** One file of an upload: what the client says of it, and its content. */
export interface IncomingFile {
  /** The name that the client gave; null where it gave none that can be read. */
  readonly name: string | null
  /** The media type that the client declared. */
  readonly type: string
  /** Must be read to its end before the next file. */
  readonly content: Content
  /** Gives back the memory of a piece of the content that nobody will look at again; without it, that is left to the garbage collector. */
  readonly release?: (chunk: Buffer) => void
  /** What the client says that the content hashes to, in hexadecimal. */
  readonly sha256?: string | Promise<string | undefined> | undefined
  /** Why this is no file at all. */
  readonly refused?: ItemError
}
