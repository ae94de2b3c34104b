// The documentation: OpenAPI 3.1 with the unions of each 207 body, and apps that have a swagger of their own.
import swagger, { type FastifyDynamicSwaggerOptions, type SwaggerTransformObject } from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { build as buildServer } from '../examples/server.js'
import { bulkRoute, defineContract, publishUnions, type FastifyMultiStatusOptions } from '../lib/index.js'
import { build } from './fixtures/build.js'

/** As much of an OpenAPI document as is looked at here. */
interface Document {
  openapi?: string
  info: { title: string }
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Record<string, unknown>> }
}

interface Operation {
  operationId: string
  summary: string
  description: string
  tags: string[]
  parameters?: { name: string, description: string }[]
  requestBody: { content: Record<string, { schema: { properties: Record<string, unknown> } }> }
  responses: Record<string, {
    description: string
    headers: Record<string, unknown>
    content: { 'application/json': { schema: Record<string, unknown>, example?: unknown, examples: Record<string, { value: unknown }> } }
  }>
}

const resultsIn = (operation: Operation, status = '207') => operation.responses[status]!.content['application/json']
const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })

async function validity (document: Document): Promise<unknown> {
  const { valid, errors } = await new Validator().validate(document as unknown as Record<string, unknown>)
  return valid ? 'valid' : errors
}

const contact = defineContract({
  name: 'Contact', key: 'email', keyType: Type.String(), success: 'created', failure: 'rejected', reason: 'message'
})

const contactRoute = bulkRoute({ url: '/contacts', contract: contact, item: Type.Object({ email: Type.String() }), handler: () => {} })

t.test('an app without swagger gets an OpenAPI 3.1 document that is valid, and a page that shows it', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const response = await app.inject('/documentation/json')
  const page = await app.inject('/documentation')
  const script = await app.inject('/documentation/static/swagger-initializer.js')
  const document: Document = response.json()

  t.equal(response.statusCode, 200)
  t.equal(document.openapi, '3.1.0')
  t.equal(await validity(document), 'valid')
  t.strictSame(Object.keys(document.paths), ['/upload', '/tasks', '/tasks/{batchId}', '/tasks/{batchId}/events', '/contacts'])
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-type'], 'text/html')
  t.match(page.body, 'swagger-ui')
  t.match(script.body, '/json')
})

t.test('every operation has a name, a summary, a description and a tag', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const operations = Object.values(paths).flatMap(path => Object.values(path))

  t.strictSame(operations.map(({ operationId, tags }) => [operationId, tags]), [
    ['uploadFiles', ['upload']],
    ...['runTasks', 'getBatch', 'cancelBatch', 'followBatch'].map(name => [name, ['tasks']]),
    ['createContacts', ['contacts']]
  ])
  for (const { summary, description } of operations) {
    t.match(summary, /^\w.{9,}/)
    t.match(description, /^\w.{39,}/)
  }
})

t.test('the results are a oneOf with a discriminator and named components', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const { paths, components }: Document = (await app.inject('/documentation/json')).json()
  const unions = Object.values(paths).flatMap(({ post }) => post === undefined ? [] : [resultsIn(post).schema])

  const bodyOf = (envelope: string, success: [string, string], failure: [string, string]) => ({
    type: 'object',
    required: [envelope],
    properties: {
      [envelope]: {
        description: 'One result per item, in request order',
        type: 'array',
        items: {
          oneOf: [ref(success[1]), ref(failure[1])],
          discriminator: {
            propertyName: 'status',
            mapping: { [success[0]]: ref(success[1]).$ref, [failure[0]]: ref(failure[1]).$ref }
          }
        }
      }
    }
  })
  t.strictSame(unions, [
    bodyOf('results', ['uploaded', 'FileUploaded'], ['failed', 'FileFailed']),
    bodyOf('tasks', ['completed', 'TaskCompleted'], ['failed', 'TaskFailed']),
    bodyOf('results', ['created', 'ContactCreated'], ['rejected', 'ContactRejected'])
  ])
  t.strictSame(Object.keys(components.schemas).sort(), [
    'ContactCreated', 'ContactRejected', 'EchoTask', 'FailTask', 'FileFailed', 'FileUploaded', 'Sha256Task', 'SleepTask',
    'TaskCompleted', 'TaskFailed'
  ])
  t.match(components.schemas.ContactCreated, {
    title: 'ContactCreated',
    type: 'object',
    required: ['email', 'status', 'contactId'],
    properties: { status: { const: 'created', type: 'string' }, contactId: { type: 'integer' } }
  })
})

