// readStream: yields the results of a streamed batch, and detects a cut stream.
import type { RequestListener, ServerResponse } from 'node:http'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { readStream, type Summary } from '../../lib/client/index.js'
import { startHttpServer } from '../fixtures/http-server.js'

const first = '{"index":1,"id":2,"status":"success"}'
const second = '{"index":0,"id":1,"status":"error","message":"Nö","summary":"of its own"}'
const summary = '{"summary":{"total":2,"succeeded":1,"failed":1}}'

interface ItemResult { id: number, status: 'success' | 'error', message?: string }

/** Answers with these chunks, each sent after the one before. */
function answering (pieces: (string | Buffer)[], end: (response: ServerResponse) => unknown = response => response.end()): RequestListener {
  return async (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson; charset=utf-8' })
    for (const piece of pieces) await new Promise(resolve => response.write(piece, resolve))
    end(response)
  }
}

async function readAll (response: Response): Promise<{ results: (ItemResult & { index: number })[], summary?: Summary, error?: unknown }> {
  const results: (ItemResult & { index: number })[] = []
  try {
    const stream = readStream<ItemResult>(response)
    while (true) {
      const { done, value } = await stream.next()
      if (done) return { results, summary: value }
      results.push(value)
    }
  } catch (error) {
    return { results, error }
  }
}

async function read (t: Test, listener: RequestListener) {
  return readAll(await fetch(await startHttpServer(t, listener)))
}

t.test('yields results in completion order and returns the summary, wherever chunks end', async t => {
  const bytes = Buffer.from([first, second, summary, ''].join('\n'))
  const expected = { results: [JSON.parse(first), JSON.parse(second)], summary: { total: 2, succeeded: 1, failed: 1 } }

  for (const size of [1, 7, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size))
    t.strictSame(await read(t, answering(pieces)), expected)
  }
  t.strictSame(await read(t, answering([`${first}\r\n${second}\r\n${summary}`])), expected)
})

t.test('yields each result before the next one is sent', async t => {
  let goOn = () => {}
  const url = await startHttpServer(t, async (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    for (const line of [first, second, summary]) {
      response.write(`${line}\n`)
      await new Promise<void>(resolve => { goOn = resolve })
    }
    response.end()
  })
  const indexes: number[] = []
  for await (const { index } of readStream(await fetch(url))) {
    indexes.push(index)
    goOn()
  }
  t.strictSame(indexes, [1, 0])
})

t.test('throws StreamCutError after the results of a stream that ends early', async t => {
  const faults: Record<string, RequestListener> = {
    'before the summary': answering([`${first}\n`]),
    'within a line': answering([`${first}\n{"index":0,"id`]),
    'within a line, with the connection': answering([`${first}\n{"index":0,"id`], response => response.destroy()),
    'by garbage': answering([`${first}\n<html>Bad gateway</html>\n${summary}\n`]),
    'by what is neither result nor summary': answering([`${first}\nnull\n`]),
    'with a line missing': answering([`${first}\n${summary}\n`])
  }
  for (const [what, listener] of Object.entries(faults)) {
    const { results, summary, error } = await read(t, listener)
    t.strictSame(results, [JSON.parse(first)], what)
    t.equal(summary, undefined)
    t.match(error, { name: 'StreamCutError', received: 1, message: 'The stream was cut after 1 results' }, what)
  }
})

t.test('throws ResponseError for a response that is not a stream', async t => {
  const { error } = await read(t, (_request, response) => {
    response.writeHead(413, { 'content-type': 'application/json' }).end('{"statusCode":413,"message":"Expected at most 2 items"}')
  })
  t.match(error, { name: 'ResponseError', status: 413, message: 'Received 413 Expected at most 2 items', body: { statusCode: 413 } })

  const html = await read(t, (_request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html></html>'))
  t.match(html.error, { name: 'ResponseError', status: 200, message: 'Received 200 OK', body: undefined })
})

t.test('ends the request when the loop is left, and throws the AbortError of an abort', async t => {
  const closed: Promise<unknown>[] = []
  const url = await startHttpServer(t, (_request, response) => {
    closed.push(once(response, 'close'))
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write(`${first}\n`)
  })

  let told = 0
  for await (const { index } of readStream(await fetch(url))) {
    told++
    if (index === 1) break
  }
  t.equal(told, 1)
  await closed[0]

  const controller = new AbortController()
  const stream = readStream(await fetch(url, { signal: controller.signal }))
  await stream.next()
  controller.abort()
  await t.rejects(stream.next(), { name: 'AbortError' })
  await closed[1]
})
