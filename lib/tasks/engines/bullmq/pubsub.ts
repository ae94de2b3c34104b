// Hints from other processes, by Redis pub/sub: they can be lost, so what they say is only that it is worth a look.
import type { Redis } from 'ioredis'
import { createHints, type HintKind } from '../notifications.js'
import { channelOf } from './scripts.js'

/** What is said among processes. */
export interface Channel {
  watch (batchId: string, what: HintKind, onHint: () => void): () => void
  /** Calls back when some batch may have been cancelled. */
  onCancel (listener: () => void): void
}

/** @param redis a connection of its own, which can do nothing else from then on */
export function openChannel (redis: Redis, prefix: string): Channel {
  const hints = createHints()
  const watched = new Map<string, number>()
  const start = channelOf(prefix)
  const cancelListeners: (() => void)[] = []

  /** A channel is called `<start><what>:<batchId>`. */
  function hear (channel: string): void {
    const [what, batchId = ''] = channel.slice(start.length).split(':')
    if (what === 'cancelled') for (const listener of cancelListeners) listener()
    else hints.give(batchId, what as HintKind)
  }

  // What was said while nobody could listen is lost.
  redis.on('ready', () => { for (const channel of watched.keys()) hear(channel) })
  redis.on('message', hear)

  /** One that cannot be sent now is sent with the next connection, or never, if there is none. */
  const send = (command: Promise<unknown>) => command.catch(() => {})

  return {
    watch (batchId, what, onHint) {
      const channel = `${start}${what}:${batchId}`
      const unwatch = hints.watch(batchId, what, onHint)
      const count = watched.get(channel) ?? 0
      watched.set(channel, count + 1)
      if (count === 0) send(redis.subscribe(channel).then(() => hear(channel)))
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
