// Shares the slots of one process among batches: they take turns, one attempt each, so that a short batch need not wait for a long one.
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
  const lines = new Set<Line>()
  let running = 0

  function letIn (line: Line): void {
    running++
    line.shift()!()
  }

  /** A batch that waits on goes to the end. */
  function fillSlots (): void {
    for (const line of lines) {
      if (running >= maxRunning) return
      lines.delete(line)
      letIn(line)
      if (line.length > 0) lines.add(line)
    }
  }

  return {
    openGate () {
      const line: Line = []
      return {
        enter () {
          return new Promise(resolve => {
            line.push(resolve)
            lines.add(line)
            fillSlots()
          })
        },
        leave () {
          running--
          fillSlots()
        },
        open () {
          lines.delete(line)
          while (line.length > 0) letIn(line)
        }
      }
    }
  }
}
