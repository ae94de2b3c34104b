// Yields to the event loop during long stretches of short work.
import { setImmediate } from 'node:timers/promises'

/** Milliseconds of work after which the event loop gets a turn. Shorter ones would have too many batches in memory at once. */
const TURN_AFTER = 10

/** The turns of the event loop that one pool waits for. */
export class EventLoopTurns {
  /** The turn to wait for before an item is started, when one is due. */
  due: Promise<void> | undefined
  #last = performance.now()

  /** To be called after each item. */
  itemSettled (): void {
    if (this.due === undefined && performance.now() - this.#last > TURN_AFTER) this.due = this.#wait()
  }

  async #wait (): Promise<void> {
    await setImmediate()
    this.#last = performance.now()
    this.due = undefined
  }
}
