// The schemas of items: each route is held to its own, whatever others are called, and documentation costs nothing where there is none.
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createExampleCompiler } from '../lib/core/item-validator.js'
import { bulkRoute, generic } from '../lib/index.js'
import { build } from './fixtures/build.js'

async function buildRoutes (t: Test, ...items: TSchema[]) {
  const app = await build(t)
  for (const [index, item] of items.entries()) app.route(bulkRoute({ url: `/${index}`, contract: generic, item, handler: () => {} }))
  return app
}

const statusOf = async (app: FastifyInstance, url: string, item: unknown) =>
  (await app.inject({ method: 'POST', url, payload: [item] })).json().results[0].status

t.test('two routes whose items have one $id and differ are each held to their own', async t => {
  const named = (n: TSchema) => Type.Object({ id: Type.Integer(), n }, { $id: 'Item' })
  const nested = (n: TSchema) => Type.Object({ id: Type.Integer(), inner: Type.Object({ n }, { $id: 'Inner' }) })
  const app = await buildRoutes(t, named(Type.String()), named(Type.Integer()), nested(Type.String()), nested(Type.Integer()))

  t.equal(await statusOf(app, '/0', { id: 1, n: 'text' }), 'success')
  t.equal(await statusOf(app, '/0', { id: 1, n: 1 }), 'error')
  t.equal(await statusOf(app, '/1', { id: 1, n: 'text' }), 'error')
  t.equal(await statusOf(app, '/1', { id: 1, n: 1 }), 'success')
  t.equal(await statusOf(app, '/2', { id: 1, inner: { n: 1 } }), 'error')
  t.equal(await statusOf(app, '/3', { id: 1, inner: { n: 1 } }), 'success')
})

t.test('contexts with a shared schema of one name and different content are each held to their own', async t => {
  const app = await build(t)
  for (const [url, type] of [['/texts', 'string'], ['/numbers', 'integer']] as const) {
    app.register(async child => {
      child.addSchema({ $id: 'n', type })
      child.route(bulkRoute({ url, contract: generic, item: Type.Object({ id: Type.Integer(), n: Type.Unsafe({ $ref: 'n#' }) }), handler: () => {} }))
    })
  }

  t.equal(await statusOf(app, '/texts', { id: 1, n: 'text' }), 'success')
  t.equal(await statusOf(app, '/texts', { id: 1, n: 1 }), 'error')
  t.equal(await statusOf(app, '/numbers', { id: 1, n: 1 }), 'success')
})

t.test('examples are held against their schemas only where somebody may read them', async t => {
  const [plain, documented] = [await build(t), await build(t, { plugin: { docs: {} } })]

  t.equal(createExampleCompiler(plain)(Type.Integer())('text'), undefined)
  t.match(createExampleCompiler(documented)(Type.Integer())('text'), [{ pointer: '#', detail: /must be integer/ }])
})