t.test('the kinds of task are a oneOf of their own', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const { paths }: Document = (await app.inject('/documentation/json')).json()

  t.match(paths['/tasks']!.post!.requestBody.content['application/json']!.schema.properties.tasks, {
    type: 'array',
    minItems: 1,
    maxItems: 1000,
    items: {
      oneOf: [ref('EchoTask'), ref('SleepTask'), ref('FailTask'), ref('Sha256Task')],
      discriminator: { propertyName: 'type', mapping: { sleep: ref('SleepTask').$ref } }
    }
  })
})

t.test('the examples are those of a batch of which some worked: two items, two keys', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const { examples } = resultsIn(paths['/contacts']!.post!)

  const success = { email: 'ada@example.org', status: 'created', contactId: 1 }
  const failure = {
    email: 'bob@example.org',
    status: 'rejected',
    message: 'Invalid data',
    code: 'INVALID_ITEM',
    statusCode: 422,
    retryable: false,
    errors: [{ pointer: '#/name', detail: 'must be string; received number' }]
  }
  t.strictSame(examples, {
    mixed: { summary: 'Some worked, some did not', value: { results: [success, failure] } },
    succeeded: { summary: 'All worked', value: { results: [success] } },
    failed: { summary: 'None worked', value: { results: [failure] } }
  })
  for (const [path, key] of [['/tasks', 'taskId'], ['/upload', 'file']] as const) {
    const [[first, second]] = Object.values(resultsIn(paths[path]!.post!).examples.mixed!.value as object)
    t.equal(first.status === second.status, false)
    t.equal(first[key] === second[key], false)
  }
})

t.test('a key without an example gets two that differ', async t => {
  const app = await build(t, { plugin: { docs: {} } })
  app.route(contactRoute)

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const { results } = resultsIn(paths['/contacts']!.post!).examples.mixed!.value as { results: { email: string }[] }

  t.strictSame(results.map(({ email }) => email), ['string', 'string-2'])
})

t.test('headers and whole-request errors are documented as they are sent', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const { responses, parameters } = paths['/contacts']!.post!
  const empty = (await app.inject({ method: 'POST', url: '/contacts', payload: [] })).json()

  t.strictSame(Object.keys(responses), ['207', '400', '413', '415', '422', '500', '503'])
  t.strictSame(Object.keys(responses[207]!.headers), ['Multi-Status', 'Preference-Applied'])
  t.strictSame(resultsIn(paths['/contacts']!.post!, '400').example, { ...empty, message: 'Expected at least 1 item in the body; received 0' })
  for (const status of Object.keys(responses).slice(1)) {
    t.match(resultsIn(paths['/contacts']!.post!, status), { example: { statusCode: Number(status) }, schema: { title: 'RequestError' } })
  }
  t.match(parameters, [{ name: 'prefer', in: 'header', required: false, description: /handling=strict.*return=minimal/ }])
})

t.test('what an upload cannot do is not promised: no item can be refused before it has been read', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const { responses, parameters, requestBody } = paths['/upload']!.post!

  t.strictSame(Object.keys(responses), ['207', '400', '413', '415', '500', '503'])
  t.notMatch(parameters![0]!.description, 'handling=strict')
  t.match(parameters![0]!.description, 'return=minimal')
  t.strictSame(Object.keys(requestBody.content), ['multipart/form-data', 'application/json'])
})

t.test('with status: collapse, 200 is documented too, by an example in which all succeeded', async t => {
  const app = await build(t, { plugin: { status: 'collapse', docs: {} } })
  app.route(contactRoute)

  const document: Document = (await app.inject('/documentation/json')).json()
  const { post } = document.paths['/contacts']!

  t.equal(await validity(document), 'valid')
  t.strictSame(Object.keys(post!.responses).slice(0, 2), ['200', '207'])
  t.equal(post!.responses[200]!.description, 'Every item succeeded')
  t.strictSame(resultsIn(post!, '200').schema, resultsIn(post!).schema)
  t.strictSame(Object.keys(resultsIn(post!, '200').examples), ['succeeded'])
})

