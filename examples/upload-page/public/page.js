// What the page does: takes files, sends them in rounds, and says what became of each.
import { isReadable, send, UNREADABLE } from './send.js'

const UPLOAD = new URL('../upload', document.baseURI).href

const find = id => document.getElementById(id)
const [drop, choose, input, error, summary, overall, total, percent, cancel, retry, list, template] = [
  'drop', 'choose', 'input', 'error', 'summary', 'overall', 'total', 'percent', 'cancel', 'retry', 'files', 'file'
].map(find)

/** Every file so far; its state is waiting, sending, or that of its verdict. */
const entries = []

const WAITING = { state: 'waiting', retryable: false, words: 'Waiting' }
const SENDING = { state: 'sending', retryable: false, words: 'Sending' }

/** Cancels what is being sent; undefined when nothing is. */
let sending

choose.addEventListener('click', () => input.click())
input.addEventListener('change', () => {
  const files = [...input.files]
  input.value = ''
  add(files)
})
cancel.addEventListener('click', () => sending.abort())
retry.addEventListener('click', () => {
  for (const entry of entries.filter(({ retryable }) => retryable)) update(entry, WAITING)
  run()
})
for (const type of ['dragover', 'dragleave', 'drop']) document.addEventListener(type, onDrag)
window.addEventListener('beforeunload', event => { if (sending !== undefined) event.preventDefault() })

function onDrag (event) {
  // Anywhere on the page, so that a near miss does not open the file instead.
  event.preventDefault()
  drop.classList.toggle('over', event.type === 'dragover')
  if (event.type === 'drop') add(event.dataTransfer.files)
}

function add (files) {
  if (files.length === 0) return
  for (const file of files) entries.push(createEntry(file))
  run()
}

function createEntry (file) {
  const row = template.content.cloneNode(true).firstElementChild
  const [name, size, progress, verdict] = row.children
  name.textContent = file.name
  name.id = `name-${entries.length}`
  size.textContent = formatSize(file.size)
  progress.setAttribute('aria-labelledby', name.id)
  list.append(row)
  const entry = { file, row, progress, verdict }
  update(entry, WAITING)
  return entry
}

function update (entry, { state, retryable, words }) {
  entry.state = state
  entry.retryable = retryable
  entry.row.dataset.state = state
  entry.verdict.textContent = words
  entry.progress.value = 0
  entry.progress.hidden = state !== 'waiting' && state !== 'sending'
}

function takeWaiting () {
  const round = entries.filter(entry => entry.state === 'waiting')
  for (const entry of round) update(entry, SENDING)
  return round
}

/** Sends what waits, round after round; files that come meanwhile wait for the next. */
async function run () {
  if (sending !== undefined) return
  error.textContent = ''
  for (let round = takeWaiting(); round.length > 0; round = takeWaiting()) {
    sending = new AbortController()
    showActions()
    const failure = await sendRound(round, sending.signal)
    if (failure !== undefined) error.textContent = failure
  }
  sending = undefined
  showActions()
  summary.textContent = summarize()
}

async function sendRound (round, signal) {
  summary.textContent = `Uploading ${inWords(round.length)}.`
  showTotal(0)
  const readable = await withoutUnreadable(round)
  if (readable.length === 0) return
  const onProgress = ({ all, each }) => {
    showTotal(all)
    for (const [index, entry] of readable.entries()) showProgress(entry, each[index])
    if (all === 1) summary.textContent = 'Everything is sent. Waiting for the server.'
  }
  const { verdicts, error: failure } = await send(UPLOAD, readable.map(({ file }) => file), onProgress, signal)
  for (const [index, entry] of readable.entries()) update(entry, verdicts[index])
  return failure
}

async function withoutUnreadable (round) {
  const readable = await Promise.all(round.map(({ file }) => isReadable(file)))
  return round.filter((entry, index) => {
    if (!readable[index]) update(entry, UNREADABLE)
    return readable[index]
  })
}

function showProgress (entry, sent) {
  entry.progress.value = sent
  if (sent === 1) entry.verdict.textContent = 'Sent, not confirmed yet'
}

function showTotal (sent) {
  overall.hidden = false
  total.value = sent
  percent.textContent = `${Math.floor(sent * 100)} %`
}

function showActions () {
  const retryable = entries.filter(entry => entry.retryable).length
  retry.textContent = `Retry failed (${retryable})`
  show(cancel, sending !== undefined)
  show(retry, sending === undefined && retryable > 0)
  overall.hidden = sending === undefined
}

/** The keyboard's place is not lost with a button that goes away. */
function show (button, visible) {
  if (!visible && document.activeElement === button) summary.focus()
  button.hidden = !visible
}

function summarize () {
  const words = [`${countOf('uploaded')} of ${inWords(entries.length)} uploaded`]
  if (countOf('failed') > 0) words.push(`${countOf('failed')} failed`)
  if (countOf('unconfirmed') > 0) words.push(`${countOf('unconfirmed')} not confirmed`)
  return `${words.join(', ')}.`
}

function countOf (state) {
  return entries.filter(entry => entry.state === state).length
}

function inWords (files) {
  return files === 1 ? '1 file' : `${files} files`
}

function formatSize (bytes) {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 4)
  const unit = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'][power]
  return new Intl.NumberFormat('en', { style: 'unit', unit, unitDisplay: power === 0 ? 'long' : 'short', maximumFractionDigits: 1 })
    .format(bytes / 1000 ** power)
}
