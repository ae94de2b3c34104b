// Compiling the schemas of items.
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createExampleCompiler } from '../../../lib/core/items/validator.js'
import { bulkRoute, generic } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'

async function buildRoutes (t: Test, ...items: TSchema[]) {
  const app = await build(t)
  for (const [index, item] of items.entries()) app.route(bulkRoute({ url: `/${index}`, contract: generic, item, handler: () => {} }))
  return app
}

const statusOf = async (app: FastifyInstance, url: string, item: unknown) =>
  (await app.inject({ method: 'POST', url, payload: [item] })).json().results[0].status

t.test('validates two routes whose schemas share an $id, each by its own schema', async t => {
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

t.test('resolves a shared schema in the context of its route', async t => {
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

t.test('checks examples only if there is documentation', async t => {
  const [plain, documented] = [await build(t), await build(t, { plugin: { docs: {} } })]

  t.equal(createExampleCompiler(plain)(Type.Integer())('text'), undefined)
  t.match(createExampleCompiler(documented)(Type.Integer())('text'), [{ pointer: '#', detail: /must be integer/ }])
})

t.test('applies the keywords beside a union to every branch', async t => {
  const kinds = [{ kind: 'a', n: { type: 'string' } }, { kind: 'b', n: { type: 'integer' } }].map(({ kind, n }) =>
    ({ type: 'object', required: ['kind', 'n'], properties: { kind: { const: kind }, n } }))
  const common = { type: 'object', required: ['id'], properties: { id: { type: 'integer', minimum: 1 } }, not: { required: ['admin'] } }
  const app = await buildRoutes(t, ...[{ oneOf: kinds, ...common }, { anyOf: kinds, ...common }].map(schema => Type.Unsafe(schema)))

  for (const url of ['/0', '/1']) {
    t.equal(await statusOf(app, url, { id: 1, kind: 'a', n: 'text' }), 'success')
    t.equal(await statusOf(app, url, { id: 1, kind: 'b', n: 'text' }), 'error')
    t.equal(await statusOf(app, url, { id: 0, kind: 'a', n: 'text' }), 'error')
    t.equal(await statusOf(app, url, { kind: 'b', n: 1 }), 'error')
    t.equal(await statusOf(app, url, { id: 1, kind: 'a', n: 'text', admin: true }), 'error')
  }
})

t.test('checks a union whose branches refer to the whole schema', async t => {
  const leaf = { type: 'object', required: ['kind'], properties: { kind: { const: 'leaf' } } }
  const node = { type: 'object', required: ['kind', 'inner'], properties: { kind: { const: 'node' }, inner: { $ref: '#' } } }
  const app = await buildRoutes(t, Type.Unsafe({ anyOf: [leaf, node] }))

  t.equal(await statusOf(app, '/0', { id: 1, kind: 'node', inner: { kind: 'leaf' } }), 'success')
  t.equal(await statusOf(app, '/0', { id: 1, kind: 'node', inner: { kind: 'other' } }), 'error')
})

t.test('rejects an asynchronous schema at the start', async t => {
  const app = await buildRoutes(t, Type.Unsafe({ $async: true, type: 'object', properties: { id: { type: 'integer' } } }))
  await t.rejects(async () => app.ready(), { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: /"\$async": true/ })
})