t.test('what a route says of itself wins over what follows from its contract', async t => {
  const app = await build(t, { plugin: { docs: {} } })
  app.post('/contacts', {
    config: { multiStatus: contact },
    schema: {
      body: Type.Array(Type.Object({ email: Type.String() })),
      headers: Type.Object({ 'x-tenant': Type.Optional(Type.String()) }),
      response: { 400: { description: 'My own', type: 'null' } }
    }
  }, async (_request, reply) => reply.multiStatus([]))

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const { responses, parameters } = paths['/contacts']!.post!

  t.strictSame(parameters!.map(({ name }) => name), ['x-tenant'])
  t.equal(responses[400]!.description, 'My own')
  t.equal(responses[413]!.description, 'Too many items or too many bytes; the message says the limit. Nothing ran.')
})

t.test('the page has the path and the title of the docs option', async t => {
  const app = await build(t, { plugin: { docs: { routePrefix: '/api-docs', info: { title: 'Contacts', version: '2.3.4' } } } })

  const document: Document = (await app.inject('/api-docs/json')).json()

  t.strictSame(document.info, { title: 'Contacts', version: '2.3.4' })
  t.equal((await app.inject('/api-docs')).statusCode, 200)
  t.equal((await app.inject('/documentation')).statusCode, 404)
})

t.test('docs: false leaves the app without a page and without a swagger', async t => {
  const app = await build(t, { plugin: { docs: false, tasks: {} } })

  t.equal((await app.inject('/documentation/json')).statusCode, 404)
  t.equal(app.hasDecorator('swagger'), false)
})

t.test('a component of the same title but other members gets a name of its own', async t => {
  const app = await build(t, { plugin: { docs: {} } })
  const other = (member: string) => defineContract({
    name: 'Contact', key: 'email', keyType: Type.String(), success: 'created', failure: 'rejected', reason: 'message', data: Type.Object({ [member]: Type.Boolean() })
  })
  const contracts = { first: contact, same: contact, second: other('a'), third: other('b') }
  for (const [name, contract] of Object.entries(contracts)) {
    app.post(`/${name}`, { config: { multiStatus: contract } }, async (_request, reply) => reply.multiStatus([]))
  }

  const document: Document = (await app.inject('/documentation/json')).json()
  const successOf = (path: string) => JSON.stringify(resultsIn(document.paths[path]!.post!).schema).match(/ContactCreated\d*/)![0]

  t.equal(await validity(document), 'valid')
  t.strictSame(Object.keys(contracts).map(name => successOf(`/${name}`)), ['ContactCreated', 'ContactCreated', 'ContactCreated2', 'ContactCreated3'])
  t.strictSame(Object.keys(document.components.schemas.ContactCreated2!.properties as object), ['email', 'status', 'a'])
  t.strictSame(Object.keys(document.components.schemas.ContactCreated3!.properties as object), ['email', 'status', 'b'])
  t.strictSame(Object.keys(document.components.schemas).sort(), ['ContactCreated', 'ContactCreated2', 'ContactCreated3', 'ContactRejected'])
})

// publishUnions on documents that no contract makes.

const publish = (document: object, next?: SwaggerTransformObject) =>
  publishUnions(next)({ openapiObject: { openapi: '3.1.0', ...document } }) as unknown as Document

const branch = (kind: string, title?: string) =>
  ({ ...(title !== undefined && { title }), type: 'object', required: ['kind'], properties: { kind: { const: kind, type: 'string' } } })

const union = { anyOf: [branch('cat', 'Cat'), branch('dog', 'Dog')] }
const published = {
  oneOf: [ref('Cat'), ref('Dog')],
  discriminator: { propertyName: 'kind', mapping: { cat: ref('Cat').$ref, dog: ref('Dog').$ref } }
}

