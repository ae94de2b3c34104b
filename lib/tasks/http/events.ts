// GET /tasks/{batchId}/events: Server-Sent Events, one for each settled task, resumable with Last-Event-ID.
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { waitAtMost } from '../../core/settle/wait.js'
import { TooManyFollowers } from '../../errors.js'
import { findBatch } from './access.js'
import { followSchema } from '../openapi.js'
import type { BatchInfo, SettledTask, TaskEngine } from '../engine.js'
import { pollUntil } from './poll.js'
import type { TasksSettings } from '../options.js'

/** Makes the route. */
export function eventsRoute (settings: TasksSettings, followers: Followers, url: string): RouteOptions {
  return {
    method: 'GET',
    url,
    exposeHeadRoute: false,
    schema: followSchema,
    handler: (request, reply) => followBatch(request, reply, settings, followers)
  }
}

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  // Not to be stored, compressed into lumps, or held back by nginx.
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no'
}

/** Bytes that are written ahead of a slow reader, beside what the socket takes. */
const AHEAD = 64 * 1024

async function followBatch (
  request: FastifyRequest, reply: FastifyReply, settings: TasksSettings, followers: Followers
): Promise<FastifyReply> {
  const { engine, heartbeat } = settings
  const batch = await findBatch(request, settings)
  const after = whereToResume(request, batch)
  // What stops an EventSource from coming back.
  if (after > batch.summary.total) return reply.code(204).send()
  const signal = followers.join(reply.raw)
  const events = writeEvents({ engine, batch, after, heartbeat, signal })
  // Who takes nothing of what there is, not even a sign of life, is dropped: it can come back.
  reply.raw.setTimeout(2 * heartbeat, () => reply.raw.destroy())
  return reply.headers(HEADERS).send(Readable.from(events, { objectMode: false, highWaterMark: AHEAD }))
}

/** How many events the client has had. One that claims more than there are gets all: rather a repeat than a gap. */
function whereToResume (request: FastifyRequest, { summary: { total, pending } }: BatchInfo): number {
  const id = Number(request.headers['last-event-id'])
  const there = pending === 0 ? total + 1 : total - pending
  return Number.isInteger(id) && id >= 0 && id <= there ? id : 0
}

interface Following {
  readonly engine: TaskEngine
  readonly batch: BatchInfo
  /** How many events are not to be sent again. */
  readonly after: number
  /** Milliseconds between signs of life. */
  readonly heartbeat: number
  /** Aborts when the client is gone or the app closes; what has settled by then is still sent. */
  readonly signal: AbortSignal
}

/** A comment, which an EventSource ignores; the first one lets it know that it is connected. */
const SIGN_OF_LIFE = ':\n\n'

/** The text of the events, as they come; a reader that takes none of it keeps more from being read. */
async function * writeEvents ({ engine, batch, after, heartbeat, signal }: Following): AsyncGenerator<string> {
  const { batchId, summary: { total } } = batch
  let { succeeded } = batch.summary
  let sent = after
  yield SIGN_OF_LIFE
  while (sent < total) {
    const look = () => readPage(engine, batchId, sent)
    const page = await pollUntil(look, { engine, batchId, what: 'result', ms: heartbeat, signal }) ??
      (signal.aborted ? await lastPage(look) : undefined)
    if (page?.length === 0) return
    if (page === undefined) yield SIGN_OF_LIFE
    for (const one of page ?? []) {
      sent++
      succeeded = one.succeeded
      yield resultEvent(one, sent, total)
    }
  }
  yield writeEvent(total + 1, 'done', { summary: summaryAfter(total, succeeded, total) })
}

/** How many events are read at a time. */
const PAGE = 100

/** @returns undefined when there is nothing yet, an empty page when there is no batch any more */
async function readPage (engine: TaskEngine, batchId: string, after: number): Promise<SettledTask[] | undefined> {
  const page = await engine.settled(batchId, after, PAGE)
  if (page === undefined) return []
  return page.length > 0 ? page : undefined
}

/** What has come in before the end; nothing where the engine is closed already. */
async function lastPage (look: () => Promise<SettledTask[] | undefined>): Promise<SettledTask[]> {
  try {
    return await look() ?? []
  } catch {
    return []
  }
}

function resultEvent ({ index, result, succeeded }: SettledTask, id: number, total: number): string {
  return writeEvent(id, 'result', { index, result, summary: summaryAfter(id, succeeded, total) })
}

function summaryAfter (settled: number, succeeded: number, total: number) {
  return { total, succeeded, failed: settled - succeeded, pending: total - settled }
}

function writeEvent (id: number, event: string, data: object): string {
  return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

/** The followers of one app. */
export interface Followers {
  /**
   * Counts a response among them until it is closed.
   * @returns a signal that aborts when the follower is gone or the app closes
   * @throws FST_MULTI_STATUS_TOO_MANY_FOLLOWERS
   */
  join (response: ServerResponse): AbortSignal
  /** Tells all of them to end, and ends those that don't. */
  close (): Promise<void>
}

/** Milliseconds to send what is to be sent when the app closes. */
const LAST_WORDS = 1_000

/** @param max how many there may be at a time */
export function createFollowers (max: number): Followers {
  const active = new Map<ServerResponse, { controller: AbortController, closed: Promise<void> }>()

  return {
    join (response) {
      if (active.size >= max) throw new TooManyFollowers(max)
      const controller = new AbortController()
      if (response.destroyed) controller.abort()
      else active.set(response, { controller, closed: leaving(response, controller) })
      return controller.signal
    },
    async close () {
      const closed = Promise.all([...active.values()].map(one => one.closed))
      for (const { controller } of active.values()) controller.abort()
      await waitAtMost(closed, LAST_WORDS)
      for (const response of active.keys()) response.destroy()
    }
  }

  function leaving (response: ServerResponse, controller: AbortController): Promise<void> {
    return new Promise(resolve => response.once('close', () => {
      active.delete(response)
      controller.abort()
      resolve()
    }))
  }
}
