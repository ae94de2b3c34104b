// A `fetch` that collects the calls of one tick and sends them as one batch.

/** The part of `fetch` that is used here. Any function of this type can replace it. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** The options of `batchFetch`. */
export interface BatchFetchOptions {
  /** The most calls in one batch; further calls go into another. Not more than the server's `maxItems`. @default 50 */
  maxItems?: number
  /** Milliseconds to collect calls. @default 0, the calls of one tick */
  window?: number
  /** Headers of the batch, for example `authorization`, or a function that returns them. Each of its requests inherits them. @default none */
  headers?: Record<string, string> | (() => Record<string, string>)
  /** Sends the batch. @default the global fetch */
  fetch?: Fetch
}

/** A result of the batch. It has no headers if its route was never called. */
interface Result {
  id?: string
  statusCode: number
  headers?: Record<string, string>
  body?: unknown
  encoding?: string
}

interface Call {
  request: Request
  resolve (response: Response): void
  reject (reason: unknown): void
}

/**
 * Creates a `fetch` that sends all calls of one tick as one batch. Each call resolves with a Response of its own, whatever
 * its status. If the server could not call the route, the Response has the failure's `statusCode`, and the failure as
 * JSON. If the whole batch fails, all of its calls reject. An aborted call rejects alone, and is left out of a batch that
 * has not been sent yet. Redirects are not followed.
 *
 * @param url the URL of the batch route; only paths of its origin can be called
 * @returns a function like `fetch`, which rejects with a TypeError for another origin
 * @example
 *   const fetch = batchFetch('/batch')
 *   const [ada, bob] = await Promise.all([fetch('/contacts/1'), fetch('/contacts/2')])  // one request
 */
export function batchFetch (
  url: string | URL, { maxItems = 50, window = 0, headers, fetch = globalThis.fetch }: BatchFetchOptions = {}
): Fetch {
  const base = new URL(url, (globalThis as { location?: { href: string } }).location?.href)
  const { origin } = base
  let calls: Call[] = []

  async function send (batch: Call[]): Promise<Result[]> {
    const requests = await Promise.all(batch.map(({ request }, index) => describe(request, `${index}`)))
    const response = await fetch(base, {
      method: 'POST',
      headers: { ...typeof headers === 'function' ? headers() : headers, ...JSON_TYPE },
      body: JSON.stringify({ requests })
    })
    if (!response.ok) throw new Error(`Batch answered ${response.status}`, { cause: response })
    return (await response.json() as { results: Result[] }).results
  }

  function flush (): void {
    const open = calls.filter(({ request }) => !request.signal.aborted)
    calls = []
    while (open[0]) {
      const batch = open.splice(0, maxItems)
      const sending = send(batch)
      batch.forEach(({ resolve, reject }, index) => sending.then(results => resolve(toResponse(results[index]!))).catch(reject))
    }
  }

  return async (input, init) => {
    const request = new Request(input instanceof Request ? input : new URL(input, base), init)
    const { signal, url } = request
    if (!url.startsWith(`${origin}/`)) throw new TypeError(`Not at ${origin}: ${url}`)
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
      if (calls.push({ request, resolve, reject }) < 2) setTimeout(flush, window)
    })
  }
}

/** Describes a request for the batch. The body is base64, so that nothing in it is mistaken for a reference. */
async function describe (request: Request, id: string): Promise<object> {
  const { pathname, search } = new URL(request.url)
  const bytes = new Uint8Array(await request.arrayBuffer())
  return {
    id,
    method: request.method,
    url: (pathname + search).replace(/[{}]/g, encodeURIComponent),
    headers: Object.fromEntries(request.headers),
    ...bytes.length && { body: btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), '')), encoding: 'base64' }
  }
}

const JSON_TYPE = { 'content-type': 'application/json' }

function toResponse (result: Result): Response {
  const { statusCode: status, encoding, headers = JSON_TYPE, body = result.headers ? undefined : result } = result
  // The media types whose bodies the server sends as JSON, not as text or base64.
  const isJson = /^\w+n\/(.*\+)?json(;|$)/.test(headers['content-type']!)
  return new Response(
    encoding ? Uint8Array.from(atob(body as string), char => char.charCodeAt(0)) : isJson ? JSON.stringify(body) : body as string,
    { status, headers }
  )
}
