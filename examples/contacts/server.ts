// An application with contacts in PostgreSQL. The database runs in this process, so nothing must be installed.
//   npx tsx examples/contacts/server.ts
//   HOST (127.0.0.1), PORT (3000), DATABASE_DIR (./contacts-db)
import type { PGlite } from '@electric-sql/pglite'
import Fastify, { type FastifyServerOptions } from 'fastify'
import multiStatus from '../../lib/index.js'
import { startWhenRun } from '../start.js'
import { openDatabase } from './database.js'
import { contactRoutes } from './routes.js'

const info = {
  title: 'Contacts',
  version: '1.0.0',
  description: 'Many contacts in one request, with one result for each.',
  contact: { name: 'fastify-multi-status', url: 'https://www.npmjs.com/package/fastify-multi-status' },
  license: { name: 'MIT', identifier: 'MIT' }
}

/**
 * Builds the application.
 * @param db the database; closed with the app
 */
export async function build (db: PGlite, options: FastifyServerOptions = { logger: { level: 'warn' } }) {
  const app = Fastify(options)
  app.addHook('onClose', () => db.close())
  await app.register(multiStatus, {
    upload: false,
    tasks: false,
    docs: { info, openapi: { security: [], tags: [{ name: 'contacts', description: 'Creates, changes and deletes contacts' }] } }
  })
  await app.register(contactRoutes, { db })
  return app
}

/** The commands to try first, for the address of the server. */
export function welcome (address: string): string {
  const json = "-H 'content-type: application/json'"
  const two = '[{"email":"ada@example.org","name":"Ada"},{"email":"Ada@example.org","name":"Ada again"}]'
  return `Swagger UI: ${address}/documentation

Try:
  curl -i ${address}/contacts ${json} -H 'prefer: handling=strict' -d '${two}'
  curl -i ${address}/contacts ${json} -d '${two}'
  curl -i -X PATCH ${address}/contacts ${json} -d '[{"contactId":3,"name":"Ada Lovelace"},{"contactId":99,"name":"Nobody"}]'
  curl -i ${address}/contacts/delete ${json} -d '[3,99]'
`
}

await startWhenRun(import.meta.url, async () => build(await openDatabase(process.env.DATABASE_DIR || './contacts-db')), welcome)
