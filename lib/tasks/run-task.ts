// Runs tasks: calls the handler of each type within its time, and checks what it returns.
import type { FastifyBaseLogger } from 'fastify'
import { tasks, type Key, type TaskResult } from '../../schemas/index.js'
import { isThenable, LazyAbortController, runAttempt, type Abort, type Outcome } from '../core/settle/attempt.js'
import { settleSource, type Gate } from '../core/settle/pool.js'
import { retryDelay } from '../core/settle/retry.js'
import { openSource } from '../core/settle/source.js'
import { recordFailure, type OnItemError } from '../core/results/failure-log.js'
import { showKey } from '../core/results/failure-log.js'
import { createCompiler, type Validate } from '../core/items/validator.js'
import { cancelled, invalidResult, notRun, toFailure, type ItemError } from '../errors.js'
import type { TaskContext, TaskDefinition } from './definition.js'
import type { PlacedTask } from './engine.js'

/** One task of a request, valid for its type. */
export interface Task {
  /** The client's own name for it, unique in the request; 1 and "1" are two. */
  readonly taskId: Key
  readonly type: string
  readonly payload?: unknown
}

/** Cancels what an engine has in progress: an AbortController whose reason says why the task failed. */
export interface Canceller {
  readonly signal: AbortSignal
  /** Why, once it has been cancelled. */
  readonly reason: ItemError | undefined
  cancel (reason: ItemError): void
}

/**
 * Makes what ends an attempt, for an engine that runs tasks with `host.runTask`.
 * @example
 *   const canceller = createCanceller()
 *   const end = await host.runTask(task, { batchId, index, attempt: 1, log, canceller })
 */
export function createCanceller (): Canceller {
  const controller = new AbortController()
  const { signal } = controller
  return {
    signal,
    get reason () { return signal.reason as ItemError | undefined },
    cancel: reason => controller.abort(reason)
  }
}

/** What is the same for all tasks of a batch. */
export interface BatchOfTask {
  readonly batchId: string
  /** The logger of the batch; a handler gets one that says also which task it is. */
  readonly log: FastifyBaseLogger
  /** Ends what is in progress: it is settled at once, and the signal of each handler aborts. */
  readonly canceller: Canceller
}

/** One attempt at a task. */
export interface TaskAttempt extends BatchOfTask {
  /** The place of the task in its request, from 0. */
  readonly index: number
  /** 1 at first, one more for each retry, also for one that a dead process has made necessary. */
  readonly attempt: number
}

/** What came of an attempt. */
export interface TaskEnd {
  /** The result, in the words of the contract; its output can still be what JSON cannot hold. */
  readonly result: TaskResult
  /** Milliseconds after which to try again; undefined when the result is final. */
  readonly retryIn: number | undefined
}

/** Tasks of a batch that run in this process to their end. */
export interface BatchOfTasks extends BatchOfTask {
  readonly tasks: readonly PlacedTask[]
  /** How many of them run at a time, those included that wait for a retry. */
  readonly concurrency: number
  /** Where each attempt waits for its turn. */
  readonly gate: Gate
  /** Called when a task begins, once for each. */
  onBegin (): void
  /** Called with the result of each task, once, and its place in the request. */
  onResult (index: number, result: TaskResult): void
}

