// Shares the slots of the process among batches, one attempt each in turn, so that a short batch does not wait for a long one.
import type { Gate } from '../../../core/settle/pool.js'

/** Gives each batch a gate of its own. */
export interface Scheduler {
  openGate (): Gate
}

/** The attempts of one batch that wait for a slot, the first in front: what lets each of them in. */
type Line = (() => void)[]

/** @param maxRunning how many attempts of all batches run at a time */
export function createScheduler (maxRunning: number): Scheduler {
  /** The lines of the batches that wait; the one in front is next. */
  const lines: Line[] = []
  let running = 0

  function letIn (line: Line): void {
    running++
    line.shift()!()
  }

  /** A batch that waits on goes to the end. */
  function fillSlots (): void {
    while (lines.length > 0 && running < maxRunning) {
      const line = lines.shift()!
      letIn(line)
      if (line.length > 0) lines.push(line)
    }
  }

  return {
    openGate () {
      const line: Line = []
      return {
        enter () {
          return new Promise(resolve => {
            if (line.push(resolve) === 1) lines.push(line)
            fillSlots()
          })
        },
        leave () {
          running--
          fillSlots()
        },
        open () {
          if (line.length > 0) lines.splice(lines.indexOf(line), 1)
          while (line.length > 0) letIn(line)
        }
      }
    }
  }
}
