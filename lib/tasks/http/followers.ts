// The clients that follow events: not too many, and none left when the app has closed.
import type { ServerResponse } from 'node:http'
import { waitAtMost } from '../../core/settle/timeout.js'
import { TooManyFollowers } from '../../errors.js'

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