/** Runs tasks, on every engine. Never throws or rejects. */
export interface RunTask {
  /** Makes one attempt at one task. When to make the next one is for the engine to see to. */
  (task: Task, at: TaskAttempt): Promise<TaskEnd>
  /** Runs tasks, with their retries. What has not begun when the batch is cancelled fails with the reason of that. */
  readonly batch: (batch: BatchOfTasks) => Promise<void>
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

/** Makes the function that runs tasks; schemas are compiled once. */
export function createTaskRunner ({ handlers, timeout, retries, onItemError }: TaskRunnerOptions): RunTask {
  const runners = createRunners(handlers, timeout)
  const runnerOf = ({ task: { type } }: PlacedTask) => runners.get(type) ?? NO_RUNNER

  function work (placed: PlacedTask, context: TaskContext): unknown {
    const output = runnerOf(placed).run(placed.task.payload, context)
    return isThenable(output) ? awaitOutput(output) : expectNoError(output)
  }

  const timeoutOf = (placed: PlacedTask) => runnerOf(placed).timeout

  function fail ({ index, task: { taskId } }: PlacedTask, reason: unknown, { log }: BatchOfTask): TaskResult {
    const failure = toFailure(reason)
    recordFailure({ log, request: null, onItemError }, failure, reason, index, taskId)
    return tasks.fail(taskId, failure)
  }

  async function runTask (task: Task, at: TaskAttempt): Promise<TaskEnd> {
    const placed = { index: at.index, task }
    const outcome = await attemptOnce(placed, at)
    if (outcome.status === 'fulfilled') return { result: succeed(task, outcome.value), retryIn: undefined }
    const { reason } = outcome
    const retryIn = at.canceller.reason === undefined ? retryDelay(reason, at.attempt, { retries }) : undefined
    const result = retryIn === undefined ? fail(placed, reason, at) : tasks.fail(task.taskId, toFailure(reason))
    return { result, retryIn }
  }

  async function attemptOnce (placed: PlacedTask, at: TaskAttempt): Promise<Outcome<unknown>> {
    const { signal } = at.canceller
    const controller = new LazyAbortController()
    const running = new Set<Abort>()
    const onAbort = () => { for (const abort of running) abort(signal.reason) }
    signal.addEventListener('abort', onAbort)
    const context = new Context(placed, at.attempt, at, controller)
    const outcome = runAttempt(() => work(placed, context), { controller, running, timeout: timeoutOf(placed) })
    // It may have been cancelled before, or by its own handler.
    if (signal.aborted) onAbort()
    try {
      return await outcome
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  function runBatch (batch: BatchOfTasks): Promise<void> {
    const { canceller, concurrency, gate, onBegin, onResult } = batch
    let begun = 0
    return settleSource<PlacedTask, unknown, TaskContext>({
      source: openSource(batch.tasks),
      worker: work,
      newContext (placed, index, attempt, controller) {
        // First attempts begin in order.
        if (attempt === 1) {
          begun = index + 1
          onBegin()
        }
        return new Context(placed, attempt, batch, controller)
      },
      options: { concurrency, retries, timeout: timeoutOf, signal: canceller.signal },
      gate,
      deliver (outcome, index, given) {
        const placed = given!
        if (outcome.status === 'fulfilled') return onResult(placed.index, succeed(placed.task, outcome.value))
        if (index >= begun) return onResult(placed.index, tasks.fail(placed.task.taskId, toFailure(outcome.reason)))
        onResult(placed.index, fail(placed, canceller.reason === undefined ? outcome.reason : cancelled(), batch))
      }
    })
  }

  return Object.assign(runTask, { batch: runBatch })
}

async function awaitOutput (output: PromiseLike<unknown>): Promise<unknown> {
  return expectNoError(await output)
}

/** An error that a handler returns, as by `catch(error => error)`, is a failure none the less. */
function expectNoError (output: unknown): unknown {
  if (output instanceof Error) throw output
  return output
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
  timeout: 1
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
  readonly #index: number
  readonly #batch: BatchOfTask
  readonly #controller: LazyAbortController

  constructor ({ index, task }: PlacedTask, readonly attempt: number, batch: BatchOfTask, controller: LazyAbortController) {
    this.batchId = batch.batchId
    this.taskId = task.taskId
    this.#index = index
    this.#batch = batch
    this.#controller = controller
  }

  get signal (): AbortSignal { return this.#controller.signal }
  get key (): string { return taskKey(this.batchId, this.#index) }
  get log (): FastifyBaseLogger { return this.#batch.log.child({ index: this.#index, key: showKey(this.taskId) }) }
}

/**
 * What tells a task from every other one, in this batch and any other, and is the same for each of its attempts: the id
 * of the batch, a slash, and the place of the task in the request.
 */
export function taskKey (batchId: string, index: number): string {
  return `${batchId}/${index}`
}

function succeed ({ taskId }: Task, output: unknown): TaskResult {
  const result: Record<string, unknown> = {}
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
