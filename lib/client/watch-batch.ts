// Follows a batch that runs on the server until its results are there.
import { resultsOf, type AnyBody, type AnyResult, type FailureOptions, type ResultOf } from './body.js'
import { expectResponse, readJson } from './errors.js'
import { readEvents, type ServerEvent } from './events.js'
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

/** What is known of a batch so far. */
interface Watch {
  readonly url: string
  readonly options: WatchOptions
  /** The places of the items whose results have been told. */
  readonly seen: Set<number>
  /** Of the last event. */
  lastId?: string | undefined
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
  const watch: Watch = { url: String(url), options, seen: new Set() }
  let isLive = true
  while (true) {
    if (isLive) isLive = yield * followEvents<B>(watch)
    const [response, body] = await persist(async () => {
      const response = await request(watch, options.signal)
      return [response, await readJson<B & { summary: BatchSummary }>(response)] as const
    }, options)
    if (response.status !== 202) return yield * tellRest<B>(watch, body)
    yield { type: 'progress', summary: body.summary }
    // Once a second where the server does not say how often.
    await sleep(readRetryAfter(response) || 1000, options.signal)
  }
}

/**
 * Tells results as long as events come. Whatever goes wrong with them, the batch itself says what has become of it.
 * Returns whether there can be more, as they have not been given up.
 */
async function * followEvents<B> (watch: Watch): AsyncGenerator<BatchEvent<B>, boolean> {
  const controller = new AbortController()
  const { signal = controller.signal, silence = 45_000 } = watch.options
  let isLive = true
  const giveUp = () => {
    isLive = false
    controller.abort()
  }
  let timer: ReturnType<typeof setTimeout> | undefined
  const wait = () => {
    clearTimeout(timer)
    timer = setTimeout(giveUp, silence)
  }
  wait()
  try {
    const accept = 'text/event-stream'
    const resume = watch.lastId && { 'last-event-id': watch.lastId }
    const response = await request(watch, AbortSignal.any([controller.signal, signal]), '/events', { accept, ...resume || {} })
    await expectResponse(response, accept).catch(giveUp)
    yield * tellResults<B>(watch, readEvents(response.body!, wait))
  } catch {
    // The batch is asked next, and says what there is to say.
  } finally {
    clearTimeout(timer)
    controller.abort()
  }
  return isLive
}

async function * tellResults<B> (watch: Watch, events: AsyncIterable<ServerEvent>): AsyncGenerator<BatchEvent<B>, void> {
  for await (const { event, data, id } of events) {
    if (event === 'done') return
    const { index, result, summary } = JSON.parse(data)
    watch.lastId = id
    if (watch.seen.has(index)) continue
    watch.seen.add(index)
    yield { type: 'result', index, result, summary }
  }
}

function request (
  { url, options }: Watch, signal?: AbortSignal, path = '', headers: Record<string, string> = { accept: 'application/json' }
): Promise<Response> {
  return fetch(url.replace(/(?=\?|$)/, path), { headers: { ...options.headers, ...headers }, signal })
}

/** Tells the results of which no event came, then that the batch is done. */
async function * tellRest<B extends object> ({ seen, options }: Watch, body: B): AsyncGenerator<BatchEvent<B>, void> {
  const results = resultsOf(body)
  const { succeeded, failed } = partition(results as AnyResult[], options)
  const summary = { total: results.length, succeeded: succeeded.length, failed: failed.length, pending: 0 }
  for (const [index, result] of results.entries()) {
    if (!seen.has(index)) yield { type: 'result', index, result, summary }
  }
  yield { type: 'done', body, summary }
}
