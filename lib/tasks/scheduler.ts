// Whose turn it is: batches take turns, one task each, so that a short one need not wait for a long one.
import { setImmediate } from 'node:timers'

/** A batch with tasks to run. */
export interface Runnable {
  /** Whether it has a task that may start now. */
  isReady (): boolean
  /** Starts one. @returns whether it goes on until `onEnded` is called; false when it has ended already */
  startNext (onEnded: (batch: Runnable) => void): boolean
}

/** Shares the slots of one process among batches. */
export interface Scheduler {
  /** Gives a batch its turns, now and whenever a slot is free, as long as it is ready; call it again when it is so again. */
  wake (batch: Runnable): void
}

/** Milliseconds after which the event loop gets a turn in any case, also when no task waits. Too many turns have too many batches in memory at once. */
const TURN_AFTER = 10

/** How many tasks start between two looks at the clock. */
const LOOK_AFTER = 8

/** @param maxRunning how many tasks of all batches run at a time */
export function createScheduler (maxRunning: number): Scheduler {
  const ring = new Set<Runnable>()
  let running = 0
  let started = 0
  /** When the event loop had its last turn; undefined when it has had one since a task was started. */
  let turned: number | undefined
  let isBusy = false

  function wake (batch: Runnable): void {
    ring.add(batch)
    if (!isBusy) startSome()
  }

  function startSome (): void {
    isBusy = true
    for (const batch of ring) {
      if (running === maxRunning) break
      if (isOver()) return giveTurn()
      // At the end again if it has more, behind those that wait; the loop gets there.
      ring.delete(batch)
      if (!batch.isReady()) continue
      ring.add(batch)
      start(batch)
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

  function followTurn (): void {
    turned = performance.now()
    setImmediate(() => { turned = undefined })
  }

  /** @returns whether the task goes on */
  function start (batch: Runnable): boolean {
    started++
    if (turned === undefined) followTurn()
    const goesOn = batch.startNext(onEnded)
    if (goesOn) running++
    return goesOn
  }

  function onEnded (batch: Runnable): void {
    running--
    // Alone it need not go round: one has ended, one begins.
    const isAlone = !isBusy && ring.size <= 1 && !isOver()
    if (!isAlone || !batch.isReady() || !start(batch)) wake(batch)
  }

  return { wake }
}
