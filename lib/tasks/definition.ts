// Defines a type of task: its payload, its output, and its handler.
import { Type, type Static, type TSchema } from '@sinclair/typebox'
import type { FastifyBaseLogger } from 'fastify'
import type { Key } from '../../schemas/index.js'
import { checkOption, functionOf, integer, objectOf, optional, readOptions, withMethod } from '../core/options.js'

/** What the handler of a task is told about it. To be handed on as it is: a copy by `{ ...context }` has no key, signal or log. */
export interface TaskContext {
  /** What the server calls the batch of the task. */
  readonly batchId: string
  /** The client's own name for the task, unique in its batch. */
  readonly taskId: Key
  /**
   * Tells the task from every other one, and is the same each time that it runs: for what must not be done twice, as the
   * key of a row or an `Idempotency-Key`. Made of the batch's id and the task's place in the request: `<batchId>/<index>`.
   */
  readonly key: string
  /** 1 at first, one more each time that the task runs again: after a failure, or a crash of its process. */
  readonly attempt: number
  /** Aborts when the task's time is up, it is cancelled, its client is gone or the app closes. */
  readonly signal: AbortSignal
  readonly log: FastifyBaseLogger
}

/** One type of task. */
export interface TaskDefinition<P extends TSchema = TSchema, O extends TSchema = TSchema> {
  /** What the task needs to be told. @default anything, or nothing */
  payload?: P
  /** What the task gives back; an output that does not fit makes the task a failure. @default anything */
  output?: O
  /** Milliseconds that one attempt may take. @default the `timeout` of all tasks */
  timeout?: number
  /** Does the work. What it returns is the task's output; an ItemError that it throws says why the task failed. */
  handler (payload: Static<P>, context: TaskContext): Static<O> | Promise<Static<O>>
}

/**
 * Types the handler of a task by its schemas; returns what it is given.
 * @example
 *   const resize = defineTask({ payload: Type.Object({ width: Type.Integer() }), handler: async ({ width }) => ... })
 */
export function defineTask<P extends TSchema, O extends TSchema> (definition: TaskDefinition<P, O>): TaskDefinition<P, O> {
  return definition
}

const SCHEMA = Type.Object({
  payload: optional(objectOf('a schema'), {}),
  output: optional(objectOf('a schema'), {}),
  timeout: optional(integer(1), {}),
  handler: functionOf()
})

const HAS_HANDLER = withMethod('handler', 'an object with a function "handler"')

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first member that is not what it should be */
export function checkDefinition (name: string, definition: TaskDefinition): void {
  checkOption(name, HAS_HANDLER, definition)
  readOptions(name, SCHEMA, definition)
}
