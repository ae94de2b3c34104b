// Reads streams: the lines of a response, its Server-Sent Events, and the results of a streamed batch.
import type { AnyResult } from './results.js'
import { expectResponse, StreamCutError } from './errors.js'

/**
 * Yields the lines of a UTF-8 stream, including a last line without a line feed. Leaving the loop cancels the stream.
 * @param onChunk called for every chunk
 */
async function * readLines (stream: ReadableStream<Uint8Array>, onChunk?: () => void): AsyncGenerator<string, void> {
  // A reader, because Safari cannot iterate a stream.
  const reader = stream.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (value) onChunk?.()
      const lines = (rest + decoder.decode(value, { stream: !done })).split('\n')
      rest = lines.pop()!
      yield * lines
      if (done) break
    }
    if (rest) yield rest
  } finally {
    reader.cancel().catch(() => {})
  }
}

/** One Server-Sent Event. */
export interface ServerEvent { event?: string, data: string, id?: string }

/**
 * Parses Server-Sent Events (HTML, section 9.2.6) whose data is one line of JSON. Unlike `EventSource` it works with
 * headers of one's own and outside browsers. An event without its blank line was cut, and is skipped.
 * @param onChunk called for every chunk, also for one that holds only a comment
 */
export async function * readEvents (stream: ReadableStream<Uint8Array>, onChunk?: () => void): AsyncGenerator<ServerEvent, void> {
  let fields: Record<string, string> = {}
  for await (const line of readLines(stream, onChunk)) {
    // Not a dot, because JSON may contain U+2028 and U+2029.
    const [, name, value] = /^(\w*):? ?([^\r]*)/.exec(line)!
    if (name) fields[name] = value!
    else if (!line.trim()) {
      if (fields.data) yield fields as unknown as ServerEvent
      fields = {}
    }
  }
}

/** How many items of a batch succeeded and failed. */
export interface Summary { total: number, succeeded: number, failed: number }

/** One line of a stream: a result with the index of its item, or the summary. */
type Line = { index?: number, summary?: Summary }

/**
 * Yields the results of an NDJSON response in completion order; `index` is the place of the item in the request.
 * Returns the summary. Leaving the loop ends the request.
 * @throws StreamCutError after the last received result, when the summary is missing or counts other results
 * @throws ResponseError when the response is not such a stream
 * @example
 *   const response = await fetch('/contacts/stream', { method: 'POST', body, headers })
 *   for await (const { index, status } of readStream<ContactResult>(response)) rows[index].className = status
 */
export async function * readStream<R extends object = AnyResult> (
  response: Response
): AsyncGenerator<R & { index: number }, Summary> {
  await expectResponse(response, 'application/x-ndjson')
  let received = 0
  try {
    for await (const text of readLines(response.body!)) {
      const line = JSON.parse(text) as Line
      if (line.index == null) {
        if (line.summary?.total === received) return line.summary
        break
      }
      received++
      yield line as R & { index: number }
    }
  } catch (error) {
    throw (error as Error).name === 'AbortError' ? error : new StreamCutError(received, error)
  }
  throw new StreamCutError(received)
}
