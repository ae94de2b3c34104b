// Lets the event loop turn during long stretches of short work.
import { setImmediate } from 'node:timers/promises'

/** Milliseconds of work after which the event loop gets a turn. */
const TURN_AFTER = 10

/** When the work since the last turn of the event loop has begun; undefined when there was none yet. */
let start: number | undefined
/** Resolves with the next turn of the event loop. */
let turn: Promise<void> | undefined
/** Whether everybody waits for it. */
let isDue = false

/** To be asked before more work begins. @returns a turn of the event loop to wait for, when one is due */
export function dueTurn (): Promise<void> | undefined {
  if (isDue) return turn
  const now = performance.now()
  turn ??= nextTurn()
  start ??= now
  isDue = now - start > TURN_AFTER
  return isDue ? turn : undefined
}

async function nextTurn (): Promise<void> {
  await setImmediate()
  start = turn = undefined
  isDue = false
}
