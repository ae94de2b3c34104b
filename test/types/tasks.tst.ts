// What a task infers from its schemas.
import { Type } from '@sinclair/typebox'
import { describe, expect, test } from 'tstyche'
import { defineTask, tasks, type FastifyMultiStatusOptions, type TaskContext, type TaskResult } from '../../lib/index.js'

describe('defineTask', () => {
  test('types the payload by its schema, and tells the handler about the task', () => {
    defineTask({
      payload: Type.Object({ width: Type.Integer(), format: Type.Union([Type.Literal('png'), Type.Literal('webp')]) }),
      handler: (payload, context) => {
        expect(payload).type.toBe<{ width: number, format: 'png' | 'webp' }>()
        expect(context).type.toBe<TaskContext>()
        expect(context.taskId).type.toBe<string | number>()
        expect(context.key).type.toBe<string>()
      }
    })
  })

  test('knows nothing of a payload without a schema', () => {
    defineTask({ handler: payload => { expect(payload).type.toBe<unknown>() } })
  })

  test('holds what a handler returns against its schema', () => {
    const output = Type.Object({ pixels: Type.Integer() })

    expect(defineTask).type.toBeCallableWith({ output, handler: async () => ({ pixels: 7 }) })
    expect(defineTask).type.not.toBeCallableWith({ output, handler: async () => ({ pixels: 'seven' }) })
    expect(defineTask).type.not.toBeCallableWith({ output, handler: async () => {} })
  })

  test('makes what the plugin takes, whatever its schemas', () => {
    const resize = defineTask({ payload: Type.Object({ width: Type.Integer() }), handler: ({ width }) => width })

    expect<FastifyMultiStatusOptions>().type.toBeAssignableFrom({ tasks: { handlers: { resize } } })
  })
})

test('a result narrows by its status', () => {
  const result = tasks.fail(102, { message: 'Timeout' }) as TaskResult

  expect(result).type.toBe<TaskResult>()
  if (result.status === 'failed') expect(result.reason).type.toBe<string>()
  else expect(result.output).type.toBe<unknown>()
})
