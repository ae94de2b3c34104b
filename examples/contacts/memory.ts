// A simple bulk route with a contract of its own: it creates contacts in memory.
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { bulkRoute, defineContract, ItemError } from '../../lib/index.js'

const Contact = Type.Object({
  email: Type.String({ format: 'email', maxLength: 254, examples: ['ada@example.org'] }),
  name: Type.String({ minLength: 1, maxLength: 100, examples: ['Ada'] })
})

const contacts = defineContract({
  name: 'Contact',
  key: 'email',
  keyType: Type.String({ examples: ['ada@example.org', 'bob@example.org'] }),
  success: 'created',
  failure: 'rejected',
  reason: 'message',
  data: Type.Object({ contactId: Type.Integer({ examples: [1] }) })
})

/** Adds `POST /contacts`, with a store in memory. */
export async function contactRoutes (app: FastifyInstance) {
  const store = new Map<string, Static<typeof Contact>>()

  app.route(bulkRoute({
    url: '/contacts',
    contract: contacts,
    item: Contact,
    stream: true,
    schema: {
      operationId: 'createContacts',
      summary: 'Create several contacts',
      description: 'Every contact gets its own result; one that is invalid or whose email is taken does not cost another.',
      tags: ['contacts']
    },
    handler: async contact => {
      if (store.has(contact.email)) throw new ItemError('Email taken', { code: 'EMAIL_TAKEN', statusCode: 409 })
      store.set(contact.email, contact)
      return { contactId: store.size }
    }
  }))
}
