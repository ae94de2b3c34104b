// What who reads a form waits for: that its parser has something to tell, or that nothing more will come.
import { setImmediate } from 'node:timers/promises'
import { createWaiters } from '../../core/notifier.js'

/** What there is to hear of a form while it is read. */
export interface News {
  /** Resolves when there may be more to read: with false when there will be no more than there is. */
  wait (): Promise<boolean>
  wake (): void
  /** Whether somebody waits, and not the form for them. */
  isAwaited (): boolean
  /** Says that nothing more will come. */
  cut (): void
}

export function createNews (): News {
  const { wait, wake, isAwaited } = createWaiters<boolean>()
  let isCut = false
  return {
    // A turn is enough for the parser to tell what it has left; whatever becomes of it, it is waited for no longer.
    wait: () => isCut ? setImmediate(false) : wait(),
    wake: () => wake(true),
    isAwaited,
    cut () {
      isCut = true
      wake(true)
    }
  }
}
