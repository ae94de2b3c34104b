// A thread that stores small files. Each takes five operations of some microseconds, and to have one done elsewhere and
// be told of it costs more than that: the thread does all of them, for several files at a time.
import type fs from 'node:fs'
import { Worker } from 'node:worker_threads'

/** What is to be done with one file: made if it is not open yet, and given its name if that is said. */
export interface DiskJob {
  readonly temporary: string
  /** Its descriptor, once it has been made. */
  readonly fd?: number | undefined
  /** The name under which it is to be found; only then it is closed. */
  readonly target?: string | undefined
}

/** What became of a job. Of one that has failed nothing is left, unless it is lost. */
export interface DiskAnswer {
  /** Of a file that is still open. */
  readonly fd?: number | undefined
  readonly error?: { readonly message: string, readonly code?: string | undefined, readonly isLost?: true }
}

/** Jobs for one go, and the content of their files, one after the other. */
export interface DiskBatch {
  readonly bytes: Uint8Array
  readonly jobs: readonly (DiskJob & { readonly size: number })[]
}

/** Does jobs one after the other. */
export interface DiskThread {
  /**
   * Whether it is to be asked: not where there may be no threads, or it has come to an end, nor as long as it does not
   * answer, because a slow disk does several things at a time faster than one after the other.
   */
  isFree (): boolean
  /** Never rejects. Until the job is done, the pieces must stay as they are. */
  ask (job: DiskJob, pieces: readonly Uint8Array[]): Promise<DiskAnswer>
}

/** A job that is not done yet. */
interface Asked {
  readonly job: DiskJob
  readonly pieces: readonly Uint8Array[]
  settle (answer: DiskAnswer): void
}

/** Milliseconds without an answer after which the thread counts as busy. */
const SLOW = 20

/** As many jobs make a batch, or fewer if no more come in a turn of the event loop: to tell the thread of one costs as much as a job. */
const BATCH = 16

/** Makes a thread that starts when it is first needed, and keeps no process alive but while it has jobs. */
export function createDiskThread (): DiskThread {
  let worker: Worker | undefined
  let isOver = false
  let next: Asked[] = []
  /** Those who wait for an answer, by batch; and since when the first of these has been waited for. */
  const batches: Asked[][] = []
  let since = 0

  const answer = (answers: readonly DiskAnswer[]) => {
    since = performance.now()
    for (const [index, { settle }] of batches.shift()!.entries()) settle(answers[index]!)
    if (batches.length === 0) worker!.unref()
  }
  /** What has ended once is not tried again, as there is a way without. */
  const lose = (message: string) => {
    isOver = true
    for (const { settle } of batches.splice(0).flat()) settle({ error: { message, isLost: true } })
  }
  const start = () => {
    try {
      worker ??= startWorker(answer, lose)
    } catch {
      // Not everybody may start threads, as under Node's permission model.
      isOver = true
    }
  }
  const send = () => {
    const asked = next
    next = []
    if (batches.push(asked) === 1) since = performance.now()
    start()
    if (isOver) return lose('there is no thread')
    const batch = joinJobs(asked)
    worker!.ref()
    worker!.postMessage(batch, [batch.bytes.buffer as ArrayBuffer])
  }
  /** @param before how many jobs there were when it was last looked */
  const look = (before: number) => {
    if (next.length > before && next.length < BATCH) setImmediate(look, next.length)
    else send()
  }
  return {
    isFree () {
      start()
      return !isOver && (batches.length === 0 || performance.now() - since < SLOW)
    },
    ask: (job, pieces) => new Promise(resolve => {
      if (next.push({ job, pieces, settle: resolve }) === 1) setImmediate(look, 0)
    })
  }
}

/** @param lose called when it has ended, with the reason */
function startWorker (answer: (answers: readonly DiskAnswer[]) => void, lose: (message: string) => void): Worker {
  let reason = 'the thread has ended'
  // Nothing of what the process was started with, as loaders, is of use to it; and the files that it opens are not its own.
  const worker = new Worker(SOURCE, { eval: true, execArgv: [], trackUnmanagedFds: false })
  worker.on('message', answer)
  worker.on('error', error => { reason = error.message })
  worker.on('exit', () => lose(reason))
  worker.unref()
  return worker
}

function joinJobs (asked: readonly Asked[]): DiskBatch {
  const jobs = asked.map(({ job: { temporary, target, fd }, pieces }) => ({ temporary, target, fd, size: sizeOf(pieces) }))
  const bytes = Buffer.allocUnsafeSlow(jobs.reduce((sum, { size }) => sum + size, 0))
  let at = 0
  for (const { pieces } of asked) {
    for (const piece of pieces) {
      bytes.set(piece, at)
      at += piece.length
    }
  }
  return { bytes, jobs }
}

function sizeOf (pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0)
}

/** What the thread does with a batch. It must not refer to anything else, as the thread gets nothing but its text. */
export function doJobs ({ openSync, writeSync, closeSync, linkSync, unlinkSync }: typeof fs, { bytes, jobs }: DiskBatch): DiskAnswer[] {
  let end = 0
  return jobs.map(({ temporary, fd: opened, target, size }) => {
    let at = end
    end += size
    let fd = opened
    let isMade = fd !== undefined
    let isLinked = false
    try {
      fd ??= openSync(temporary, 'wx', 0o600)
      isMade = true
      while (at < end) at += writeSync(fd, bytes, at, end - at)
      if (target === undefined) return { fd }
      const whole = fd
      fd = undefined
      closeSync(whole)
      // Unlike rename, link does not overwrite what is there already.
      linkSync(temporary, target)
      isLinked = true
      unlinkSync(temporary)
      return {}
    } catch (error) {
      for (const undo of [() => fd !== undefined && closeSync(fd), () => isLinked && unlinkSync(target!), () => isMade && unlinkSync(temporary)]) {
        try { undo() } catch {}
      }
      const { message, code } = error as NodeJS.ErrnoException
      return { error: { message, code } }
    }
  })
}

/** Evaluated and not a file of its own, which would have to be found in ES modules, in CommonJS and in bundles. */
const SOURCE = `const { parentPort } = require('node:worker_threads')
const fs = require('node:fs')
const doJobs = ${doJobs.toString()}
parentPort.on('message', batch => parentPort.postMessage(doJobs(fs, batch)))`
