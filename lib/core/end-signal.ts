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
  const listeners = new Set<() => void>()
  const signal = {
    aborted: false,
    reason: undefined as unknown,
    addEventListener: (_type: 'abort', listener: () => void) => { listeners.add(listener) },
    removeEventListener: (_type: 'abort', listener: () => void) => { listeners.delete(listener) }
  }
  return {
    signal,
    abort (reason) {
      if (signal.aborted) return
      signal.aborted = true
      signal.reason = reason
      for (const listener of listeners) listener()
      listeners.clear()
    }
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
