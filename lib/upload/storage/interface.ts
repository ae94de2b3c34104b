// What /upload asks of a storage.

/** What a storage is told about a file before its content. */
export interface FileInfo {
  /** The name that the client gave; never to be used as a path. */
  readonly name: string
  /** The media type that the client declared. */
  readonly type: string
}

/** One file on its way into a storage. It is invisible until it is published. */
export interface Sink {
  /**
   * Takes a piece of the content; resolves when there is room for the next one, and returns nothing when there is already.
   * @param release given to a storage that `releases`: may be called once it has no more use for the piece, whose memory
   *   is then given back, so that it is empty. Not to be handed on by who keeps the piece, or gives it to two.
   */
  write (chunk: Buffer, release?: () => void): void | Promise<void>
  /** Makes the file durable and then visible, never over another one. Resolves with what the storage knows it by. */
  publish (): Promise<{ key: string }>
  /**
   * Removes every trace of a file that is not to be published. Never called after `publish` has resolved, but also while
   * it is under way, when it takes too long: what comes of it then is to be removed too.
   */
  discard (): Promise<void>
}

/** Where uploaded files go. What its methods throw fails the one file; an ItemError says how. */
export interface Storage {
  /** Called once, before the first file. What it throws stops the app from starting. */
  start? (): Promise<void>
  /** Begins a file. */
  open (file: FileInfo): Sink | Promise<Sink>
  /** How many files of one upload may be published at once, while the next ones are read. @default 8 */
  readonly publishing?: number
  /** Whether `write` takes a `release`. @default false */
  readonly releases?: boolean
}
