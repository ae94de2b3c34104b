// The document that the example server publishes: Redocly and Spectral have nothing to say, and neither has a reader.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import swagger from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { contactRoutes } from '../../../examples/contacts/memory.js'
import { build as buildServer } from '../../../examples/server.js'
import { handlers } from '../../../examples/tasks.js'
import { bulkRoute, defineContract, disk, publishUnions } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'
import { example } from '../../fixtures/example-process.js'
import { lint, routesIn, type Document } from '../../fixtures/openapi.js'

const app = await buildServer({})
t.teardown(() => app.close())
const published: Document = (await app.inject('/documentation/json')).json()

t.test('npm run docs writes it to a file, or prints it', async t => {
  const run = promisify(execFile)
  const [program, ...args] = example('document.ts')
  const file = join(t.testdir(), 'openapi.json')
  const env = { PATH: process.env.PATH, UPLOAD_DIR: t.testdirName }

  t.equal((await run(program, [...args, file], { env })).stdout, '')
  t.strictSame(JSON.parse(await readFile(file, 'utf8')), published)
  t.strictSame(JSON.parse((await run(program, args, { env })).stdout), published)
})

t.test('Redocly and Spectral, with the rules that they have by default, report nothing', async t => {
  t.strictSame(await lint(published), [])
})

t.test('they report a document without a licence, an example that does not fit and an operation without a name', async t => {
  const { info: { license: _, ...info }, ...broken } = structuredClone(published)
  const [{ operation }] = routesIn(broken as Document) as [ReturnType<typeof routesIn>[number]]
  Object.assign(operation, { operationId: undefined })
  operation.responses[207]!.content!['application/json']!.examples!.mixed!.value = { results: [{ file: 1, status: 'uploaded' }] }

  const problems = (await lint({ ...broken, info })).map(problem => problem.split(' ', 2).join(' '))

  t.strictSame([...new Set(problems)].sort(), [
    'redocly info-license', 'redocly no-invalid-media-type-examples', 'redocly operation-operationId',
    'spectral oas3-valid-media-example', 'spectral operation-operationId'
  ])
})

t.test('of an app that says nothing of itself they miss only what nobody else can know', async t => {
  const plain = await build(t, { plugin: { docs: {}, tasks: {}, upload: { storage: { open: async () => { throw new Error('never') } } } } })

  t.strictSame(await lint((await plain.inject('/documentation/json')).json()), [
    'redocly info-license #/info: Info object should contain `license` field.',
    'spectral info-contact #/info: Info object must have "contact" object.'
  ])
})

t.test('every operation has a name, a summary, a description and a tag of which the document says what it is', async t => {
  const tags = new Map((published.tags as { name: string, description: string }[]).map(({ name, description }) => [name, description]))
  for (const { operation } of routesIn(published)) {
    t.match(operation.operationId, /^[a-z][A-Za-z]+$/)
    t.match(operation.summary, /^\w.{9,}/, operation.operationId)
    t.match(operation.description, /^\w.{39,}/, operation.operationId)
    t.ok(operation.tags.length > 0, operation.operationId)
    for (const tag of operation.tags) t.match(tags.get(tag), /^\w.{9,}/, tag)
  }
})

t.test('every error has a code of its own, the schema of all errors and examples', async t => {
  for (const { operation: { operationId, responses } } of routesIn(published)) {
    const errors = Object.entries(responses).filter(([status]) => Number(status) >= 400)
    t.ok(errors.length > 0, operationId)
    for (const [status, { content }] of errors) {
      t.match(status, /^[45]\d\d$/)
      t.strictSame(content?.['application/json']?.schema, { $ref: '#/components/schemas/RequestError' }, `${operationId} ${status}`)
      t.ok(Object.keys(content?.['application/json']?.examples ?? {}).length > 0, `${operationId} ${status}`)
    }
  }
})

t.test('every multi-status answer has its headers, and examples of which one is mixed', async t => {
  for (const { operation: { operationId, responses, parameters } } of routesIn(published)) {
    const answer = responses[207]
    if (answer?.content?.['application/json'] === undefined) continue
    t.strictSame(Object.keys(answer.headers!).filter(name => ['Multi-Status', 'Preference-Applied', 'Vary'].includes(name)).length, 3, operationId)
    t.strictSame(Object.keys(answer.content['application/json'].examples!), ['mixed', 'succeeded', 'failed'], operationId)
    t.ok(parameters!.some(({ name, in: where }) => name === 'Prefer' && where === 'header'), operationId)
  }
})

