// Follows a batch that runs on the server, until it is done.
import { readRetryAfter, retryWithBackoff, sleep, type BackoffOptions } from './backoff.js'
import { expectResponse, readJson } from './errors.js'
import { readEvents, type Summary } from './read-stream.js'
import { partition, resultsOf, type AnyBody, type AnyResult, type FailureOptions, type ResultOf } from './results.js'

/** The progress of a batch. */
export interface BatchSummary extends Summary { pending: number }

/** One event of a batch. */
export type BatchEvent<B> =
  /** An item is settled; `index` is its place in the request. Yielded once for every item. */
  | { type: 'result', index: number, result: ResultOf<B>, summary: BatchSummary }
  /** The batch was polled, because the server sends no events. */
  | { type: 'progress', summary: BatchSummary }
  /** All items are settled. This is the last event. */
  | { type: 'done', body: B, summary: BatchSummary }

/** The options of `watchBatch`. */
export interface WatchOptions extends FailureOptions, BackoffOptions {
  /** Sent with every request, for example `authorization`. */
  headers?: Record<string, string>
  /** Milliseconds without a byte of events before polling takes over, for example because a proxy buffers them. @default 45000 */
  silence?: number
}

/**
 * Follows a batch by its Server-Sent Events at `<url>/events`, and resumes them when they break. If there are no events,
 * it polls `url` as often as `Retry-After` allows. Either way it yields one `result` for every item and a last `done`
 * with the whole body. Leaving the loop ends the request.
 * @param url the `Location` of the 202 response
 * @throws ResponseError when the batch does not exist (404), or not any more (410)
 * @throws the error of `fetch`, after `maxAttempts` in a row
 * @example
 *   for await (const event of watchBatch<TasksBody>(url, { headers: { authorization } })) {
 *     if (event.type === 'done') show(event.body)
 *     else progress.value = 1 - event.summary.pending / event.summary.total
 *   }
 */
export async function * watchBatch<B extends object = AnyBody> (
  url: string | URL, options: WatchOptions = {}
): AsyncGenerator<BatchEvent<B>, void> {
  const { headers, signal, silence } = options
  /** The indexes of the results that have been yielded. */
  const seen = new Set<number>()
  let lastId: string | undefined
  /** Whether events are still worth a request. */
  let isLive = true

  const request = (signal?: AbortSignal, path = '', own: Record<string, string> = { accept: 'application/json' }) =>
    fetch(String(url).replace(/(?=\?|$)/, path), { headers: { ...headers, ...own }, signal })

  const follow = (ends: AbortSignal) =>
    request(AbortSignal.any([ends, signal ?? ends]), '/events', { accept: EVENTS, ...lastId && { 'last-event-id': lastId } })

  /** Asks for the progress of the batch, or for its body when it is done. */
  const poll = async () => {
    const response = await request(signal)
    return [response, await readJson<B & { summary: BatchSummary }>(response)] as const
  }

  /** Yields a result unless it has been yielded before. */
  const report: ReportResult<B> = function * (index, result, summary, id) {
    if (!seen.has(index)) yield { type: 'result', index, result, summary }
    seen.add(index)
    lastId = id
  }

  while (true) {
    if (isLive) isLive = yield * followEvents(follow, report, silence)
    const [response, body] = await retryWithBackoff(poll, options)
    if (response.status !== 202) {
      const results = resultsOf<B>(body)
      const { succeeded, failed } = partition(results as AnyResult[], options)
      const summary = { total: results.length, succeeded: succeeded.length, failed: failed.length, pending: 0 }
      for (const [index, result] of results.entries()) yield * report(index, result, summary)
      return yield { type: 'done', body, summary }
    }
    yield { type: 'progress', summary: body.summary }
    // Once a second if the server sends no Retry-After.
    await sleep(readRetryAfter(response) || 1000, signal)
  }
}

const EVENTS = 'text/event-stream'

/** @param id the id of the event, to resume from */
type ReportResult<B> = (index: number, result: ResultOf<B>, summary: BatchSummary, id?: string) => Generator<BatchEvent<B>, void>

/**
 * Yields results while events arrive. It ignores errors, because the caller polls next and gets them again.
 * @returns whether the server sends events
 */
async function * followEvents<B> (
  request: (ends: AbortSignal) => Promise<Response>, report: ReportResult<B>, silence = 45_000
): AsyncGenerator<BatchEvent<B>, boolean> {
  const controller = new AbortController()
  let isLive = true
  let timer: ReturnType<typeof setTimeout> | undefined
  const giveUp = () => {
    isLive = false
    controller.abort()
  }
  const restartTimer = () => {
    clearTimeout(timer)
    timer = setTimeout(giveUp, silence)
  }
  restartTimer()
  try {
    const response = await request(controller.signal)
    await expectResponse(response, EVENTS).catch(giveUp)
    for await (const { event, data, id } of readEvents(response.body!, restartTimer)) {
      if (event === 'done') break
      const { index, result, summary } = JSON.parse(data)
      yield * report(index, result, summary, id)
    }
  } catch {
    // The next poll reports what went wrong.
  } finally {
    clearTimeout(timer)
    controller.abort()
  }
  return isLive
}
