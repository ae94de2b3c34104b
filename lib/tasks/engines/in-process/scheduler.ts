// Whose turn it is: batches take turns, one task each, so that a short one need not wait for a long one.
import { setImmediate } from 'node:timers'
import { TURN_AFTER } from '../../../core/settle/yield.js'

/** A batch with tasks to run. */
export interface Runnable {
  /** Whether it has a task that may start now. */
  isReady (): boolean
  /** Starts one in a slot of its own, and the next one there as long as the slots let it. */
  start (slots: Slots): void
}

/** What a batch has its slots from. */
export interface Slots {
  /** Whether the batch may start another task, if it has one, where one of it has ended. */
  mayGoOn (batch: Runnable): boolean
  /** Gives a slot back. */
  free (batch: Runnable): void
}

/** Shares the slots of one process among batches. */
export interface Scheduler {
  /** Gives a batch its turns, now and whenever a slot is free, as long as it is ready; call it again when it is so again. */
  wake (batch: Runnable): void
}

/** How many tasks start, or could have, between two looks at the clock. */
const LOOK_AFTER = 8

/** @param maxRunning how many tasks of all batches run at a time */
export function createScheduler (maxRunning: number): Scheduler {
  // Not a Set: one that is renewed would keep what was in it, until the next full collection, for what came after it.
  const ring: Runnable[] = []
  let running = 0
  let started = 0
  /** When the event loop had its last turn; undefined when it has had one since a task was started. */
  let turned: number | undefined
  let isBusy = false

  function wake (batch: Runnable): void {
    if (!ring.includes(batch)) ring.push(batch)
    if (!isBusy) startSome()
  }

  function startSome (): void {
    isBusy = true
    while (ring.length > 0 && running < maxRunning) {
      if (isOver()) return giveTurn()
      // At the end again if it has more, behind those that wait.
      const batch = ring.shift()!
      if (!batch.isReady()) continue
      ring.push(batch)
      running++
      noteStart()
      batch.start(slots)
    }
    isBusy = false
  }

  /** Whether others are to have their turn of the event loop. */
  function isOver (): boolean {
    return started % LOOK_AFTER === 0 && turned !== undefined && performance.now() - turned > TURN_AFTER
  }

  /** Goes on when they have had it. */
  function giveTurn (): void {
    setImmediate(startSome)
  }

  function noteStart (): void {
    started++
    if (turned !== undefined) return
    turned = performance.now()
    setImmediate(() => { turned = undefined })
  }

  const slots: Slots = {
    mayGoOn (batch) {
      const isAlone = ring.length === 0 || (ring.length === 1 && ring[0] === batch)
      if (!isAlone || isOver()) return false
      noteStart()
      return true
    },
    free (batch) {
      running--
      wake(batch)
    }
  }

  return { wake }
}
