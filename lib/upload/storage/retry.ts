// Tries until it works, ever more slowly, and for as long as the process has something else to do.
import { setTimeout } from 'node:timers/promises'

/** How long to try, all in milliseconds. */
export interface Patience {
  /** Before the first try; then twice as long each time. */
  readonly firstDelay: number
  readonly longestDelay: number
  readonly giveUpAfter: number
}

/** @returns whether it worked in the end */
export async function keepTrying (attempt: () => Promise<boolean>, { firstDelay, longestDelay, giveUpAfter }: Patience): Promise<boolean> {
  const end = performance.now() + giveUpAfter
  for (let delay = firstDelay; performance.now() < end; delay = Math.min(delay * 2, longestDelay)) {
    await setTimeout(delay, undefined, { ref: false })
    if (await attempt()) return true
  }
  return false
}
