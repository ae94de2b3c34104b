// Follows a batch that runs on the server until its results are there.
import { resultsOf, type AnyBody, type AnyResult, type FailureOptions, type ResultOf } from './body.js'
import { expectResponse, readJson } from './errors.js'
import { readEvents } from './events.js'
import { partition } from './partition.js'
import type { Summary } from './read-stream.js'
import { persist, readRetryAfter, sleep, type Persistence } from './wait.js'

/** How far a batch is. */
export interface BatchSummary extends Summary { pending: number }

/** What is to be told of a batch. */
export type BatchEvent<B> =
  /** An item is settled; `index` is its place in the request. Comes once for every item. */
  | { type: 'result', index: number, result: ResultOf<B>, summary: BatchSummary }
  /** The server was asked how far it is, because it sends no events. */
  | { type: 'progress', summary: BatchSummary }
  /** All items are settled; the last event. */
  | { type: 'done', body: B, summary: BatchSummary }

/** How a batch is followed. */
export interface WatchOptions extends FailureOptions, Persistence {
  /** Sent with every request, for example `authorization`. */
  headers?: Record<string, string>
  /** Milliseconds without a byte of the events after which they are given up, as behind a proxy that holds them back. @default 45000 */
  silence?: number
}

/**
 * Follows a batch by its Server-Sent Events at `<url>/events`, from where they broke when they break; where they cannot
 * be had, by asking at `url` as often as `Retry-After` allows. Either way there is one `result` for every item, and a
 * last `done` with the whole body. Who leaves the loop ends the request.
 * @param url where the batch is, as the `Location` of the 202 answer says
 * @throws ResponseError when there is no such batch (404), or no more (410)
 * @throws what `fetch` throws, after `maxAttempts` in a row
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
  /** The places of the items whose results have been told. */
  const seen = new Set<number>()
  let lastId: string | undefined
  /** Whether the events have not been given up. */
  let isLive = true

  const request = (signal?: AbortSignal, path = '', own: Record<string, string> = { accept: 'application/json' }) =>
    fetch(String(url).replace(/(?=\?|$)/, path), { headers: { ...headers, ...own }, signal })

  const follow = (ends: AbortSignal) =>
    request(AbortSignal.any([ends, signal ?? ends]), '/events', { accept: EVENTS, ...lastId && { 'last-event-id': lastId } })

  /** Asks how far the batch is; the answer is its body when it is done. */
  const ask = async () => {
    const response = await request(signal)
    return [response, await readJson<B & { summary: BatchSummary }>(response)] as const
  }

  /** Tells a result that has not been told. */
  const tell: Tell<B> = function * (index, result, summary, id) {
    if (!seen.has(index)) yield { type: 'result', index, result, summary }
    seen.add(index)
    lastId = id
  }

  while (true) {
    if (isLive) isLive = yield * tellEvents(follow, tell, silence)
    const [response, body] = await persist(ask, options)
    if (response.status !== 202) {
      const results = resultsOf<B>(body)
      const { succeeded, failed } = partition(results as AnyResult[], options)
      const summary = { total: results.length, succeeded: succeeded.length, failed: failed.length, pending: 0 }
      for (const [index, result] of results.entries()) yield * tell(index, result, summary)
      return yield { type: 'done', body, summary }
    }
    yield { type: 'progress', summary: body.summary }
    // Once a second where the server does not say how often.
    await sleep(readRetryAfter(response) || 1000, signal)
  }
}

const EVENTS = 'text/event-stream'

/** @param id of the event that has said it */
type Tell<B> = (index: number, result: ResultOf<B>, summary: BatchSummary, id?: string) => Generator<BatchEvent<B>, void>

/**
 * Tells results as long as events come. Whatever goes wrong with them, what has become of the batch is asked next.
 * @returns whether there are events to be had
 */
async function * tellEvents<B> (request: (ends: AbortSignal) => Promise<Response>, tell: Tell<B>, silence = 45_000): AsyncGenerator<BatchEvent<B>, boolean> {
  const controller = new AbortController()
  let isLive = true
  let timer: ReturnType<typeof setTimeout> | undefined
  const giveUp = () => {
    isLive = false
    controller.abort()
  }
  const wait = () => {
    clearTimeout(timer)
    timer = setTimeout(giveUp, silence)
  }
  wait()
  try {
    const response = await request(controller.signal)
    await expectResponse(response, EVENTS).catch(giveUp)
    for await (const { event, data, id } of readEvents(response.body!, wait)) {
      if (event === 'done') break
      const { index, result, summary } = JSON.parse(data)
      yield * tell(index, result, summary, id)
    }
  } catch {
    // Asked next, the server says what there is to say.
  } finally {
    clearTimeout(timer)
    controller.abort()
  }
  return isLive
}
