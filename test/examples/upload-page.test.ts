// The upload page in Chromium, with real files.
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import t from 'tap'
import { hasBrowser, openUploadPage, startBrowser, type OpenPage } from '../fixtures/browser.js'
import { saveScreenshot } from '../fixtures/screenshot.js'
import { skipUnless } from '../fixtures/skip.js'
import { waitFor } from '../fixtures/wait.js'

const skip = skipUnless(await hasBrowser(), 'Chromium')
const browser = skip === false ? await startBrowser(t) : undefined

const small = 'a small file\n'
const large = 'x'.repeat(2049)

/** The name and the verdict of each file, as text. */
async function readVerdicts (page: Page): Promise<Record<string, string>> {
  const rows = await page.getByRole('listitem').all()
  return Object.fromEntries(await Promise.all(rows.map(async row =>
    [await row.locator('.name').innerText(), await row.locator('.verdict').innerText()])))
}

/** The value of each progress bar by its name, the total first. */
async function readBars (page: Page): Promise<Record<string, number>> {
  return page.evaluate(`Object.fromEntries([...document.querySelectorAll('progress')]
    .filter(bar => bar.checkVisibility())
    .map(bar => [bar.labels[0]?.innerText ?? document.getElementById(bar.getAttribute('aria-labelledby')).innerText, bar.value]))`)
}

/** The colour and the sign of each verdict. */
async function readLooks (page: Page): Promise<string[][]> {
  return page.evaluate(`[...document.querySelectorAll('.verdict')]
    .map(verdict => [getComputedStyle(verdict).color, getComputedStyle(verdict, '::before').content])`)
}

async function choose (page: Page, paths: string[]): Promise<void> {
  const chooser = page.waitForEvent('filechooser')
  await page.getByRole('button', { name: 'Choose files' }).click()
  await (await chooser).setFiles(paths)
}

async function hasSummary (page: Page, summary: string): Promise<void> {
  await page.getByRole('status').getByText(summary, { exact: true }).waitFor()
}

/** Drops the files at these paths on the page. */
async function dropFiles (page: Page, files: string[]): Promise<void> {
  const session = await page.context().newCDPSession(page)
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
    await session.send('Input.dispatchDragEvent', { type, x: 5, y: 5, data: { items: [], files, dragOperationsMask: 1 } })
  }
}

/** Delays uploads, unread, until they are released. */
function createGate () {
  const held: (() => void)[] = []
  let open = false
  return {
    front: (server: RequestListener): RequestListener => (request, response) => {
      if (open || request.method !== 'POST') return server(request, response)
      held.push(() => server(request, response))
    },
    isHolding: () => held.length > 0,
    release () {
      open = true
      for (const go of held) go()
    }
  }
}

/** Answers the first upload in place of the server. */
function answerFirst (status: number, type: string, body: string) {
  let answered = false
  return (server: RequestListener): RequestListener => (request, response) => {
    if (answered || request.method !== 'POST') return server(request, response)
    answered = true
    request.resume().once('end', () => response.writeHead(status, { 'content-type': type }).end(body))
  }
}

/** The texts whose contrast with their background is below 4.5, by the formula of WCAG. */
const FAINT_TEXTS = `
  (() => {
    const channels = color => color.match(/[\\d.]+/g).map(Number)
    const luminance = color => channels(color).slice(0, 3)
      .map(value => value / 255).map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
      .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0)
    const ground = element => {
      const color = getComputedStyle(element).backgroundColor
      return channels(color)[3] === 0 ? ground(element.parentElement) : color
    }
    return [...document.querySelectorAll('body *')]
      .filter(element => element.checkVisibility() && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim() !== ''))
      .flatMap(element => {
        const [dark, light] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => a - b)
        const contrast = (light + 0.05) / (dark + 0.05)
        return contrast < 4.5 ? [element.textContent + ' ' + contrast] : []
      })
  })()`

