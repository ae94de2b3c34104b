// Defines what /upload asks of a storage.

/** What a storage is told about a file before its content. */
export interface FileInfo {
  /** The name that the client gave; never to be used as a path. */
  readonly name: string
  /** The media type of the file. */
  readonly type: string
}

/** One file on its way into a storage. It is invisible until it is published. */
export interface Sink {
  /** Takes a piece of the content. Resolves when there is room for the next one, or returns nothing when there is already. */
  write (chunk: Buffer): void | Promise<void>
  /** Makes the file durable and then visible, never over another one. Resolves with the key under which the storage has the file. */
  publish (): Promise<{ key: string }>
  /**
   * Removes every trace of the file. Never called after `publish` has resolved, but also while it is under way, when it
   * takes too long: what comes of it then is to be removed too.
   */
  discard (): Promise<void>
}

/** A place for uploaded files. An error of its methods fails the one file; an ItemError says how. */
export interface Storage {
  /** Called once, before the first file. An error stops the app from starting. */
  start? (): Promise<void>
  /** Begins a file. */
  open (file: FileInfo): Sink | Promise<Sink>
  /** How many files of one upload may be published at once, while the next ones are read. @default 8 */
  readonly publishing?: number
}
