// A signal of the package's own. An AbortSignal costs more than all else that is done for a batch of one item, and most
// batches are never aborted.

/** As much of an AbortSignal as is used in here; an AbortSignal is one. */
export interface EndSignal {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener (type: 'abort', listener: () => void): void
  removeEventListener (type: 'abort', listener: () => void): void
}

/** What aborts a signal. */
export interface Ender {
  readonly signal: EndSignal
  /** Only the first time counts. */
  abort (reason: unknown): void
}

export function createEnder (): Ender {
  return new Ending()
}

/** A class, as there is one for every batch, and an object with closures of its own costs several times as much. */
class Ending implements Ender, EndSignal {
  aborted = false
  reason: unknown = undefined
  #listeners: Set<() => void> | undefined = undefined

  get signal (): EndSignal { return this }

  addEventListener (_type: 'abort', listener: () => void): void {
    this.#listeners ??= new Set()
    this.#listeners.add(listener)
  }

  removeEventListener (_type: 'abort', listener: () => void): void {
    this.#listeners?.delete(listener)
  }

  abort (reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    for (const listener of this.#listeners ?? []) listener()
    this.#listeners = undefined
  }
}

/** An AbortSignal that aborts when the signal does, and with the same reason. */
export function toAbortSignal (signal: EndSignal): AbortSignal {
  const controller = new AbortController()
  const abort = () => controller.abort(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort)
  return controller.signal
}
