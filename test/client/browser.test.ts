// The client in a real browser, at a real server.
import { join } from 'node:path'
import { build as bundle } from 'esbuild'
import t from 'tap'
import type { Page } from 'playwright-core'
import { hasBrowser, startBrowser } from '../fixtures/browser.js'
import { startHttpServer } from '../fixtures/http-server.js'
import { root } from '../fixtures/root.js'
import { skipUnless } from '../fixtures/skip.js'

const body = { tasks: [{ taskId: 1, status: 'completed' }, { taskId: 2, status: 'failed', reason: 'Timeout', retryable: true }] }
const lines = ['{"index":1,"taskId":2,"status":"failed","reason":"Zeit","retryable":true}', '{"index":0,"taskId":1,"status":"completed"}']
const summary = '{"summary":{"total":2,"succeeded":1,"failed":1}}'
const event = (index: number) => `id: ${index}\nevent: result\ndata: ${JSON.stringify({ index, result: body.tasks[index], summary: { total: 2, succeeded: 1, failed: index, pending: 1 - index } })}\n\n`

t.test('streams, events, polls and retries', { skip: skipUnless(await hasBrowser(), 'Chromium') }, async t => {
  const { outputFiles: [client] } = await bundle({
    entryPoints: [join(root, 'lib/client/index.ts')], bundle: true, minify: true, format: 'esm', platform: 'browser', write: false
  })
  const requests: { url: string, key?: string, lastId?: string }[] = []
  const count = (url: string) => requests.filter(request => request.url === url).length
  const address = await startHttpServer(t, async (request, response) => {
    const url = request.url!
    requests.push({ url, key: request.headers['idempotency-key'] as string, lastId: request.headers['last-event-id'] as string })
    const send = (type: string, text: string, status = 200) => response.writeHead(status, { 'content-type': type }).end(text)
    if (url === '/') return send('text/html', '<!doctype html><title>client</title>')
    if (url === '/client.js') return send('text/javascript', client!.text)
    if (url === '/stream') return send('application/x-ndjson', [...lines, summary].join('\n'))
    if (url === '/cut') {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      return response.write(`${lines[0]}\n${lines[1]!.slice(0, 9)}`, () => setTimeout(() => response.destroy(), 50))
    }
    if (url === '/live/events') return send('text/event-stream', count(url) === 1 ? event(0) : `${event(1)}event: done\ndata: {}\n\n`)
    if (url === '/live' && count(url) === 1) return response.writeHead(202, { 'retry-after': '0' }).end('{"summary":{"pending":1}}')
    if (url === '/polled/events') return send('text/html', 'nothing here', 404)
    if (url === '/lost' && count(url) === 1) return request.socket.destroy()
    if (url === '/lost' && count(url) === 3) return send('application/json', '{"tasks":[{"taskId":2,"status":"completed"}]}', 207)
    send('application/json', JSON.stringify(body), 207)
  })
  const browser = await startBrowser(t)
  const page = await browser.newPage()
  await page.goto(address)

  t.strictSame(await run(page, `const told = []
    for await (const result of client.readStream(await fetch('/stream'))) told.push(result)
    return told`), lines.map(line => JSON.parse(line)))

  t.match(await run(page, `const told = []
    try {
      for await (const result of client.readStream(await fetch('/cut'))) told.push(result.index)
    } catch (error) { return { told, name: error.name, isCut: error instanceof client.StreamCutError } }`),
  { told: [1], name: 'StreamCutError', isCut: true })

  const watch = (url: string) => run(page, `const told = []
    for await (const event of client.watchBatch('${url}', { silence: 5000 })) told.push(event.type === 'result' ? event.index : event.type)
    return told`)
  t.strictSame(await watch('/live'), [0, 'progress', 1, 'done'])
  t.strictSame(requests.filter(({ url }) => url === '/live/events').map(({ lastId }) => lastId), [undefined, '0'])
  t.strictSame(await watch('/polled'), [0, 1, 'done'])

  t.strictSame(await run(page, `const results = await client.retryFailed((tasks, { idempotencyKey, signal }) => fetch('/lost', {
      method: 'POST', body: JSON.stringify({ tasks }), headers: { 'idempotency-key': idempotencyKey }, signal
    }), [{ taskId: 1 }, { taskId: 2 }], { backoff: 1 })
    return client.partition(results)`),
  { succeeded: [{ taskId: 1, status: 'completed' }, { taskId: 2, status: 'completed' }], failed: [], retryable: [] })
  const [lost, again, subset] = requests.filter(({ url }) => url === '/lost').map(({ key }) => key)
  t.ok(lost)
  t.equal(again, lost)
  t.not(subset, lost)
})

/** Runs code in the page, where `client` is the client. */
async function run (page: Page, code: string): Promise<unknown> {
  return page.evaluate(`(async () => { const client = await import('/client.js'); ${code} })()`)
}