t.test('the upload page', { skip }, async t => {
  const open = (t: Parameters<typeof openUploadPage>[0], options?: Parameters<typeof openUploadPage>[2]): Promise<OpenPage> =>
    openUploadPage(t, browser!, options)

  t.test('uploads two of three files if the middle one is too large', async t => {
    const { page, write, stored, errors } = await open(t)
    const binary = Buffer.from(Array.from({ length: 2048 }, (_, index) => index % 256))

    await choose(page, await write({ 'first.txt': small, 'second.txt': large, 'third.bin': binary }))
    await hasSummary(page, '2 of 3 files uploaded, 1 failed.')

    t.strictSame(await readVerdicts(page), {
      'first.txt': 'Uploaded', 'second.txt': 'Failed: File too large', 'third.bin': 'Uploaded'
    })
    t.strictSame(await stored(), [small, binary.toString('latin1')].sort())
    t.equal(await page.getByRole('button', { name: 'Retry' }).count(), 0, 'there is nothing to retry')
    t.equal(await page.getByRole('progressbar').count(), 0)
    t.equal(await page.getByRole('alert').innerText(), '')
    t.strictSame(errors, [])
  })

  t.test('shows a verdict for each of two files with the same name', async t => {
    const { page, stored } = await open(t)
    const files = [large, small, large].map(content => ({ name: 'twin.txt', mimeType: 'text/plain', buffer: Buffer.from(content) }))

    await page.locator('#input').setInputFiles(files)
    await hasSummary(page, '1 of 3 files uploaded, 2 failed.')

    t.strictSame(await page.locator('.verdict').allInnerTexts(), ['Failed: File too large', 'Uploaded', 'Failed: File too large'])
    t.strictSame(await stored(), [small])
  })

  t.test('shows a colour and an icon with each verdict', async t => {
    const { page, write } = await open(t)
    await choose(page, await write({ 'notes.txt': small, 'novel.txt': large }))
    await hasSummary(page, '1 of 2 files uploaded, 1 failed.')

    t.strictSame(await readLooks(page), [['rgb(20, 105, 47)', '"✓\u00a0" / ""'], ['rgb(179, 38, 30)', '"✕\u00a0" / ""']])
  })

  t.test('uploads files that are dropped anywhere, and skips folders', async t => {
    const { page, uploads, write, stored, errors } = await open(t)
    const folder = join(uploads, '..', 'files', 'folder')
    await mkdir(folder)
    const [first, last] = await write({ 'first.txt': small, 'last.txt': 'last' }) as [string, string]

    await dropFiles(page, [first, folder, last])
    await hasSummary(page, '2 of 3 files uploaded, 1 failed.')

    t.strictSame(await readVerdicts(page), {
      'first.txt': 'Uploaded',
      folder: 'Failed: it cannot be read, because it is a folder, or was moved or changed',
      'last.txt': 'Uploaded'
    })
    t.strictSame(await stored(), [small, 'last'])
    t.strictSame(errors, [])
  })

  t.test('shows progress for each file and in total', async t => {
    const gate = createGate()
    const { page, write, stored } = await open(t, { fileSizeLimit: '40mb', front: gate.front })
    const film = Buffer.alloc(30_000_000, 'film')

    await choose(page, await write({ 'first.txt': small, 'film.mp4': film, 'last.txt': 'last' }))
    await waitFor('the first bytes', async () => (await readBars(page))['film.mp4']! > 0)

    const bars = await readBars(page)
    t.strictSame(Object.keys(bars), ['All files', 'first.txt', 'film.mp4', 'last.txt'])
    t.equal(bars['first.txt'], 1)
    t.ok(bars['film.mp4']! < 1, `${bars['film.mp4']} of the film is sent`)
    t.equal(bars['last.txt'], 0)
    t.ok(Math.abs(bars['All files']! - bars['film.mp4']!) < 0.01, 'nearly all of all is the film')
    t.strictSame(await readVerdicts(page), { 'first.txt': 'Sent, not confirmed yet', 'film.mp4': 'Sending', 'last.txt': 'Sending' })
    t.equal(await page.getByRole('status').innerText(), 'Uploading 3 files.')

    gate.release()
    await hasSummary(page, '3 of 3 files uploaded.')
    t.strictSame(await stored(), [small, film.toString('latin1'), 'last'].sort())
  })

  t.test('queues files that are added during an upload', async t => {
    const gate = createGate()
    const { page, write, stored } = await open(t, { front: gate.front })

    await choose(page, await write({ 'first.txt': small }))
    await hasSummary(page, 'Everything is sent. Waiting for the server.')
    await choose(page, await write({ 'second.txt': 'second' }))
    t.strictSame(await readVerdicts(page), { 'first.txt': 'Sent, not confirmed yet', 'second.txt': 'Waiting' })

    gate.release()
    await hasSummary(page, '2 of 2 files uploaded.')
    t.strictSame(await stored(), [small, 'second'])
  })

  t.test('retries only retryable files', async t => {
    const { page, uploads, write, stored, errors } = await open(t)
    const [good, bad, unlucky] = await write({ 'notes.txt': small, 'novel.txt': large, 'letter.txt': 'unlucky' }) as [string, string, string]
    await choose(page, [good])
    await hasSummary(page, '1 of 1 file uploaded.')
    await rename(uploads, `${uploads}-away`)
    await writeFile(uploads, 'no directory')

    await choose(page, [bad, unlucky])
    await hasSummary(page, '1 of 3 files uploaded, 2 failed.')
    t.strictSame(await readVerdicts(page), {
      'notes.txt': 'Uploaded', 'novel.txt': 'Failed: File too large', 'letter.txt': 'Failed, can be retried: Storage failed'
    })
    await saveScreenshot(page, page.locator('body'), 'upload-page.png')

    await rm(uploads)
    await rename(`${uploads}-away`, uploads)
    const answer = page.waitForResponse('**/upload')
    await page.getByRole('button', { name: 'Retry failed (1)' }).click()
    t.equal((await answer).headers()['multi-status'], 'total=1, succeeded=1, failed=0')
    await hasSummary(page, '2 of 3 files uploaded, 1 failed.')
    t.strictSame(await readVerdicts(page), {
      'notes.txt': 'Uploaded', 'novel.txt': 'Failed: File too large', 'letter.txt': 'Uploaded'
    })
    t.strictSame(await stored(), [small, 'unlucky'])
    t.equal(await page.getByRole('button', { name: 'Retry' }).count(), 0)
    t.strictSame(errors, [])
  })

  t.test('works with the keyboard alone', async t => {
    const gate = createGate()
    const { page, write, stored } = await open(t, { front: gate.front })
    const focused = () => page.evaluate('document.activeElement.textContent')

    const chooser = page.waitForEvent('filechooser')
    await page.keyboard.press('Tab')
    t.equal(await focused(), 'Choose files')
    t.equal(await page.evaluate('getComputedStyle(document.activeElement).outlineWidth'), '3px', 'the focus is seen')
    await page.keyboard.press('Enter')
    await (await chooser).setFiles(await write({ 'first.txt': small, 'second.txt': large }))
    await waitFor('the request', gate.isHolding)

    await page.keyboard.press('Tab')
    t.equal(await focused(), 'Cancel')
    await page.keyboard.press('Space')
    await hasSummary(page, '0 of 2 files uploaded, 2 not confirmed.')
    t.equal(await focused(), '0 of 2 files uploaded, 2 not confirmed.', 'the focus goes from the button that is gone to the outcome')
    t.strictSame(await readVerdicts(page), { 'first.txt': 'Not confirmed, can be retried', 'second.txt': 'Not confirmed, can be retried' })
    t.equal(await page.getByRole('alert').innerText(), 'The upload was cancelled. It is not known which of these files have arrived.')

    gate.release()
    await page.keyboard.press('Tab')
    t.equal(await focused(), 'Retry failed (2)')
    await page.keyboard.press('Enter')
    await hasSummary(page, '1 of 2 files uploaded, 1 failed.')
    t.equal(await focused(), '1 of 2 files uploaded, 1 failed.')
    t.equal(await page.getByRole('alert').innerText(), '')
    t.ok((await stored()).includes(small))
  })

  t.test('sends nothing if it is cancelled at once', async t => {
    const { page, stored } = await open(t)
    const requests: string[] = []
    page.on('request', request => requests.push(request.method()))

    await page.evaluate(`{
      const choice = new DataTransfer()
      choice.items.add(new File(['content'], 'file.txt'))
      const input = document.getElementById('input')
      input.files = choice.files
      input.dispatchEvent(new Event('change'))
      document.getElementById('cancel').click()
    }`)
    await hasSummary(page, '0 of 1 file uploaded, 1 not confirmed.')

    t.strictSame(requests, [])
    t.strictSame(await stored(), [])
  })

  t.test('gives every element a name for screen readers', async t => {
    const gate = createGate()
    const { page, write } = await open(t, { front: gate.front })
    t.equal(await page.locator('body').ariaSnapshot(), `\
- main:
  - heading "Upload files" [level=1]
  - paragraph: "Every file gets its own answer: one that fails does not cost another."
  - paragraph: Drop files here, or
  - button "Choose files"
  - alert
  - region "Progress":
    - status: No files yet.
    - list "Files"`)

    await choose(page, await write({ 'notes.txt': small, 'novel.txt': large }))
    await hasSummary(page, 'Everything is sent. Waiting for the server.')
    t.equal(await page.getByRole('region').ariaSnapshot(), `\
- region "Progress":
  - status: Everything is sent. Waiting for the server.
  - text: All files
  - progressbar "All files"
  - button "Cancel"
  - list "Files":
    - listitem:
      - text: notes.txt 13 bytes
      - progressbar "notes.txt"
      - paragraph: Sent, not confirmed yet
    - listitem:
      - text: novel.txt 2 kB
      - progressbar "novel.txt"
      - paragraph: Sent, not confirmed yet`)

    gate.release()
    await hasSummary(page, '1 of 2 files uploaded, 1 failed.')
    t.equal(await page.getByRole('region').ariaSnapshot(), `\
- region "Progress":
  - status: 1 of 2 files uploaded, 1 failed.
  - list "Files":
    - listitem:
      - text: notes.txt 13 bytes
      - paragraph: Uploaded
    - listitem:
      - text: novel.txt 2 kB
      - paragraph: "Failed: File too large"`)
  })

  t.test('explains a refused upload, and lets the user retry it', async t => {
    const front = answerFirst(413, 'text/html', '<h1>413 Request Entity Too Large</h1>')
    const { page, write, stored } = await open(t, { front })

    await choose(page, await write({ 'first.txt': small, 'second.txt': 'second' }))
    await hasSummary(page, '0 of 2 files uploaded, 2 failed.')
    t.equal(await page.getByRole('alert').innerText(), 'The server refused the whole upload: it is too large (413).')
    t.strictSame(await readVerdicts(page), {
      'first.txt': 'Failed, can be retried: the whole upload was refused',
      'second.txt': 'Failed, can be retried: the whole upload was refused'
    })

    await page.getByRole('button', { name: 'Retry failed (2)' }).click()
    await hasSummary(page, '2 of 2 files uploaded.')
    t.equal(await page.getByRole('alert').innerText(), '')
    t.strictSame(await stored(), [small, 'second'])
  })

  for (const [what, status, type, body, explanation] of [
    ['an error of the application', 401, 'application/json', '{"message":"Sign in first"}',
      'The server refused the whole upload: Sign in first (401).'],
    ['an error without a reason', 400, 'text/plain', 'Bad Request', 'The server refused the whole upload: no reason given (400).'],
    ['a gateway that lost the server', 502, 'text/html', '<h1>Bad Gateway</h1>',
      'The server could not answer (502). It is not known which of these files have arrived.'],
    ['a page in place of an answer', 200, 'text/html', '<h1>Sign in</h1>',
      'The server’s answer could not be understood. It is not known which of these files have arrived.'],
    ['more results than files', 207, 'application/json', '{"results":[{"file":"a","status":"uploaded"},{"file":"b","status":"uploaded"}]}',
      'The server’s answer could not be understood. It is not known which of these files have arrived.']
  ] as const) {
    t.test(`explains ${what}, and lets the user retry the file`, async t => {
      const { page, write, stored } = await open(t, { front: answerFirst(status, type, body) })

      await choose(page, await write({ 'file.txt': small }))
      await page.getByRole('alert').getByText(explanation, { exact: true }).waitFor()
      await page.getByRole('button', { name: 'Retry failed (1)' }).click()

      await hasSummary(page, '1 of 1 file uploaded.')
      t.strictSame(await stored(), [small])
    })
  }

  t.test('shows files as unconfirmed after a lost connection, and lets the user retry them', async t => {
    let connected = false
    const { page, write, stored } = await open(t, {
      front: server => (request, response) => {
        if (connected || request.method !== 'POST') return server(request, response)
        request.once('data', () => request.destroy())
      }
    })

    await choose(page, await write({ 'first.txt': small, 'second.txt': large }))
    await hasSummary(page, '0 of 2 files uploaded, 2 not confirmed.')
    t.equal(await page.getByRole('alert').innerText(),
      'The server could not be reached, or the connection to it was lost. It is not known which of these files have arrived.')
    t.strictSame(await stored(), [])

    connected = true
    await page.getByRole('button', { name: 'Retry failed (2)' }).click()
    await hasSummary(page, '1 of 2 files uploaded, 1 failed.')
    t.strictSame(await readVerdicts(page), { 'first.txt': 'Uploaded', 'second.txt': 'Failed: File too large' })
    t.strictSame(await stored(), [small])
  })

  t.test('uploads the other files if one has changed since it was chosen', async t => {
    const gate = createGate()
    const { page, write, stored } = await open(t, { front: gate.front })
    await choose(page, await write({ 'first.txt': small, 'changing.txt': 'before', 'last.txt': 'last' }))
    await waitFor('the request', gate.isHolding)
    await page.getByRole('button', { name: 'Cancel' }).click()
    gate.release()
    await write({ 'changing.txt': 'after, and longer' })

    await page.getByRole('button', { name: 'Retry failed (3)' }).click()
    await hasSummary(page, '2 of 3 files uploaded, 1 failed.')

    t.strictSame(await readVerdicts(page), {
      'first.txt': 'Uploaded',
      'changing.txt': 'Failed: it cannot be read, because it is a folder, or was moved or changed',
      'last.txt': 'Uploaded'
    })
    t.notOk((await stored()).includes('after, and longer'))
  })

  t.test('lets the user retry files beyond the server\'s limit', async t => {
    const { page, stored } = await open(t)
    const files = Array.from({ length: 1103 }, (_, index) => ({ name: `${index}.txt`, mimeType: 'text/plain', buffer: Buffer.from(`${index}`) }))

    await page.locator('#input').setInputFiles(files)
    await hasSummary(page, '100 of 1103 files uploaded, 1003 failed.')
    t.strictSame(await page.locator('.verdict').allInnerTexts(), [
      ...Array<string>(100).fill('Uploaded'),
      ...Array<string>(1001).fill('Failed, can be retried: Too many files'),
      ...Array<string>(2).fill('Failed, can be retried: the server did not read this far')
    ])

    await page.getByRole('button', { name: 'Retry failed (1003)' }).click()
    await hasSummary(page, '200 of 1103 files uploaded, 903 failed.')
    t.strictSame(await stored(), files.slice(0, 200).map(({ name }) => name.replace('.txt', '')).sort())
  })

  t.test('shows any file name unchanged', async t => {
    const { page, write, errors } = await open(t)
    const names = ['<img src=x onerror="document.title=1">.txt', '\u202egnp.exe', 'ä 日本 🎉.txt']

    await choose(page, await write(Object.fromEntries(names.map(name => [name, small]))))
    await page.getByRole('status').getByText('of 3 files uploaded').waitFor()

    t.strictSame(await page.locator('.name').allTextContents(), names)
    t.equal(await page.title(), 'Upload files')
    t.equal(await page.locator('img').count(), 0)
    t.strictSame(errors, [])
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    t.test(`is readable in ${colorScheme} colours and on a phone, also with long names`, async t => {
      const { page, write } = await open(t, {
        context: { colorScheme, viewport: { width: 320, height: 640 } }, front: answerFirst(413, 'text/plain', '')
      })
      await choose(page, await write({ [`${'long'.repeat(40)}.txt`]: small, 'novel.txt': large }))
      await hasSummary(page, '0 of 2 files uploaded, 2 failed.')
      t.strictSame(await page.evaluate(FAINT_TEXTS), [])

      await page.getByRole('button', { name: 'Retry failed (2)' }).click()
      await hasSummary(page, '1 of 2 files uploaded, 1 failed.')
      t.strictSame(await page.evaluate(FAINT_TEXTS), [])
      t.equal(await page.evaluate('document.documentElement.scrollWidth'), 320)
      t.equal(await page.evaluate('getComputedStyle(document.body).backgroundColor'),
        { light: 'rgb(255, 255, 255)', dark: 'rgb(20, 23, 27)' }[colorScheme])
    })
  }

  t.test('serves only the page, with or without a trailing slash', async t => {
    const { page } = await open(t)
    const statuses = await Promise.all(['', '/', '/page.js', '/route.ts', '/../server.ts', '/%2e%2e/route.ts'].map(async path =>
      (await page.request.get(new URL(page.url()).origin + '/upload-page' + path)).status()))
    t.strictSame(statuses, [200, 200, 200, 404, 404, 404])
  })
})
