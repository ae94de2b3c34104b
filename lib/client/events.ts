// Server-Sent Events from a response, so that they can be had with headers and outside browsers too.
import { readLines } from './lines.js'

/** One event, as its fields say. */
export interface ServerEvent { event?: string, data: string, id?: string }

/**
 * Parses a stream of events (HTML, section 9.2.6) whose data has one line, as JSON. An event that no blank line ends has
 * been cut and is none.
 * @param onChunk called whenever something came, also a comment
 */
export async function * readEvents (stream: ReadableStream<Uint8Array>, onChunk?: () => void): AsyncGenerator<ServerEvent, void> {
  let fields: Record<string, string> = {}
  for await (const line of readLines(stream, onChunk)) {
    // Not a dot, because JSON may hold U+2028 and U+2029 as they are.
    const [, name, value] = /^(\w*):? ?([^\r]*)/.exec(line)!
    if (name) fields[name] = value!
    else if (!line.trim()) {
      if (fields.data) yield fields as unknown as ServerEvent
      fields = {}
    }
  }
}
