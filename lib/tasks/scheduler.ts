// Whose turn it is: batches take turns, one task each, so that a short one need not wait for a long one.
import { setImmediate } from 'node:timers'

/** A batch with tasks to run. */
export interface Runnable {
  /** Whether it has a task that may start now. */
  isReady (): boolean
  /** Starts one. @returns whether it goes on until `onEnded` is called; false when it has ended already */
  startNext (onEnded: () => void): boolean
}

/** Shares the slots of one process among batches. */
export interface Scheduler {
  /** Gives a batch its turns, now and whenever a slot is free, as long as it is ready; call it again when it is so again. */
  wake (batch: Runnable): void
}

/** How many tasks start between two turns that the event loop gets in any case, also when none of them waits. */
const TURN_AFTER = 512

/** @param maxRunning how many tasks of all batches run at a time */
export function createScheduler (maxRunning: number): Scheduler {
  const ring = new Set<Runnable>()
  let running = 0
  let isPumping = false

  function pump (): void {
    if (isPumping) return
    isPumping = true
    if (startSome()) isPumping = false
    else setImmediate(() => { isPumping = false; pump() })
  }

  /** @returns false when there is more to start, but others are to have their turn of the event loop first */
  function startSome (): boolean {
    let started = 0
    for (const batch of ring) {
      // Alone, it need not go round.
      do {
        if (running === maxRunning) return true
        if (!batch.isReady()) {
          ring.delete(batch)
          break
        }
        if (started++ === TURN_AFTER) return false
        start(batch)
      } while (ring.size === 1)
      // At the end again, behind those that wait; the loop gets there.
      if (ring.delete(batch)) ring.add(batch)
    }
    return true
  }

  function start (batch: Runnable): void {
    const goesOn = batch.startNext(() => {
      running--
      wake(batch)
    })
    if (goesOn) running++
  }

  function wake (batch: Runnable): void {
    ring.add(batch)
    pump()
  }

  return { wake }
}
