// Writes a task's result as the JSON that an engine keeps and the 207 body sends.
import { tasks, type Key, type TaskResult } from '../../schemas/index.js'
import { recordFailure, type FailureLogger } from '../core/results/failure-log.js'
import { serializeAlone, serializerOf } from '../core/results/serializer.js'
import { invalidResult, resultTooLarge, toFailure } from '../errors.js'
import type { PlacedResult } from './engine.js'

/** One result in JSON, and whether it is a failure. */
export interface ResultText {
  readonly json: string
  readonly failed: boolean
}

const serialize = serializerOf(tasks)

/**
 * The result as the answer would have it. One that JSON cannot hold, as a BigInt or a cycle, becomes a failure that says
 * `INVALID_RESULT`, and is noted; so this is to be asked before a result is counted.
 */
export function writeResult ({ index, result }: PlacedResult, logger: FailureLogger): ResultText {
  const key = result.taskId as Key
  const { text, failed } = serializeAlone(serialize, result, {
    onInvalid: (_, _key, why) => recordFailure(logger, toFailure(invalidResult()), invalidResult(why), index, key)
  })
  return { json: text, failed }
}

/** What takes the place of a result for which there is no room. */
export function writeTooLarge ({ index, result }: PlacedResult, logger: FailureLogger): ResultText {
  const [key, reason] = [result.taskId as Key, resultTooLarge()]
  recordFailure(logger, toFailure(reason), reason, index, key)
  return writeResult({ index, result: tasks.fail(key, toFailure(reason)) }, logger)
}

/** @param json what {@link writeResult} has written */
export function readResult (json: string): TaskResult {
  return JSON.parse(json) as TaskResult
}
