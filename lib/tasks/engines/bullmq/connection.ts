// Opens connections to Redis: one fails fast, for requests; one waits, for workers.
import { nextTick } from 'node:process'
import { Redis, type RedisOptions } from 'ioredis'
import { waitAtMost } from '../../../core/settle/wait.js'
import { EngineUnavailable, StoreFull } from '../../../errors.js'

/** Where Redis is: a URL, the options of ioredis, or a connection, which is not used itself but duplicated. */
export type RedisLocation = string | RedisOptions | Redis

/** Milliseconds to wait for a Redis that has accepted a command but does not answer. */
const COMMAND_TIMEOUT = 10_000
/** Milliseconds to wait for a Redis that is to close its side of a connection. */
const DISCONNECT_TIMEOUT = 200

const retryStrategy = (times: number) => Math.min(times * 50, 1000)

/** Rejects each command while Redis cannot be reached, and sends none again, as nobody would know whether it ran twice. */
export function openFailFast (location: RedisLocation): Redis {
  return open(location, {
    retryStrategy, enableOfflineQueue: false, maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, commandTimeout: COMMAND_TIMEOUT
  })
}

/** Keeps each command until Redis has answered it. */
export function openPatient (location: RedisLocation): Redis {
  return open(location, { retryStrategy, enableOfflineQueue: true, maxRetriesPerRequest: null, commandTimeout: undefined })
}

function open (location: RedisLocation, options: RedisOptions): Redis {
  return prepare(connect(location, { ...options, disconnectTimeout: DISCONNECT_TIMEOUT }))
}

function prepare (redis: Redis): Redis {
  corkWrites(redis)
  // Every failed attempt to connect is one; what matters is said by the commands.
  redis.on('error', () => {})
  const disconnect = redis.disconnect.bind(redis)
  redis.disconnect = reconnect => {
    // It would start a timer for a socket that is closed already.
    if (isOver(redis)) return
    // While it waits to connect again, ioredis would neither say that it has ended nor reject its commands.
    if (!reconnect && redis.status === 'reconnecting') redis.status = 'wait'
    disconnect(reconnect)
  }
  redis.on('end', () => rejectSent(redis))
  return redis
}

/** The number of commands written together. With more, Redis idles while this process prepares them. */
const BATCH_SIZE = 2

/** Writes some commands of one turn of the event loop together; ioredis alone asks the system to send each by itself. */
function corkWrites (redis: Redis): void {
  const sendCommand = redis.sendCommand.bind(redis)
  // Undefined also before the first connection.
  let held: Redis['stream'] | undefined
  let count = 0

  function release (): void {
    held?.uncork()
    held = undefined
    count = 0
  }

  redis.sendCommand = (command, pipeline) => {
    if (count === 0) {
      held = redis.stream
      held?.cork()
      nextTick(release)
    }
    count++
    const answer = sendCommand(command, pipeline)
    if (count === BATCH_SIZE) release()
    return answer
  }
}

/** The commands that ioredis would send again with the next connection, and forgets when there is none. */
function rejectSent (redis: Redis): void {
  const { prevCommandQueue: sent } = redis as unknown as { prevCommandQueue?: Sent | null }
  for (let next = sent?.shift(); next !== undefined; next = sent?.shift()) next.command.reject(new Error('Connection is closed.'))
}

interface Sent {
  shift (): { readonly command: { reject (error: Error): void } } | undefined
}

/** Its status alone does not say so, as BullMQ sets it when it has only begun to end a connection. */
function isOver (redis: Redis): boolean {
  return redis.status === 'end' && redis.stream?.destroyed !== false
}

/** Ends a connection in whatever state it is. @returns when nothing is left of it; its commands are rejected */
export async function end (redis: Redis): Promise<void> {
  if (isOver(redis)) return
  const ended = new Promise(resolve => redis.once('end', resolve))
  redis.disconnect()
  await waitAtMost(ended, 2 * DISCONNECT_TIMEOUT)
}

/** BullMQ makes a second connection of the one that it gets. @returns what ends them all */
export function followCopies (redis: Redis): { end (): Promise<void> } {
  const all = [redis]
  const duplicate = redis.duplicate.bind(redis)
  redis.duplicate = options => {
    const copy = prepare(duplicate(options))
    all.push(copy)
    return copy
  }
  return { async end () { await Promise.all(all.map(end)) } }
}

/** Waits until Redis cannot be reached. */
export async function isLost (redis: Redis): Promise<void> {
  if (redis.status === 'ready') await new Promise(resolve => redis.once('close', resolve))
}

function connect (location: RedisLocation, options: RedisOptions): Redis {
  if (typeof location === 'string') return new Redis(location, options)
  return isConnection(location) ? location.duplicate(options) : new Redis({ ...location, ...options })
}

/** By what it can do, because an app may have another copy of ioredis. */
function isConnection (location: RedisOptions | Redis): location is Redis {
  return typeof (location as Redis).duplicate === 'function'
}

/** The errors of a Redis that can be reached but cannot work at the moment. */
const NOT_NOW = /^(LOADING|BUSY|READONLY|MASTERDOWN|NOREPLICAS|MISCONF|CLUSTERDOWN|TRYAGAIN|UNBLOCKED)/

function isOwn ({ code }: Error & { code?: unknown }): boolean {
  return typeof code === 'string' && code.startsWith('FST_MULTI_STATUS_')
}

/** Turns an error of ioredis into the error that a client gets. A programming mistake stays as it is. */
export function toClientError (error: Error): Error {
  if (isOwn(error)) return error
  if (error.name !== 'ReplyError') return new EngineUnavailable('Redis does not answer')
  const { message, previousErrors = [] } = error as Error & { previousErrors?: Error[] }
  const messages = [message, ...previousErrors.map(previous => previous.message)]
  if (messages.some(text => text.startsWith('OOM'))) return new StoreFull('Redis has no memory left')
  return messages.some(text => NOT_NOW.test(text)) ? new EngineUnavailable('Redis is not ready') : error
}
