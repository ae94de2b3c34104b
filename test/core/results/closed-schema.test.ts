// Closing a schema: what cannot be closed accepts nothing, so that such results are serialized the slow way.
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { closeSchema } from '../../../lib/core/results/closed-schema.js'

t.test('accepts what the schema accepts, without undeclared members', async t => {
  const closed = closeSchema(Type.Object({ a: Type.Integer(), b: Type.Optional(Type.Object({ c: Type.String() })) }))
  t.equal(Value.Check(closed, { a: 1, b: { c: 'x' } }), true)
  t.equal(Value.Check(closed, { a: 1, b: { c: 'x', secret: 1 } }), false)
  t.equal(Value.Check(closed, { a: 1, secret: 1 }), false)
})

t.test('accepts anything for true, and nothing for false', async t => {
  t.equal(Value.Check(closeSchema(true), { a: [1] }), true)
  t.equal(Value.Check(closeSchema(false), 1), false)
})

const intricate = {
  'a constant array': [{ const: [1] }, [1]],
  'additional items without a tuple': [{ type: 'array', items: {}, additionalItems: false }, [1]],
  'names by a pattern of Unicode classes': [{ type: 'object', patternProperties: { '^\\p{L}+$': {} } }, { a: 1 }],
  'names by a pattern that is not ASCII': [{ type: 'object', patternProperties: { é: {} } }, { é: 1 }],
  'several patterns': [{ type: 'object', patternProperties: { '^a': {}, '^b': {} } }, { a: 1 }],
  'parts of an intersection': [{ allOf: [{ type: 'integer' }] }, 1]
} as const

for (const [name, [schema, value]] of Object.entries(intricate)) {
  t.test(`accepts nothing for ${name}`, async t => {
    t.equal(Value.Check(closeSchema(schema as never), value), false)
  })
}
