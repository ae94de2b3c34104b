// Lets many in at a time, or one alone.

/** A gate; what `enter` gives is to be called once, when leaving. */
export interface Gate {
  /** @param alone whether nobody else may be inside; who wants that keeps later ones waiting */
  enter (alone: boolean): Promise<() => void> | (() => void)
}

export function createGate (): Gate {
  const line: { readonly alone: boolean, readonly letIn: (leave: () => void) => void }[] = []
  let inside = 0
  let isAlone = false

  const fits = (alone: boolean) => alone ? inside === 0 : !isAlone

  function admit (alone: boolean): () => void {
    inside++
    isAlone = alone
    return () => {
      inside--
      isAlone = false
      while (line.length > 0 && fits(line[0]!.alone)) {
        const { alone, letIn } = line.shift()!
        letIn(admit(alone))
      }
    }
  }

  return {
    enter (alone) {
      if (line.length === 0 && fits(alone)) return admit(alone)
      return new Promise(resolve => line.push({ alone, letIn: resolve }))
    }
  }
}
