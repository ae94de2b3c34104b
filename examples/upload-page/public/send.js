// Sends files in one request. Knows nothing of the page.

/**
 * What became of one file; unconfirmed when no answer says it.
 * @typedef {{ state: 'uploaded' | 'failed' | 'unconfirmed', retryable: boolean, words: string }} Verdict
 */

/**
 * Sends all files in one request; never rejects.
 * @param {string} url
 * @param {File[]} files
 * @param {(sent: { all: number, each: number[] }) => void} onProgress from 0 to 1
 * @param {AbortSignal} signal
 * @returns {Promise<{ verdicts: Verdict[], error?: string }>} one verdict for each file, in order, and what went wrong
 *   with the request as a whole
 */
export async function send (url, files, onProgress, signal) {
  if (signal.aborted) return cancelled(files)
  const form = new FormData()
  for (const file of files) form.append('files', file)
  const request = new window.XMLHttpRequest()
  request.open('POST', url)
  request.setRequestHeader('accept', 'application/json')
  request.upload.addEventListener('progress', event => onProgress(shareOut(event, files)))
  signal.addEventListener('abort', () => request.abort(), { once: true })
  return new Promise(resolve => {
    request.addEventListener('load', () => resolve(readAnswer(request, files)))
    request.addEventListener('error', () => resolve(lost(files)))
    request.addEventListener('abort', () => resolve(cancelled(files)))
    request.send(form)
  })
}

/** Files are sent one after the other, so that the bytes of all say how far each one is. */
function shareOut ({ loaded, total }, files) {
  const header = (total - files.reduce((sum, file) => sum + file.size, 0)) / files.length
  let rest = loaded
  const each = files.map(file => {
    const length = file.size + header
    const sent = Math.min(Math.max(rest / length, 0), 1)
    rest -= length
    return sent
  })
  return { all: loaded / total, each }
}

function readAnswer ({ status, responseText }, files) {
  const answer = parse(responseText)
  if (status >= 400) return refused(status, answer?.message, files)
  const results = answer?.results
  if (!Array.isArray(results) || results.length > files.length) return unconfirmed('The server’s answer could not be understood.', files)
  return { verdicts: files.map((_, index) => judge(results[index])) }
}

function parse (json) {
  try {
    return JSON.parse(json)
  } catch {}
}

/** Results come in the order of the files. Where they end early, the server stopped reading there. */
function judge (result) {
  if (result?.status === 'uploaded') return { state: 'uploaded', retryable: false, words: 'Uploaded' }
  if (result === undefined) return failed('the server did not read this far', true)
  return failed(result.error ?? 'no reason given', result.retryable === true)
}

function failed (why, retryable) {
  return { state: 'failed', retryable, words: retryable ? `Failed, can be retried: ${why}` : `Failed: ${why}` }
}

function refused (status, message, files) {
  // What stands before the server may answer this of a request that has come through.
  if (status >= 500) return unconfirmed(`The server could not answer (${status}).`, files)
  const why = status === 413 ? 'it is too large' : message ?? 'no reason given'
  return {
    verdicts: files.map(() => failed('the whole upload was refused', true)),
    error: `The server refused the whole upload: ${why} (${status}).`
  }
}

function lost (files) {
  return unconfirmed('The server could not be reached, or the connection to it was lost.', files)
}

function cancelled (files) {
  return unconfirmed('The upload was cancelled.', files)
}

function unconfirmed (sentence, files) {
  const verdict = { state: 'unconfirmed', retryable: true, words: 'Not confirmed, can be retried' }
  return { verdicts: files.map(() => verdict), error: `${sentence} It is not known which of these files have arrived.` }
}

/** Whether a file can still be read. One that cannot would break the request, and cost the others. */
export async function isReadable (file) {
  try {
    await file.slice(0, 1).arrayBuffer()
    return true
  } catch {
    return false
  }
}

/** @type {Verdict} */
export const UNREADABLE = failed('it cannot be read, because it is a folder, or was moved or changed', false)
