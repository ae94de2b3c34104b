// Generates the loop that takes results one after the other, as long as each has the shape of its status.
// The code is made of the schema alone, as in shape-writer.ts.
import { copyShape } from './shape-copier.js'
import type { WriteShape } from './shape-writer.js'
import type { Shape } from './shape.js'

/** A branch of a contract, as far as it matters here. */
export interface SheetBranch {
  readonly failed: boolean
  /** What exactly such a result looks like; undefined when the schema says more than a shape can. */
  readonly shape: Shape | undefined
  /** What is left of it for `Prefer: return=minimal`. */
  readonly minimalShape: Shape | undefined
}

/** The branches of a contract by status. */
export type Branches = ReadonlyMap<unknown, SheetBranch>

const COMMA = 44

/** Takes results from `index` to `end`, as far as it can; returns the place of the next one. */
export type Fill<P> = (page: P, results: readonly unknown[], index: number, end: number) => number

/** How a result is taken: `tool` is what the code may call, by the name that it is given. */
export interface Step {
  /** Code that takes `value`, or leaves with `return index`. */
  code (toolName: string): string
  readonly tool?: WriteShape
}

/** Copies a result of this shape. */
export function copyStep (shape: Shape): Step {
  const { code, result } = copyShape(shape, 'value', 'return index')
  return { code: () => `${code}\ncopies[index - base] = ${result}` }
}

/** Writes a result with this tool. */
export function writeStep (tool: WriteShape): Step {
  const code = (name: string) => `if (!${name}(page, value)) return index
page.buffer[page.length++] = ${COMMA}
if (page.length >= page.limit) end = index + 1`
  return { tool, code }
}

/**
 * Makes a function for one contract, so that the engine sees in it no objects but those of this contract.
 * @param stepFor what takes a result of a branch; undefined where nothing can
 */
export function generateFill<P> (branches: Branches, stepFor: (branch: SheetBranch) => Step | undefined): Fill<P> {
  const steps = [...branches].map(([status, branch], index) => ({ status, failed: branch.failed, step: stepFor(branch), name: `tool${index}` }))
  const cases = steps.map(({ status, failed, step, name }) => step === undefined
    ? ''
    : `case ${JSON.stringify(status)}: { ${step.code(name)}${failed ? '\npage.failures++' : ''}\nbreak }`)
  const code = `'use strict'
return function fill (page, results, index, end) {
  const { copies, base } = page
  try {
    for (; index < end; index++) {
      const value = results[index]
      if (typeof value !== 'object' || value === null || typeof value.toJSON === 'function') return index
      switch (value.status) {
        ${cases.join('\n')}
        default: return index
      }
    }
  } catch {}
  return index
}`
  // eslint-disable-next-line no-new-func
  const make = new Function(...steps.map(({ name }) => name), code) as (...tools: unknown[]) => Fill<P>
  return make(...steps.map(({ step }) => step?.tool))
}
