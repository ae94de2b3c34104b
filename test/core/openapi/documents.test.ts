// The documentation: OpenAPI 3.1 with the unions of each 207 body, and apps that have a swagger of their own.
import swagger, { type FastifyDynamicSwaggerOptions, type SwaggerTransformObject } from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { build as buildServer } from '../../../examples/server.js'
import { bulkRoute, defineContract, disk, generic, publishUnions, type FastifyMultiStatusOptions } from '../../../lib/index.js'
import { build } from '../../fixtures/build.js'

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
  requestBody: { description?: string, content: Record<string, { schema: { properties: Record<string, unknown> } }> }
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
  t.strictSame(Object.keys(document.paths), ['/upload', '/tasks', '/tasks/{batchId}', '/tasks/{batchId}/events', '/contacts', '/contacts/stream'])
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
    ['createContacts', ['contacts']],
    ['createContactsStream', ['contacts']]
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
  const unions = ['/upload', '/tasks', '/contacts'].map(path => resultsIn(paths[path]!.post!).schema)

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
    'ContactCreated', 'ContactRejected', 'EchoTask', 'FailTask', 'FileFailed', 'FileUploaded', 'ItemProblem', 'RequestError',
    'Sha256Task', 'SleepTask', 'TaskCompleted', 'TaskFailed'
  ])
  t.match(components.schemas.ContactCreated, {
    title: 'ContactCreated',
    type: 'object',
    description: 'With `Prefer: return=minimal` only `email` and `status`',
    required: ['email', 'status'],
    properties: { status: { const: 'created', type: 'string' }, contactId: { type: 'integer' } }
  })
})