t.test('unions are found in components too, and a component of the app is never overwritten', async t => {
  const cat = { type: 'string', title: 'A cat of another kind' }

  const { components } = publish({ components: { schemas: { Pet: union, Cat: cat }, securitySchemes: { a: { type: 'http', scheme: 'basic' } } } })

  t.strictSame(components, {
    securitySchemes: { a: { type: 'http', scheme: 'basic' } },
    schemas: {
      Pet: {
        oneOf: [ref('Cat2'), ref('Dog')],
        discriminator: { propertyName: 'kind', mapping: { cat: ref('Cat2').$ref, dog: ref('Dog').$ref } }
      },
      Cat: cat,
      Cat2: branch('cat', 'Cat'),
      Dog: branch('dog', 'Dog')
    }
  })
})

t.test('a union within a branch of a union is published as well', async t => {
  const outer = { anyOf: [{ ...branch('a', 'A'), properties: { kind: { const: 'a' }, pet: union } }, branch('b', 'B')] }

  const { components } = publish({ components: { schemas: { Outer: outer } } })

  t.match(components.schemas.Outer, { oneOf: [ref('A'), ref('B')] })
  t.strictSame((components.schemas.A!.properties as Record<string, unknown>).pet, published)
})

t.test('names that the app has chosen are not taken for keywords, and data is not taken for a schema', async t => {
  const properties = { default: union, example: union, anyOf: union, properties: union }
  const data = { enum: [union], default: union, examples: [union], 'x-data': { const: union } }

  const document = publish({
    paths: { '/': { get: { responses: { default: { content: { 'application/json': { schema: union } } } } } } },
    components: { schemas: { Named: { type: 'object', properties }, Data: data } }
  })

  t.strictSame(document.components.schemas.Named!.properties, { default: published, example: published, anyOf: published, properties: published })
  t.strictSame(document.components.schemas.Data, data)
  t.strictSame(document.paths['/']!.get!.responses.default!.content['application/json'].schema, published)
})

t.test('a union without titles stays inline, one without a tag stays anyOf', async t => {
  const { components } = publish({
    components: {
      schemas: {
        Inline: { description: 'Two', anyOf: [branch('cat'), branch('dog')] },
        Half: { anyOf: [branch('cat', 'Cat'), branch('dog', '')] },
        Same: { anyOf: [branch('cat'), branch('cat')] },
        Plain: { anyOf: [{ type: 'string' }, { type: 'null' }] }
      }
    }
  })

  t.strictSame(components.schemas, {
    Inline: { description: 'Two', oneOf: [branch('cat'), branch('dog')] },
    Half: { oneOf: [ref('Cat'), branch('dog', '')] },
    Same: { anyOf: [branch('cat'), branch('cat')] },
    Plain: { anyOf: [{ type: 'string' }, { type: 'null' }] },
    Cat: branch('cat', 'Cat')
  })
})

t.test('a title with characters that OpenAPI does not allow becomes a name that it does', async t => {
  const { components } = publish({ components: { schemas: { Pet: { anyOf: [branch('cat', 'A cat / größer'), branch('dog', 'Dog.v1-2')] } } } })

  t.strictSame(Object.keys(components.schemas), ['Pet', 'A_cat_gr_er', 'Dog.v1-2'])
  t.strictSame((components.schemas.Pet as { oneOf: unknown }).oneOf, [ref('A_cat_gr_er'), ref('Dog.v1-2')])
})

t.test("a document without components gets those of its unions, after the app's own transformObject", async t => {
  const next: SwaggerTransformObject = given => ({ ...('openapiObject' in given ? given.openapiObject : {}), info: { title: 'Mine', version: '1' } })

  const document = publish({ paths: { '/': { get: { responses: { 200: { content: { 'application/json': { schema: union } } } } } } } }, next)

  t.equal(document.info.title, 'Mine')
  t.strictSame(document.paths['/']!.get!.responses[200]!.content['application/json'].schema, published)
  t.strictSame(document.components, { schemas: { Cat: branch('cat', 'Cat'), Dog: branch('dog', 'Dog') } })
})

// Apps with a swagger of their own.

async function documentOf (app: FastifyInstance): Promise<Document> {
  await app.ready()
  return app.swagger() as unknown as Document
}

