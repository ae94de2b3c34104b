// Bytes -> lines, no longer than they may be: what is too long is skipped, not kept.
const NEWLINE = 10

/** Cuts bytes into lines; a line that is too long is null. */
export interface LineCutter {
  /** The lines that end in these bytes. */
  cut (chunk: Buffer): (string | null)[]
  /** The last line, if it does not end. */
  rest (): (string | null)[]
}

/** @param maxBytes of one line, without what ends it */
export function cutLines (maxBytes: number): LineCutter {
  let pieces: Buffer[] = []
  let length = 0

  /** Keeps bytes of a line that goes on; of one that is too long already only its length. */
  function keep (piece: Buffer): void {
    length += piece.length
    if (length > maxBytes) pieces = []
    else pieces.push(piece)
  }

  function take (end: Buffer): string | null {
    if (length === 0) return end.length > maxBytes ? null : end.toString('utf8')
    keep(end)
    const line = length > maxBytes ? null : Buffer.concat(pieces).toString('utf8')
    pieces = []
    length = 0
    return line
  }

  return {
    cut (chunk) {
      const lines = []
      let start = 0
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        lines.push(take(chunk.subarray(start, end)))
        start = end + 1
      }
      if (start < chunk.length) keep(chunk.subarray(start))
      return lines
    },
    rest: () => length === 0 ? [] : [take(Buffer.alloc(0))]
  }
}