t.test('no more is promised of a success than every answer keeps, and what carries nothing more is not described so', async t => {
  const app = await build(t, { plugin: { docs: {} } })
  app.route(contactRoute)

  const { components }: Document = (await app.inject('/documentation/json')).json()

  t.strictSame(components.schemas.ContactCreated, {
    title: 'ContactCreated', type: 'object', required: ['email', 'status'], properties: { email: { type: 'string' }, status: { const: 'created', type: 'string' } }
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

t.test('a batch is documented, with what it takes and what comes back', async t => {
  const app = await build(t, { plugin: { docs: {}, batch: { maxItems: 7 } } })

  const document: Document = (await app.inject('/documentation/json')).json()
  const post = document.paths['/batch']!.post!
  const { schema, ...media } = post.requestBody.content['application/json']!

  t.equal(await validity(document), 'valid')
  t.match(post, { operationId: 'runBatch', tags: ['batch'], description: /dependsOn.*handling=strict/s })
  t.strictSame(Object.keys(post.responses), ['207', '400', '408', '413', '415', '422', '431', '500', '503'])
  t.match(schema, { properties: { requests: { minItems: 1, maxItems: 7, items: { title: 'BatchedRequest' } } } })
  t.match(resultsIn(post).schema, { properties: { results: { items: { oneOf: [ref('BatchItemSuccess'), ref('BatchItemError')] } } } })
  t.match(resultsIn(post).examples.mixed!.value, {
    results: [
      { id: '1', status: 'success', statusCode: 201, headers: { 'content-type': 'application/json; charset=utf-8' }, body: { contactId: 7 } },
      { id: '2', status: 'error', code: 'INVALID_ITEM' }
    ]
  })

  const { example: ran } = media as unknown as { example: { requests: object[] } }
  const { results } = (await app.inject({ method: 'POST', url: '/batch', payload: ran })).json()
  t.equal(results[0].code, 'ROUTE_NOT_FOUND', 'the example is a batch that can be sent')
  t.equal(results.length, ran.requests.length)
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

  t.strictSame(Object.keys(responses), ['207', '400', '408', '413', '415', '422', '431', '500', '503'])
  t.strictSame(Object.keys(responses[207]!.headers), ['Multi-Status', 'Preference-Applied', 'Vary'])
  t.strictSame(Object.keys(responses[422]!.headers), ['Preference-Applied', 'Vary'])
  t.strictSame(resultsIn(paths['/contacts']!.post!, '400').examples.empty!.value, empty)
  for (const status of Object.keys(responses).slice(1)) {
    const { schema, examples } = resultsIn(paths['/contacts']!.post!, status)
    t.strictSame(schema, ref('RequestError'))
    for (const { value } of Object.values(examples)) t.match(value, { statusCode: Number(status), message: /^[A-Z]/ })
  }
  t.match(parameters, [{ name: 'Prefer', in: 'header', required: false, description: /handling=strict.*return=minimal/ }])
})

t.test('the examples of errors are the very answers', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const example = (status: string, name: string) => resultsIn(paths['/contacts']!.post!, status).examples[name]!.value
  const post = async (payload: string | object, headers: Record<string, string> = {}) =>
    (await app.inject({ method: 'POST', url: '/contacts', payload, headers: { 'content-type': 'application/json', ...headers } })).json()
  const ada = { email: 'ada@example.org', name: 'Ada' }

  t.strictSame(await post('[{'), example('400', 'malformed'))
  t.strictSame(await post([]), example('400', 'empty'))
  t.strictSame(await post([ada, ada]), example('400', 'twice'))
  t.strictSame(await post(Array(1001).fill(ada)), example('413', 'items'))
  t.strictSame(await post(' '.repeat(1024 * 1024 + 1)), example('413', 'bytes'))
  t.strictSame(await post('[]', { 'content-type': 'image/png' }), example('415', 'mediaType'))
  t.strictSame(await post([{ ...ada, email: 'bob@example.org' }, { ...ada, name: 1 }], { prefer: 'handling=strict' }), example('422', 'strict'))
  const task = { taskId: 1, type: 'echo', payload: 1 }
  const answer = await app.inject({ method: 'POST', url: '/tasks', payload: { tasks: [task, { ...task, taskId: 2, type: 1 }] }, headers: { prefer: 'handling=strict' } })
  t.strictSame(answer.json(), resultsIn(paths['/tasks']!.post!, '422').examples.strict!.value)
})

t.test('the failure that is shown of an item is the one that it would have', async t => {
  const kinds: [string, TSchema, object | undefined][] = [
    ['a name', Type.String(), { pointer: '#', detail: 'must be string; received null' }],
    ['its key only', Type.Object({ email: Type.String() }), { pointer: '#/email', detail: 'must be string; received number' }],
    ['a number', Type.Object({ email: Type.String(), age: Type.Integer() }), { pointer: '#/age', detail: 'must be integer; received string' }],
    ['anything', Type.Unknown(), undefined]
  ]
  for (const [what, item, problem] of kinds) {
    const app = await build(t, { plugin: { docs: {} } })
    app.route(bulkRoute({ url: '/contacts', contract: contact, item, handler: () => {} }))

    const { post } = ((await app.inject('/documentation/json')).json() as Document).paths['/contacts']!

    const [, failure] = (resultsIn(post!).examples.mixed!.value as { results: { errors?: object[] }[] }).results
    t.strictSame(failure!.errors?.[0], problem, what)
    t.strictSame((resultsIn(post!, '422').examples.strict!.value as { errors?: object[] }).errors?.length, problem && 1, what)
  }
})

t.test('a contract has a failure of its own to show, also where its keys have no examples', async t => {
  const app = await build(t, { plugin: { docs: {} } })
  const contract = defineContract({
    name: 'Row', key: 'id', success: 'saved', failure: 'lost', reason: 'why', failureExample: { message: 'Taken', code: 'TAKEN', statusCode: 409, retryable: true }
  })
  app.route(bulkRoute({ url: '/rows', contract, item: Type.Object({ id: Type.Integer() }), handler: () => {} }))

  const { paths, components }: Document = (await app.inject('/documentation/json')).json()

  const failure = { status: 'lost', why: 'Taken', code: 'TAKEN', statusCode: 409, retryable: true }
  t.strictSame(resultsIn(paths['/rows']!.post!).examples.failed!.value, { results: [{ id: 2, ...failure }] })
  t.strictSame(components.schemas.RowLost!.examples, [{ id: null, ...failure }])
})

t.test('limits are in the document, also those that a route does not name', async t => {
  const app = await buildServer({ FILE_SIZE_LIMIT: '1kb' })
  t.teardown(() => app.close())
  const plain = await build(t, { plugin: { docs: {} }, fastify: { bodyLimit: 2048 } })
  plain.post('/contacts', { config: { multiStatus: contact }, schema: { body: Type.Array(Type.Object({ email: Type.String() })) } }, async (_request, reply) => reply.multiStatus([]))
  plain.post('/more', { bodyLimit: 4096, config: { multiStatus: contact }, schema: { body: Type.Object({ contacts: Type.Optional(Type.Array(Type.Object({ email: Type.String() }), { minItems: 2, maxItems: 5 })) }) } }, async (_request, reply) => reply.multiStatus([]))

  const { '/upload': upload, '/tasks': tasks } = ((await app.inject('/documentation/json')).json() as Document).paths
  const { '/contacts': contacts, '/more': more } = ((await plain.inject('/documentation/json')).json() as Document).paths
  const bodyOf = (path: typeof upload, type = 'application/json') => path!.post!.requestBody.content[type]!.schema

  t.match(bodyOf(upload, 'multipart/form-data').properties.files, { minItems: 1, maxItems: 100, items: { format: 'binary', maxLength: 1024 } })
  t.match(bodyOf(upload).properties.files, {
    minItems: 1,
    maxItems: 100,
    items: { anyOf: [{ maxLength: 255 }, { required: ['file', 'content'], properties: { file: { maxLength: 255 }, content: { maxLength: 1368 } } }] }
  })
  t.match(bodyOf(tasks), { required: ['tasks'], properties: { tasks: { minItems: 1, maxItems: 1000 } } })
  t.match(bodyOf(contacts), { minItems: 1, maxItems: 1000 })
  t.match(bodyOf(more), { required: ['contacts'], properties: { contacts: { minItems: 2, maxItems: 5 } } })
  t.equal(contacts!.post!.requestBody.description, 'At most 1000 items and 2048 bytes.')
  t.equal(more!.post!.requestBody.description, 'At most 5 items and 4096 bytes.')
})

t.test('what an upload cannot do is not promised: no item can be refused before it has been read', async t => {
  const app = await buildServer({})
  t.teardown(() => app.close())

  const { paths }: Document = (await app.inject('/documentation/json')).json()
  const { responses, parameters, requestBody } = paths['/upload']!.post!

  t.strictSame(Object.keys(responses), ['207', '400', '408', '413', '415', '431', '500', '503'])
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

t.test('a route that collapses by itself documents 200 as one does whose app does', async t => {
  const app = await build(t, { plugin: { docs: {} } })
  app.route(bulkRoute({ url: '/contacts', contract: contact, status: 'collapse', item: Type.Object({ email: Type.String() }), handler: () => {} }))

  const { post } = ((await app.inject('/documentation/json')).json() as Document).paths['/contacts']!

  t.equal(post!.responses[200]!.description, 'Every item succeeded')
  t.strictSame(post!.responses[200]!.headers, post!.responses[207]!.headers)
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
  t.strictSame(Object.keys(document.components.schemas).sort(), ['ContactCreated', 'ContactCreated2', 'ContactCreated3', 'ContactRejected', 'ItemProblem', 'RequestError'])
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
      const { default: multiStatus } = await import('../../../lib/index.js')
      await app.register(async api => { await api.register(multiStatus, options) }, { prefix: '/api' })
    }
  })

  const document: Document = (await app.inject('/api/documentation/json')).json()

  t.equal(await validity(document), 'valid')
  t.strictSame(Object.keys(document.paths), ['/api/tasks', '/api/tasks/{batchId}', '/api/tasks/{batchId}/events'])
  t.equal((await app.inject('/api/documentation')).statusCode, 200)
})

t.test('the examples of errors say the limits that are configured', async t => {
  const app = await build(t, {
    plugin: {
      docs: {},
      maxInFlight: 7,
      upload: { storage: disk({ dir: t.testdir() }), limits: { files: 5, total: '2kb' } },
      tasks: { handlers: {}, maxItems: 3, maxQueued: 4 }
    }
  })
  app.route(bulkRoute({ url: '/bulk', contract: generic, item: Type.Object({ id: Type.Integer() }), maxItems: 3, stream: true, handler: () => {} }))
  await app.ready()
  const { paths } = app.swagger() as unknown as Document
  const messageOf = (path: string, status: string, example: string) =>
    (resultsIn(paths[path]!.post!, status).examples[example]!.value as Error).message

  for (const path of ['/bulk', '/bulk/stream', '/upload']) t.match(messageOf(path, '503', 'busy'), 'at most 7 requests')
  for (const path of ['/bulk', '/tasks']) t.equal(messageOf(path, '413', 'items'), 'Expected at most 3 items in one request; received 4')
  t.match(messageOf('/tasks', '503', 'full'), 'at most 4 tasks')
  t.match(messageOf('/upload', '413', 'items'), 'at most 5 items')
  t.match(messageOf('/upload', '413', 'total'), 'at most 2048 bytes')
})
