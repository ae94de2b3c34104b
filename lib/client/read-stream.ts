// The results of a streamed batch, each as soon as it is there.
import type { AnyResult } from './body.js'
import { expectResponse, StreamCutError } from './errors.js'
import { readLines } from './lines.js'

/** What the results of a batch amount to. */
export interface Summary { total: number, succeeded: number, failed: number }

/** One line of a stream: a result with the place of its item, or the summary. */
type Line = { index?: number, summary?: Summary }

/**
 * Iterates the results of an NDJSON answer in the order in which they are settled; `index` is the place of the item in
 * the request. Returns the summary. Who leaves the loop ends the request.
 * @throws StreamCutError after the last result that came, when the summary did not come or counts other results
 * @throws ResponseError when the answer is no such stream
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
