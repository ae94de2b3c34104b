// Runs one task: the handler of its type, and a look at what it gives back.
import { createCompiler, type Validate } from '../core/item-validator.js'
import { invalidResult } from '../errors.js'
import type { TaskContext, TaskDefinition } from './options.js'

/** One task of a request, valid for its type. */
export interface Task {
  readonly type: string
  readonly payload?: unknown
}

/** Runs a task and resolves with what its success carries; rejects with what the handler throws. */
export type RunTask = (task: Task, context: TaskContext) => Promise<{ output?: unknown }>

/** Makes the function that runs tasks; schemas are compiled once. */
export function createTaskRunner (handlers: Record<string, TaskDefinition>): RunTask {
  const compile = createCompiler()
  const runners = new Map(Object.entries(handlers).map(([type, definition]) =>
    [type, { definition, validate: definition.output && compile(definition.output) }]))

  return async ({ type, payload }, context) => {
    const { definition, validate } = runners.get(type)!
    const output: unknown = await definition.handler(payload, context)
    expectValid(output, validate)
    return output === undefined ? {} : { output }
  }
}

function expectValid (output: unknown, validate: Validate | undefined): void {
  const problem = validate?.(output)?.[0]
  if (problem !== undefined) throw invalidResult(`the output ${problem.pointer} ${problem.detail}`)
}
