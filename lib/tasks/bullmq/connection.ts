// Connections to Redis: one that says at once when it is of no use, for clients; and one that waits, for work that is done.
import { Redis, type RedisOptions } from 'ioredis'
import { EngineUnavailable, StoreFull } from '../../errors.js'

/** Where Redis is: a URL, the options of ioredis, or a connection, which is not used itself but duplicated. */
export type RedisLocation = string | RedisOptions | Redis

/** Milliseconds to wait for a Redis that has accepted a command but does not answer. */
const COMMAND_TIMEOUT = 10_000

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
  const redis = connect(location, options)
  // Every failed attempt to connect is one; what matters is said by the commands.
  redis.on('error', () => {})
  return redis
}

function connect (location: RedisLocation, options: RedisOptions): Redis {
  if (typeof location === 'string') return new Redis(location, options)
  return isConnection(location) ? location.duplicate(options) : new Redis({ ...location, ...options })
}

/** By what it can do, because an app may have another copy of ioredis. */
function isConnection (location: RedisOptions | Redis): location is Redis {
  return typeof (location as Redis).duplicate === 'function'
}

/** What Redis says while it cannot do its work, although it can be reached. */
const NOT_NOW = /^(LOADING|BUSY|READONLY|MASTERDOWN|NOREPLICAS|MISCONF|CLUSTERDOWN|TRYAGAIN|UNBLOCKED)/

function isOwn ({ code }: Error & { code?: unknown }): boolean {
  return typeof code === 'string' && code.startsWith('FST_MULTI_STATUS_')
}

/** Words an error of ioredis as what the client may be told; one that is a mistake stays as it is. */
export function wordError (error: Error): Error {
  if (isOwn(error)) return error
  if (error.name !== 'ReplyError') return new EngineUnavailable('Redis does not answer')
  const { message, previousErrors = [] } = error as Error & { previousErrors?: Error[] }
  const messages = [message, ...previousErrors.map(previous => previous.message)]
  if (messages.some(text => text.startsWith('OOM'))) return new StoreFull('Redis has no memory left')
  return messages.some(text => NOT_NOW.test(text)) ? new EngineUnavailable('Redis is not ready') : error
}
