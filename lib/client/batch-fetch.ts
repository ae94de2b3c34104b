// A fetch whose calls travel together: those of one tick in one batch, each with a Response of its own.

/** As much of `fetch` as is used here, so that any other can take its place. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** How calls are collected and sent. */
export interface BatchFetchOptions {
  /** How many calls one batch carries; more are split. It must not be more than the server's `maxItems`. @default 50 */
  maxItems?: number
  /** Milliseconds that calls are collected for. @default 0, those of one tick */
  window?: number
  /** Headers of the batch, as `authorization`, which each of its requests inherits; or what makes them. @default none */
  headers?: Record<string, string> | (() => Record<string, string>)
  /** What sends the batch. @default the global fetch */
  fetch?: Fetch
}

/** A result of the batch; a failure without an answer of its route has no headers. */
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
 * Makes a `fetch` whose calls of one tick are sent as one batch. Each caller gets a Response of its own, whatever its
 * status; where the batch could not ask the route, it is made of the failure: its `statusCode`, and the result as JSON.
 * When the batch as a whole fails, all of its calls reject. A call that is aborted rejects alone, and is not sent if it
 * has not been. Redirects are not followed.
 *
 * @param url where the batch route is; only paths of its origin can be called
 * @returns a function as `fetch`, which rejects with a TypeError for another origin
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

/** The body goes as bytes, so that the route reads what was given, and nothing in it is taken for a reference. */
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
  // The types whose bodies the server carries as JSON.
  const isJson = /^\w+n\/(.*\+)?json(;|$)/.test(headers['content-type']!)
  return new Response(
    encoding ? Uint8Array.from(atob(body as string), char => char.charCodeAt(0)) : isJson ? JSON.stringify(body) : body as string,
    { status, headers }
  )
}
