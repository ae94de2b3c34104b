// The routes of contacts: create, update and delete many at once, and list them.
import type { PGlite, Transaction } from '@electric-sql/pglite'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { readPreferences } from '../../lib/index.js'
import { Contact, ContactChange, ContactKey, created, deleted, NewContact, updated } from './contracts.js'
import { deleteContact, insertContact, listContacts, updateContact } from './database.js'
import { applyEach } from './transaction.js'

const DESCRIPTION = 'All items share one transaction, each in a savepoint: one that fails costs no other. ' +
  'With `Prefer: handling=strict` it is all or nothing: if any item fails, all are undone, and those that had worked say `ROLLED_BACK`.'

/** The schema of Fastify's error response for an invalid query. */
const BadRequest = Type.Object({ statusCode: Type.Integer(), code: Type.String(), error: Type.String(), message: Type.String() })

/** The OpenAPI schema of a route with many contacts, or many ids of contacts. */
const schemaOf = <T extends TSchema>(operationId: string, summary: string, item: T) =>
  ({ operationId, summary, description: DESCRIPTION, tags: ['contacts'], body: Type.Array(item, { minItems: 1, maxItems: 1000 }) })

export const contactRoutes: FastifyPluginAsyncTypebox<{ db: PGlite }> = async (app, { db }) => {
  /** Runs the work for each item in one transaction, and answers after the commit. */
  const answer = async <T, R>(request: FastifyRequest, reply: FastifyReply, items: T[], work: (tx: Transaction, item: T) => Promise<R>) =>
    reply.multiStatus(await applyEach(db, items, work, {
      allOrNothing: readPreferences(request).strict,
      signal: reply.batchSignal()
    }))

  app.post('/contacts', {
    config: { multiStatus: created },
    schema: schemaOf('createContacts', 'Create several contacts', NewContact)
  }, (request, reply) => answer(request, reply, request.body, insertContact))

  app.patch('/contacts', {
    config: { multiStatus: updated },
    schema: schemaOf('updateContacts', 'Change several contacts', ContactChange)
  }, (request, reply) => answer(request, reply, request.body, updateContact))

  // Not DELETE, because its body has no defined meaning (RFC 9110 section 9.3.5), and proxies drop it.
  app.post('/contacts/delete', {
    config: { multiStatus: deleted },
    schema: schemaOf('deleteContacts', 'Delete several contacts', ContactKey)
  }, (request, reply) => answer(request, reply, request.body, deleteContact))

  app.get('/contacts', {
    schema: {
      operationId: 'listContacts',
      summary: 'List contacts',
      description: 'In the order of their numbers, so that the last one says where the next page begins.',
      tags: ['contacts'],
      querystring: Type.Object({
        after: Type.Integer({ minimum: 0, default: 0 }),
        limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 })
      }),
      response: { 200: Type.Array(Contact), 400: BadRequest }
    }
  }, ({ query }) => listContacts(db, query))
}
