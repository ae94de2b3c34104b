// Sends notifications between processes by Redis pub/sub. They can be lost, so each one only causes a poll.
import type { Redis } from 'ioredis'
import { createNotifications, type NotificationKind } from '../notifications.js'
import { channelOf } from './scripts.js'

/** Notifications from other processes. */
export interface PubSub {
  watch (batchId: string, what: NotificationKind, onNotification: () => void): () => void
  /** Calls the listener when some batch may have been cancelled. */
  onCancel (listener: () => void): void
}

/** @param redis a connection used for nothing else, because Redis allows no other commands on a subscriber */
export function openPubSub (redis: Redis, prefix: string): PubSub {
  const notifications = createNotifications()
  const watched = new Map<string, number>()
  const start = channelOf(prefix)
  const cancelListeners: (() => void)[] = []

  /** A channel is called `<start><what>:<batchId>`. */
  function onMessage (channel: string): void {
    const [what, batchId = ''] = channel.slice(start.length).split(':')
    if (what === 'cancelled') for (const listener of cancelListeners) listener()
    else notifications.notify(batchId, what as NotificationKind)
  }

  // Messages sent while the connection was down are lost.
  redis.on('ready', () => { for (const channel of watched.keys()) onMessage(channel) })
  redis.on('message', onMessage)

  /** ioredis sends it again with the next connection. */
  const send = (command: Promise<unknown>) => command.catch(() => {})

  return {
    watch (batchId, what, onNotification) {
      const channel = `${start}${what}:${batchId}`
      const unwatch = notifications.watch(batchId, what, onNotification)
      const count = watched.get(channel) ?? 0
      watched.set(channel, count + 1)
      if (count === 0) send(redis.subscribe(channel).then(() => onMessage(channel)))
      let isOver = false
      return () => {
        if (isOver) return
        isOver = true
        unwatch()
        const left = watched.get(channel)! - 1
        watched.set(channel, left)
        if (left > 0) return
        watched.delete(channel)
        send(redis.unsubscribe(channel))
      }
    },
    onCancel (listener) {
      cancelListeners.push(listener)
      send(redis.subscribe(`${start}cancelled`))
    }
  }
}
