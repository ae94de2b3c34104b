// Swagger UI in a real browser: what a developer sees who opens /documentation and tries out an upload and some tasks.
import type { Locator, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { sendAsLine } from '../../../lib/core/openapi/documents.js'
import { hasBrowser, openApp, startBrowser } from '../../fixtures/browser.js'
import { saveScreenshot } from '../../fixtures/screenshot.js'
import { skipUnless } from '../../fixtures/skip.js'

const skip = skipUnless(await hasBrowser(), 'Chromium')
const browser = skip === false ? await startBrowser(t) : undefined

const open = (t: Test) => openApp(t, browser!, '/documentation', { context: { viewport: { width: 1100, height: 900 } } })

interface Shown { status: string, header: string | undefined, body: { [member: string]: unknown } }

/** Opens an operation and asks to try it out. */
async function tryOut (page: Page, path: string): Promise<Locator> {
  const operation = page.locator('.opblock-post', { has: page.locator(`[data-path="${path}"]`) })
  await operation.locator('.opblock-summary-control').click()
  await operation.getByRole('button', { name: 'Try it out' }).click()
  return operation
}

/** Sends what has been filled in, and gives what Swagger UI shows of the answer. */
async function execute (operation: Locator): Promise<Shown> {
  await operation.getByRole('button', { name: 'Execute' }).click()
  const answer = operation.locator('.live-responses-table .response')
  await answer.locator('.response-col_description .highlight-code code').first().waitFor()
  const headers = await answer.locator('.headerline').allInnerTexts()
  return {
    status: (await answer.locator('.response-col_status').innerText()).trim(),
    header: headers.map(line => line.trim()).find(line => line.startsWith('multi-status:')),
    body: JSON.parse(await answer.locator('.response-col_description .highlight-code code').innerText())
  }
}

async function chooseFiles (operation: Locator, paths: string[]): Promise<void> {
  for (const [index, path] of paths.entries()) {
    if (index > 0) await operation.getByRole('button', { name: 'Add string item' }).click()
    await operation.locator('input[type=file]').nth(index).setInputFiles(path)
  }
}

t.test('an upload of two files, as the form comes, shows the 207 with the one that is stored and the one that is not', { skip }, async t => {
  const { page, write, stored, errors } = await open(t)
  const operation = await tryOut(page, '/upload')
  await chooseFiles(operation, await write({ 'notes.txt': 'hello\n', 'novel.txt': 'x'.repeat(2049) }))

  const { status, header, body } = await execute(operation)

  t.equal(status, '207')
  t.equal(header, 'multi-status: total=2,succeeded=1,failed=1')
  t.match(body, {
    results: [
      { file: 'notes.txt', status: 'uploaded', key: String, size: 6, type: 'text/plain', sha256: String },
      { file: 'novel.txt', status: 'failed', error: 'File too large', code: 'FILE_TOO_LARGE', statusCode: 413, retryable: false }
    ]
  })
  t.strictSame(await stored(), ['hello\n'])
  t.strictSame(errors, [])
  await saveScreenshot(page, operation.locator('.live-responses-table'), 'swagger-ui.png')
})

t.test('the example of a batch of tasks, sent as it is, shows the 207 with both branches', { skip }, async t => {
  const { page, errors } = await open(t)
  const operation = await tryOut(page, '/tasks')

  const { status, header, body } = await execute(operation)

  t.equal(status, '207')
  t.equal(header, 'multi-status: total=4,succeeded=3,failed=1')
  t.match(body, {
    tasks: [
      { taskId: 101, status: 'completed' },
      { taskId: 102, status: 'completed' },
      { taskId: 103, status: 'failed', reason: 'No such image', code: 'ITEM_FAILED' },
      { taskId: 104, status: 'completed' }
    ]
  })
  t.strictSame(errors, [])
})

t.test('the example of an upload in JSON, sent as it is, stores its files', { skip }, async t => {
  const { page, stored } = await open(t)
  const operation = await tryOut(page, '/upload')
  await operation.getByLabel('Request content type').selectOption('application/json')

  const { status, header } = await execute(operation)

  t.equal(status, '207')
  t.equal(header, 'multi-status: total=2,succeeded=2,failed=0')
  t.strictSame(await stored(), ['', 'hello'])
})

t.test('the example of a stream, which stands in several lines, is sent as one item', { skip }, async t => {
  const { page } = await open(t)
  const operation = await tryOut(page, '/contacts/stream')
  await operation.getByRole('button', { name: 'Execute' }).click()
  const answer = operation.locator('.live-responses-table .highlight-code code')

  t.match(await answer.first().innerText(), '{"index":0,"email":"ada@example.org","status":"created","contactId":1}\n{"summary":{"total":1,"succeeded":1,"failed":0}}')
})

t.test('only a body that is one JSON value is put into one line, and only for a stream', async t => {
  const lines = (body: string, type = 'application/x-ndjson') => sendAsLine({ headers: { 'Content-Type': type }, body }).body

  t.equal(lines('{\n  "id": 1\n}'), '{"id":1}')
  t.equal(lines('{"id":1}\n{"id":2}\n'), '{"id":1}\n{"id":2}\n')
  t.equal(lines('{\n  "id": 1\n}', 'application/json'), '{\n  "id": 1\n}')
  t.strictSame(sendAsLine({}), {})
})

t.test('the operations come under the tags that say what they are for, and every type of an answer has a name', { skip }, async t => {
  const { page } = await open(t)
  const tags = page.locator('.opblock-tag')
  await tags.first().waitFor()

  t.strictSame((await tags.allInnerTexts()).map(text => text.replace(/\s+/g, ' ').trim()),
    ['contacts Creates contacts', 'upload Stores files', 'tasks Runs tasks of registered types'])
  const names = await page.locator('section.models .json-schema-2020-12__title').allInnerTexts()
  for (const name of ['FileUploaded', 'FileFailed', 'TaskCompleted', 'TaskFailed', 'ContactCreated', 'ContactRejected']) t.ok(names.includes(name), name)
})
