// What a route with a contract infers: items from their schema, successes from the contract, the methods of a reply.
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { describe, expect, test } from 'tstyche'
import multiStatus, {
  bulkRoute, defineContract, fastifyMultiStatus, generic, type FastifyMultiStatusOptions, type ItemContext
} from '../../lib/index.js'

const Contact = Type.Object({ email: Type.String(), age: Type.Optional(Type.Integer()) })
const contacts = defineContract({
  name: 'Contact',
  key: 'email',
  keyType: Type.String(),
  success: ['created', 'updated'],
  failure: 'rejected',
  reason: 'message',
  data: { created: Type.Object({ contactId: Type.Integer() }) }
})

declare const app: FastifyInstance
declare const request: FastifyRequest
declare const reply: FastifyReply

describe('bulkRoute', () => {
  test('types the item by its schema, and tells the handler about it', () => {
    bulkRoute({
      url: '/contacts',
      contract: generic,
      item: Contact,
      handler: (item, context) => {
        expect(item).type.toBe<{ email: string, age?: number }>()
        expect(context).type.toBe<ItemContext>()
        expect(context.key).type.toBe<string | number | null>()
        expect(context.signal).type.toBe<AbortSignal>()
      }
    })
  })

  test('takes from a handler what the contract says, and nothing else', () => {
    const route = { url: '/contacts', contract: contacts, item: Contact }

    expect(bulkRoute).type.toBeCallableWith({ ...route, handler: () => ({ status: 'created' as const, contactId: 7 }) })
    expect(bulkRoute).type.toBeCallableWith({ ...route, handler: async () => ({ status: 'updated' as const }) })
    expect(bulkRoute).type.not.toBeCallableWith({ ...route, handler: () => ({ status: 'created' as const, contactId: 'seven' }) })
    expect(bulkRoute).type.not.toBeCallableWith({ ...route, handler: () => ({ status: 'deleted' as const }) })
  })

  test('takes nothing from a handler only where the contract asks for nothing', () => {
    const needed = defineContract({
      name: 'Contact', key: 'email', success: 'created', failure: 'rejected', reason: 'message', data: Type.Object({ contactId: Type.Integer() })
    })

    expect(bulkRoute).type.toBeCallableWith({ url: '/items', contract: generic, item: Contact, handler: () => {} })
    expect(bulkRoute).type.not.toBeCallableWith({ url: '/items', contract: needed, item: Contact, handler: () => {} })
  })

  test('times an item by what is in it', () => {
    bulkRoute({ url: '/contacts', contract: generic, item: Contact, handler: () => {}, timeout: item => item.age })
  })
})

describe('defineContract', () => {
  test('words a success with the data of its word', () => {
    const created = contacts.succeed('ada@example.org', { status: 'created', contactId: 7 })

    expect(created.status).type.toBe<'created' | 'updated'>()
    if (created.status === 'created') expect(created.contactId).type.toBe<number>()
    expect(contacts.succeed).type.not.toBeCallableWith('ada@example.org', { status: 'created', contactId: 'seven' })
    expect(contacts.succeed).type.not.toBeCallableWith(7)
  })

  test('words a failure under its own names', () => {
    const failure = contacts.fail(null, { message: 'Email taken', statusCode: 409 })

    expect(failure.email).type.toBe<string | null>()
    expect(failure.status).type.toBe<'rejected'>()
    expect(failure.message).type.toBe<string>()
    expect(failure.retryable).type.toBe<boolean | undefined>()
  })

  test('is told of every member by name', () => {
    expect(defineContract).type.not.toBeCallableWith({ name: 'Contact', key: 'email', success: 'created', failure: 'rejected' })
  })
})

describe('decorators', () => {
  test('reply.multiStatus takes results and what Promise.allSettled gives, and is the reply', () => {
    expect(reply.multiStatus([generic.succeed(1), generic.fail(2, { message: 'No' })])).type.toBe<FastifyReply>()
    expect(reply.multiStatus).type.toBeCallableWith([] as PromiseSettledResult<{ contactId: number }>[])
    expect(reply.multiStatus).type.toBeCallableWith([], { contract: contacts, keys: ['ada@example.org'], status: 'collapse' })
    expect(reply.multiStatus).type.not.toBeCallableWith([], { status: 'ok' })
    expect(reply.multiStatus).type.not.toBeCallableWith('results')
  })

  test('reply.batchSignal gives a signal, and a request has its batch only on a route with a contract', () => {
    expect(reply.batchSignal()).type.toBe<AbortSignal>()
    expect(request.multiStatusBatch?.items).type.toBe<unknown[] | undefined>()
  })

  test('a route says its contract in its config', () => {
    app.post('/contacts', { config: { multiStatus: contacts } }, async () => {})
    expect(app.post<object>).type.not.toBeCallableWith('/contacts', { config: { multiStatus: 'contacts' } }, async () => {})
  })
})

test('the plugin is registered by its default and by its name, with its options', () => {
  expect(multiStatus).type.toBe<typeof fastifyMultiStatus>()
  app.register(multiStatus)
  app.register(multiStatus, { upload: false, docs: { routePrefix: '/docs' }, status: 'collapse' })
  expect<FastifyMultiStatusOptions>().type.not.toBeAssignableFrom({ uploads: {} })
  expect<FastifyMultiStatusOptions>().type.not.toBeAssignableFrom({ upload: { limits: { files: 'many' } } })
})
