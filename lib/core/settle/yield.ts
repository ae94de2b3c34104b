// Yields to the event loop during long stretches of short work.
import { setImmediate } from 'node:timers/promises'

/** Milliseconds of work after which the event loop gets a turn. Shorter ones would have too many batches in memory at once. */
const TURN_AFTER = 10

/** The turns of the event loop that one pool waits for. */
export class EventLoopTurns {
  #last = performance.now()
  #due: Promise<void> | undefined

  /** To be asked before an item is started. @returns the turn to wait for, when one is due */
  due (): Promise<void> | undefined {
    if (this.#due === undefined && performance.now() - this.#last > TURN_AFTER) this.#due = this.#wait()
    return this.#due
  }

  async #wait (): Promise<void> {
    await setImmediate()
    this.#last = performance.now()
    this.#due = undefined
  }
}
