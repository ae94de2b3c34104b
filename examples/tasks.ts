// The tasks that the example server runs.
import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import { defineTask, ItemError } from '../lib/index.js'

export const handlers = {
  echo: defineTask({
    payload: Type.Unknown(),
    handler: payload => payload
  }),
  sleep: defineTask({
    payload: Type.Object({ ms: Type.Integer({ minimum: 0, maximum: 60_000, examples: [10] }) }),
    handler: async ({ ms }, { signal }) => { await setTimeout(ms, undefined, { signal }) }
  }),
  fail: defineTask({
    payload: Type.Object({ message: Type.String({ maxLength: 200, examples: ['No such image'] }) }),
    handler: ({ message }) => { throw new ItemError(message) }
  }),
  sha256: defineTask({
    payload: Type.Object({ text: Type.String({ examples: ['hello'] }) }),
    output: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    handler: ({ text }) => createHash('sha256').update(text).digest('hex')
  })
}