t.test('an app says of itself what it likes, and describes its tags itself', async t => {
  const openapi = {
    servers: [{ url: 'https://api.example.org' }],
    security: [{ token: [] }],
    tags: [{ name: 'tasks', description: 'Mine' }],
    components: { securitySchemes: { token: { type: 'http' as const, scheme: 'bearer' } } }
  }
  const app = await build(t, { plugin: { docs: { openapi }, tasks: {} } })

  const document: Document = (await app.inject('/documentation/json')).json()

  t.match(document, openapi)
  t.strictSame(document.tags, openapi.tags)
})

for (const openapi of ['3.0.3', '3.1.0']) {
  for (const convertConstToEnum of [true, false]) {
    t.test(`in an app that publishes OpenAPI ${openapi} itself they report nothing either, constants ${convertConstToEnum ? 'written' : 'not written'} as enums`, async t => {
      const info = { ...published.info, version: '1', license: { name: 'MIT', url: 'https://opensource.org/license/mit' } }
      const own = { openapi, info, servers: [{ url: '/' }], security: [], tags: ['contacts', 'tasks', 'upload'].map(name => ({ name, description: 'Mine' })) }
      const app = await build(t, {
        before: app => app.register(swagger, { openapi: own, convertConstToEnum, transformObject: publishUnions() }),
        plugin: { docs: {}, tasks: { handlers }, upload: { storage: disk({ dir: t.testdir() }) } }
      })
      await app.register(contactRoutes)
      await app.ready()

      const document = JSON.parse(JSON.stringify(app.swagger())) as Document

      t.strictSame(await lint(document), [])
      t.match(await new Validator().validate(document), { valid: true })
      t.match(document.components.schemas.ContactRejected, {
        properties: openapi === '3.1.0' ? { email: { anyOf: [{ type: 'string' }, { type: 'null' }] } } : { status: { enum: ['rejected'] }, email: { type: 'string', nullable: true } }
      })
    })
  }
}

t.test('an example that does not fit its schema is left out, and one of each word is given', async t => {
  const app = await build(t, { plugin: { docs: {} } })
  const contract = defineContract({
    name: 'Row',
    key: 'id',
    keyType: Type.String({ pattern: '^[A-Z]{2}$', examples: ['AB'] }),
    success: ['created', 'updated'],
    failure: 'rejected',
    reason: 'message',
    data: { created: Type.Object({ at: Type.String({ format: 'date-time' }) }) }
  })
  const code = Type.Object({ code: Type.String({ pattern: '^[A-Z]{3}-\\d$' }) })
  app.route(bulkRoute({ url: '/rows', contract, item: code, handler: () => ({ at: '' }) }))

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const { requestBody, responses } = paths['/rows']!.post!

  const { examples } = responses[207]!.content!['application/json']!
  t.notOk('example' in requestBody!.content['application/json']!)
  t.strictSame(Object.keys(examples!), ['mixed', 'succeeded', 'failed', 'updated'])
  t.match(examples!.mixed!.value, { results: [{ id: 'AB', status: 'created' }, { id: null, status: 'rejected' }] })
})

t.test('what is valid is shown, whatever the format of the key and the kind of the data', async t => {
  for (const format of ['date', 'date-time', 'email', 'hostname', 'time', 'uri', 'uuid']) {
    const app = await build(t, { plugin: { docs: {} } })
    const id = Type.String({ format })
    const data = Type.Object({
      count: Type.Integer({ minimum: 5 }), share: Type.Number({ maximum: 0.5 }), name: Type.String({ minLength: 8 }), done: Type.Boolean(), none: Type.Null()
    })
    const contract = defineContract({ name: 'Row', key: 'id', keyType: id, success: 'created', failure: 'rejected', reason: 'message', data })
    app.route(bulkRoute({ url: '/rows', contract, item: Type.Object({ id, ...data.properties }), handler: row => row }))

    const { paths }: Document = (await app.inject('/documentation/json')).json()
    const { requestBody, responses } = paths['/rows']!.post!

    t.match(requestBody!.content['application/json']!.example, [{ count: 5, share: 0.5, name: 'string--', done: true, none: null }])
    t.match(responses[207]!.content!['application/json']!.examples!.mixed!.value, { results: [{ status: 'created' }, { status: 'rejected', id: /^./ }] })
  }
})
