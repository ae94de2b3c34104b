// Makes one attempt at one task: the handler of its type, its time, and a look at what it gives back.
import type { FastifyBaseLogger } from 'fastify'
import { tasks, type Key, type TaskResult } from '../../schemas/index.js'
import { AttemptContext, isThenable, type Canceller, type Outcome } from '../core/attempt.js'
import { delayAfter, isRetryable } from '../core/backoff.js'
import { noteFailure, type OnItemError } from '../core/item-error.js'
import { showKey } from '../core/item-log.js'
import { createCompiler, type Validate } from '../core/item-validator.js'
import { invalidResult, notRun, toFailure, type ItemError } from '../errors.js'
import type { TaskContext, TaskDefinition } from './definition.js'

/** One task of a request, valid for its type. */
export interface Task {
  /** The client's own name for it, unique in the request; 1 and "1" are two. */
  readonly taskId: Key
  readonly type: string
  readonly payload?: unknown
}

/** One attempt at a task. */
export interface TaskAttempt {
  readonly batchId: string
  /** The place of the task in its request, from 0. */
  readonly index: number
  /** 1 at first, one more for each retry, also for one that a dead process has made necessary. */
  readonly attempt: number
  /** Of the batch; what the handler gets says also which task it is. */
  readonly log: FastifyBaseLogger
  /** Ends the attempt: it is then settled at once with the reason, and the handler's signal aborts. */
  readonly canceller: Canceller
}

/** What came of an attempt. */
export interface TaskEnd {
  /** The result, in the words of the contract; its output can still be what JSON cannot hold. */
  readonly result: TaskResult
  /** Milliseconds after which to try again; undefined when the result is final. */
  readonly retryIn: number | undefined
}

/** Makes one attempt at a task. Never throws or rejects. */
export interface RunTask {
  /** @returns its end, at once where the handler does not wait */
  (task: Task, at: TaskAttempt): TaskEnd | Promise<TaskEnd>
  /** @param onEnd called with its end, once, perhaps at once; which costs less than a promise */
  (task: Task, at: TaskAttempt, onEnd: (end: TaskEnd, at: TaskAttempt) => void): void
}

/** What tasks are run with. */
export interface TaskRunnerOptions {
  readonly handlers: Record<string, TaskDefinition>
  /** Milliseconds that one attempt may take, where the type does not say so itself. */
  readonly timeout: number
  /** How often a task that failed is tried again. */
  readonly retries: number
  /** What the app is told of failed tasks. */
  readonly onItemError?: OnItemError | undefined
}

/** Makes the function that runs tasks, on every engine; schemas are compiled once. */
export function createTaskRunner ({ handlers, timeout, retries, onItemError }: TaskRunnerOptions): RunTask {
  const compile = createCompiler()
  const runners = new Map(Object.entries(handlers).map(([type, definition]) => {
    const handler: TaskDefinition['handler'] = (payload, context) => definition.handler(payload, context)
    const run = definition.output === undefined ? handler : validating(handler, compile(definition.output))
    return [type, { run, timeout: definition.timeout ?? timeout }]
  }))

  function start (task: Task, at: TaskAttempt, onEnd: (end: TaskEnd, at: TaskAttempt) => void): void {
    const conclude = (outcome: Outcome<unknown>) => onEnd(endOf(outcome, task, at, { retries, onItemError }), at)
    const runner = runners.get(task.type)
    if (runner === undefined) return conclude({ status: 'rejected', reason: unknownType() })
    AttemptContext.start(runner.run, task.payload, new Context(task, at, runner.timeout), conclude)
  }

  function runTask (task: Task, at: TaskAttempt, onEnd?: (end: TaskEnd, at: TaskAttempt) => void): TaskEnd | Promise<TaskEnd> | void {
    if (onEnd !== undefined) return start(task, at, onEnd)
    let known: TaskEnd | undefined
    let tell: ((end: TaskEnd) => void) | undefined
    start(task, at, end => {
      if (tell === undefined) known = end
      else tell(end)
    })
    return known ?? new Promise(resolve => { tell = resolve })
  }
  return runTask as RunTask
}

/** Not the client's fault: it was known where the batch was taken. */
function unknownType (): ItemError {
  return notRun('No handler for this type of task where it was to run')
}

function validating (handler: TaskDefinition['handler'], validate: Validate): TaskDefinition['handler'] {
  return (payload, context) => {
    const returned: unknown = handler(payload, context)
    return isThenable(returned) ? Promise.resolve(returned).then(output => expectValid(output, validate)) : expectValid(returned, validate)
  }
}

class Context extends AttemptContext implements TaskContext {
  readonly batchId: string
  readonly taskId: Key
  readonly attempt: number
  readonly #at: TaskAttempt

  constructor ({ taskId }: Task, at: TaskAttempt, timeout: number) {
    super({ canceller: at.canceller, timeout })
    this.batchId = at.batchId
    this.taskId = taskId
    this.attempt = at.attempt
    this.#at = at
  }

  get key (): string { return taskKey(this.#at.batchId, this.#at.index) }
  get log (): FastifyBaseLogger { return this.#at.log.child({ index: this.#at.index, key: showKey(this.taskId) }) }
}

/**
 * What tells a task from every other one, in this batch and any other, and is the same for each of its attempts: the id
 * of the batch, a slash, and the place of the task in the request.
 */
export function taskKey (batchId: string, index: number): string {
  return `${batchId}/${index}`
}

function endOf (outcome: Outcome<unknown>, task: Task, at: TaskAttempt, { retries, onItemError }: Pick<TaskRunnerOptions, 'retries' | 'onItemError'>): TaskEnd {
  if (outcome.status === 'fulfilled') return { result: wordSuccess(task, outcome.value), retryIn: undefined }
  const { reason } = outcome
  const mayRetry = at.attempt <= retries && at.canceller.reason === undefined && isRetryable(reason)
  const retryIn = mayRetry ? delayAfter(at.attempt, reason) : undefined
  const failure = toFailure(reason)
  if (!mayRetry) noteFailure({ log: at.log, request: null, onItemError }, failure, reason, at.index, task.taskId)
  return { result: tasks.fail(task.taskId, failure), retryIn }
}

function wordSuccess ({ taskId }: Task, output: unknown): TaskResult {
  return output === undefined ? { taskId, status: 'completed' } : { taskId, status: 'completed', output }
}

function expectValid (output: unknown, validate: Validate): unknown {
  const problem = validate(output)?.[0]
  if (problem !== undefined) throw invalidResult(`the output ${problem.pointer} ${problem.detail}`)
  return output
}
