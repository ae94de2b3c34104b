// The tasks contract, and the schemas of a task and of the progress of a batch.
import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { defineContract } from './contract.js'

/** The key of a task. */
export const TaskId = Type.Union([
  Type.Integer(),
  Type.String({ minLength: 1, maxLength: 255 })
], { description: 'Chosen by the client, unique in the request', examples: [101, 102] })

/** `{"tasks":[{"taskId":101,"status":"completed"},{"taskId":102,"status":"failed","reason":"Timeout"}]}` */
export const tasks = defineContract({
  name: 'Task',
  envelope: 'tasks',
  key: 'taskId',
  keyType: TaskId,
  success: 'completed',
  failure: 'failed',
  reason: 'reason',
  data: Type.Object({
    output: Type.Optional(Type.Unknown({ description: 'What the task gave back' }))
  }),
  failureExample: { message: 'Timeout', code: 'TIMEOUT', statusCode: 504, retryable: true }
})

export type TaskResult = Static<typeof tasks.schemas.result>

/** Creates the schema of a task of one type. */
export function taskOf (type: string, payload: TSchema) {
  const name = type.replace(/[^A-Za-z0-9]/g, '')
  return Type.Object({
    taskId: TaskId,
    type: Type.Literal(type),
    payload
  }, { title: `${name.charAt(0).toUpperCase()}${name.slice(1)}Task` })
}

/** The progress of a batch of tasks. */
export const BatchSummary = Type.Object({
  total: Type.Integer({ minimum: 1, description: 'Tasks of the request', examples: [3] }),
  succeeded: Type.Integer({ minimum: 0, description: 'Completed', examples: [1] }),
  failed: Type.Integer({ minimum: 0, description: 'Failed, also those that were invalid', examples: [1] }),
  pending: Type.Integer({ minimum: 0, description: 'Without a result yet', examples: [1] })
}, { title: 'BatchSummary', description: 'How far the batch is' })

export type BatchSummary = Static<typeof BatchSummary>

/** The body of a 202 response, while a batch of tasks runs. */
export const BatchProgress = Type.Object({
  batchId: Type.String({ description: 'What the server calls the batch', examples: ['0b2f8a5e-7c1d-4f3a-9e6b-2d4c8a1f5e70'] }),
  summary: BatchSummary
}, { title: 'BatchProgress' })

export type BatchProgress = Static<typeof BatchProgress>
