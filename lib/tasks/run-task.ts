// Makes attempts at tasks: the handler of each type, its time, and a look at what it gives back.
import type { FastifyBaseLogger } from 'fastify'
import { tasks, type Key, type TaskResult } from '../../schemas/index.js'
import { PlainObject } from '../../schemas/plain-object.js'
import { finishAttempt, followAttempt, isThenable, newWatch, signalOf, type Canceller, type Watch } from '../core/settle/attempt.js'
import { delayAfter, isRetryable } from '../core/settle/retry.js'
import { recordFailure, type OnItemError } from '../core/results/failure-log.js'
import { showKey } from '../core/results/failure-log.js'
import { createCompiler, type Validate } from '../core/items/validator.js'
import { invalidResult, notRun, toFailure } from '../errors.js'
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

/** Makes attempts at tasks. Never throws or rejects. */
export interface RunTask {
  /** Makes one. @returns its end, at once where the handler does not wait */
  (task: Task, at: TaskAttempt): TaskEnd | Promise<TaskEnd>
  /** Makes one after the other, as long as there is a next turn; which costs less than a promise for each. */
  readonly inTurn: (first: Turn, turns: Turns) => void
}

/** A task whose turn it is. */
export interface Turn {
  readonly task: Task
  /** As in {@link TaskAttempt}. */
  readonly index: number
  /** As in {@link TaskAttempt}. @default 1 */
  readonly attempt?: number
}

/** What is told of every attempt at a task of the batch. */
export type BatchOfTask = Pick<TaskAttempt, 'batchId' | 'log' | 'canceller'>

/** Where the turns of a batch come from, and where their ends go. */
export interface Turns extends BatchOfTask {
  /** @returns undefined when there is to be none for now */
  next (): Turn | undefined
  /** As {@link TaskEnd}. */
  onEnd (turn: Turn, result: TaskResult, retryIn: number | undefined): void
  /** There was no next turn. */
  onStop (): void
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

/** What runs a type of task, and the milliseconds that it has. */
interface Runner {
  readonly run: TaskDefinition['handler']
  readonly timeout: number
}

/** Makes the function that runs tasks, on every engine; schemas are compiled once. */
export function createTaskRunner ({ handlers, timeout, retries, onItemError }: TaskRunnerOptions): RunTask {
  const runners = createRunners(handlers, timeout)

  function fail (reason: unknown, turn: Turn, turns: Turns): void {
    const retryIn = retryAfter(reason, turn, turns, retries)
    const failure = toFailure(reason)
    const { index, task: { taskId } } = turn
    if (retryIn === undefined) recordFailure({ log: turns.log, request: null, onItemError }, failure, reason, index, taskId)
    turns.onEnd(turn, tasks.fail(taskId, failure), retryIn)
  }

  async function runInTurn (first: Turn | undefined, turns: Turns): Promise<void> {
    let turn = first
    // What comes next does not wait for a handler that has not ended with its task.
    const onEarlyEnd = ({ reason }: PromiseRejectedResult) => {
      fail(reason, turn!, turns)
      runInTurn(turns.next(), turns)
    }
    let last: Watch | undefined
    for (; turn !== undefined; turn = turns.next()) {
      const { run, timeout } = runners.get(turn.task.type) ?? NO_RUNNER
      const watch: Watch = last?.timeout === timeout ? last : newWatch(turns.canceller, timeout, onEarlyEnd)
      const context = new Context(turn, turns, watch)
      last = watch
      watch.context = context
      let output: unknown
      try {
        output = run(turn.task.payload, context)
        if (isThenable(output)) {
          followAttempt(watch)
          output = await output
        }
        if (output instanceof Error) throw output
      } catch (error) {
        if (!finishAttempt(watch)) return
        fail(error, turn, turns)
        continue
      }
      if (!finishAttempt(watch)) return
      turns.onEnd(turn, formatSuccess(turn.task, output), undefined)
    }
    turns.onStop()
  }

  function runTask (task: Task, at: TaskAttempt): TaskEnd | Promise<TaskEnd> {
    let known: TaskEnd | undefined
    let tell: ((end: TaskEnd) => void) | undefined
    runInTurn({ task, index: at.index, attempt: at.attempt }, {
      ...at,
      next: () => undefined,
      onEnd (_, result, retryIn) {
        known = { result, retryIn }
        tell?.(known)
      },
      onStop () {}
    })
    return known ?? new Promise(resolve => { tell = resolve })
  }

  return Object.assign(runTask, { inTurn: runInTurn })
}

function createRunners (handlers: TaskRunnerOptions['handlers'], timeout: number): Map<string, Runner> {
  const compile = createCompiler()
  return new Map(Object.entries(handlers).map(([type, definition]) => {
    const handler: TaskDefinition['handler'] = (payload, context) => definition.handler(payload, context)
    const run = definition.output === undefined ? handler : validating(handler, compile(definition.output))
    return [type, { run, timeout: definition.timeout ?? timeout }]
  }))
}

/** Not the client's fault: it was known where the batch was taken. */
const NO_RUNNER: Runner = {
  run () { throw notRun('No handler for this type of task where it was to run') },
  timeout: 0
}

function validating (handler: TaskDefinition['handler'], validate: Validate): TaskDefinition['handler'] {
  return (payload, context) => {
    const returned: unknown = handler(payload, context)
    return isThenable(returned) ? Promise.resolve(returned).then(output => expectValid(output, validate)) : expectValid(returned, validate)
  }
}

class Context implements TaskContext {
  readonly batchId: string
  readonly taskId: Key
  readonly attempt: number
  readonly #turn: Turn
  readonly #batch: BatchOfTask
  readonly #watch: Watch

  constructor (turn: Turn, batch: BatchOfTask, watch: Watch) {
    this.batchId = batch.batchId
    this.taskId = turn.task.taskId
    this.attempt = turn.attempt ?? 1
    this.#turn = turn
    this.#batch = batch
    this.#watch = watch
  }

  get signal (): AbortSignal { return signalOf(this.#watch, this) }
  get key (): string { return taskKey(this.batchId, this.#turn.index) }
  get log (): FastifyBaseLogger { return this.#batch.log.child({ index: this.#turn.index, key: showKey(this.taskId) }) }
}

/**
 * What tells a task from every other one, in this batch and any other, and is the same for each of its attempts: the id
 * of the batch, a slash, and the place of the task in the request.
 */
export function taskKey (batchId: string, index: number): string {
  return `${batchId}/${index}`
}

/** @returns undefined when the task is not to be tried again */
function retryAfter (reason: unknown, { attempt = 1 }: Turn, { canceller }: BatchOfTask, retries: number): number | undefined {
  const mayRetry = attempt <= retries && canceller.reason === undefined && isRetryable(reason)
  return mayRetry ? delayAfter(attempt, reason) : undefined
}

function formatSuccess ({ taskId }: Task, output: unknown): TaskResult {
  const result = new PlainObject()
  result.taskId = taskId
  result.status = 'completed'
  if (output !== undefined) result.output = output
  return result as unknown as TaskResult
}

function expectValid (output: unknown, validate: Validate): unknown {
  const problem = validate(output)?.[0]
  if (problem !== undefined) throw invalidResult(`the output ${problem.pointer} ${problem.detail}`)
  return output
}