/** An app with a swagger and a route of its own, and with the plugin or without. */
function ownSwagger (options: FastifyDynamicSwaggerOptions) {
  return async (app: FastifyInstance) => {
    await app.register(swagger, options)
    app.get('/pets', { schema: { response: { 200: Type.Union([Type.Object({ kind: Type.Literal('cat') }), Type.Object({ kind: Type.Literal('dog') })]) } } }, async () => ({ kind: 'cat' }))
  }
}

for (const version of ['openapi', 'swagger'] as const) {
  t.test(`an app with a swagger of its own (${version}) is left as it is: its document, its transformObject, its pages`, async t => {
    const info = { title: 'Mine', version: '1' }
    let calls = 0
    const options: FastifyDynamicSwaggerOptions = {
      ...(version === 'openapi' ? { openapi: { openapi: '3.1.0', info } } : { swagger: { info } }),
      transformObject: given => { calls++; return 'openapiObject' in given ? given.openapiObject : given.swaggerObject }
    }
    const before = ownSwagger(options)
    const alone = await build(t, { before, plugin: {} })
    const both = await build(t, { before, plugin: { docs: {}, tasks: {}, upload: {} } })

    const { paths: { '/tasks': tasks, '/tasks/{batchId}': batch, '/tasks/{batchId}/events': events, '/upload': upload, ...paths }, ...document } = await documentOf(both)

    t.strictSame({ ...document, paths }, await documentOf(alone))
    t.equal(calls, 2)
    t.match(tasks, { post: { operationId: 'runTasks', responses: { 207: { description: 'One result per item, in request order' } } } })
    t.match([upload, batch, events], [
      { post: { operationId: 'uploadFiles' } },
      { get: { operationId: 'getBatch' }, delete: { operationId: 'cancelBatch' } },
      { get: { operationId: 'followBatch' } }
    ])
    t.equal((await both.inject('/documentation')).statusCode, 404)
  })
}

t.test('publishUnions gives such an app the same unions, whether or not it writes constants as enums', async t => {
  for (const convertConstToEnum of [true, false]) {
    const own = ownSwagger({ openapi: { openapi: '3.1.0', info: { title: 'Mine', version: '1' } }, convertConstToEnum, transformObject: publishUnions() })
    const app = await build(t, { before: own, plugin: { docs: {}, tasks: {} } })

    const document = await documentOf(app)

    t.equal(await validity(document), 'valid')
    t.match(resultsIn(document.paths['/tasks']!.post!).schema, { properties: { tasks: { items: { oneOf: [ref('TaskCompleted'), ref('TaskFailed')] } } } })
    t.match(resultsIn(document.paths['/pets']!.get!, '200').schema, { oneOf: [{ type: 'object' }, { type: 'object' }] })
  }
})

t.test('publishUnions leaves a document in Swagger 2.0 as it is', async t => {
  const options = (transformObject?: SwaggerTransformObject) =>
    ({ swagger: { info: { title: 'Mine', version: '1' } }, ...(transformObject && { transformObject }) })
  const plain = await build(t, { before: ownSwagger(options()), plugin: {} })
  const transformed = await build(t, { before: ownSwagger(options(publishUnions())), plugin: {} })
  const next: SwaggerTransformObject = given => ({ ...('swaggerObject' in given ? given.swaggerObject : {}), host: 'example.org' })
  const composed = await build(t, { before: ownSwagger(options(publishUnions(next))), plugin: {} })

  t.strictSame(await documentOf(transformed), await documentOf(plain))
  t.strictSame(await documentOf(composed), { ...await documentOf(plain), host: 'example.org' })
})

t.test('in a context with a prefix the page is below that prefix', async t => {
  const options: FastifyMultiStatusOptions = { upload: false, tasks: {}, docs: {} }
  const app = await build(t, {
    before: async app => {
      const { default: multiStatus } = await import('../lib/index.js')
      await app.register(async api => { await api.register(multiStatus, options) }, { prefix: '/api' })
    }
  })

  const document: Document = (await app.inject('/api/documentation/json')).json()

  t.equal(await validity(document), 'valid')
  t.strictSame(Object.keys(document.paths), ['/api/tasks', '/api/tasks/{batchId}', '/api/tasks/{batchId}/events'])
  t.equal((await app.inject('/api/documentation')).statusCode, 200)
})
