// How long others have waited for their turn of the event loop.

/** Milliseconds after which the event loop gets a turn in any case, also when nothing waits. Too many turns have too many batches in memory at once. */
export const TURN_AFTER = 10

/** How many items are settled between two looks at the clock, of such as take longer, and of such as take next to no time. */
const [FEW, MANY] = [8, 64]

/** Milliseconds that so many may take and count as next to no time. */
const NO_TIME = 1

/** What is known of the clock; it is not looked at after every item, which would cost as much as settling one. */
export interface Pace {
  /** How many items are settled, and how many are when the clock is looked at next. */
  settled: number
  lookAt: number
  /** How many that is since it last was, and when that was. */
  stride: number
  looked: number
  /** When the event loop had its last turn. */
  turned: number
}

export function newPace (): Pace {
  const now = performance.now()
  return { settled: 0, lookAt: FEW, stride: FEW, looked: now, turned: now }
}

/** Notes that one more item is settled. @returns whether others are to have their turn */
export function noteSettled (pace: Pace): boolean {
  return ++pace.settled === pace.lookAt && lookAtClock(pace)
}

/** To be called when they have had it. */
export function noteTurn (pace: Pace): void {
  pace.turned = performance.now()
}

/** Looks at it less often while items take so little time that looking would take as much. */
function lookAtClock (pace: Pace): boolean {
  const now = performance.now()
  pace.stride = now - pace.looked < NO_TIME ? Math.min(pace.stride * 2, MANY) : FEW
  pace.lookAt += pace.stride
  pace.looked = now
  return now - pace.turned > TURN_AFTER
}
