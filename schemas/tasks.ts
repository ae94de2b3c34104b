// The tasks contract, and the shape of one task of a given type.
import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { defineContract } from './contract.js'

/** What a client may call a task. */
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

/** The schema of a task of one type. */
export function taskOf (type: string, payload: TSchema) {
  const name = type.replace(/[^A-Za-z0-9]/g, '')
  return Type.Object({
    taskId: TaskId,
    type: Type.Literal(type),
    payload
  }, { title: `${name.charAt(0).toUpperCase()}${name.slice(1)}Task` })
}
