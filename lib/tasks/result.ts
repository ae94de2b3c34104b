// A result as it is kept: text that every process can read, and that is what the 207 body will say.
import type { FastifyBaseLogger } from 'fastify'
import { tasks, type Key, type TaskResult } from '../../schemas/index.js'
import { logItemFailure } from '../core/item-log.js'
import { serializeAlone, serializerOf } from '../core/serializer.js'
import { invalidResult, toFailure } from '../errors.js'
import type { PlacedResult } from './engine.js'

/** One result in JSON, and whether it is a failure. */
export interface ResultText {
  readonly json: string
  readonly failed: boolean
}

const serialize = serializerOf(tasks, () => ({}))

/**
 * The result as the answer would have it. One that JSON cannot hold, as a BigInt or a cycle, becomes a failure that says
 * `INVALID_RESULT`, and is logged; so this is to be asked before a result is counted.
 */
export function writeResult ({ index, result }: PlacedResult, log: FastifyBaseLogger): ResultText {
  const key = result.taskId as Key
  const { text, failed } = serializeAlone(serialize, result, {
    onInvalid: (_, _key, why) => logItemFailure(log, toFailure(invalidResult()), invalidResult(why), index, key)
  })
  return { json: text, failed }
}

/** @param json what {@link writeResult} has written */
export function readResult (json: string): TaskResult {
  return JSON.parse(json) as TaskResult
}
