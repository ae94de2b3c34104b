// One of the servers that are compared over HTTP: node peer.js <name>. Tells its parent the port, and its figures when asked.
//   POST /upload: names shorter than 10 characters are uploaded, the others fail. POST /contacts: each contact is
//   created, unless it is invalid.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AjvCompiler } from '@fastify/ajv-compiler'
import { Type } from '@sinclair/typebox'
import { bulkRoute, defineContract, generic, uploads, default as multiStatus } from '../../lib/index.js'

const Contact = Type.Object({
  email: Type.String({ format: 'email', maxLength: 254 }),
  name: Type.String({ minLength: 1, maxLength: 100 })
})

const contacts = defineContract({
  name: 'Contact', key: 'email', success: 'created', failure: 'rejected', reason: 'message', data: Type.Object({ contactId: Type.Integer() })
})

interface Names { files: string[] }

/** What a peer does by hand, in all frameworks. */
function uploadNames ({ files }: Names): object {
  return {
    results: files.map(file => file.length < 10
      ? { file, status: 'uploaded' }
      : { file, status: 'failed', error: 'File name too long' })
  }
}

interface AjvCheck { (value: unknown): boolean, errors?: { instancePath: string, message: string, params: { missingProperty?: string } }[] }

let lastId = 0

/** How many items of long batches have been worked on. */
let handled = 0

const check = AjvCompiler()({}, { customOptions: { coerceTypes: false, removeAdditional: false } })({ schema: Contact } as never) as unknown as AjvCheck

/** Answers the same bytes as the bulk route. */
function createContacts (items: { email: string }[]): object {
  return {
    results: items.map(contact => {
      if (check(contact)) return { email: contact.email, status: 'created', contactId: ++lastId }
      const [{ instancePath, message, params }] = check.errors as [NonNullable<AjvCheck['errors']>[number]]
      const pointer = `#${instancePath}${params.missingProperty === undefined ? '' : `/${params.missingProperty}`}`
      return {
        email: contact.email,
        status: 'rejected',
        message: 'Invalid data',
        code: 'INVALID_ITEM',
        statusCode: 422,
        retryable: false,
        errors: [{ pointer, detail: message }]
      }
    })
  }
}

const peers: Record<string, () => Promise<Server>> = {
  'multi-status': startMultiStatus,
  'Fastify by hand': startFastify,
  express: startExpress,
  hono: startHono
}

async function startMultiStatus (): Promise<Server> {
  const { default: fastify } = await import('fastify')
  const app = fastify()
  await app.register(multiStatus, { upload: false, tasks: false, docs: false })
  app.post<{ Body: Names }>('/upload', {
    schema: { body: Type.Object({ files: Type.Array(Type.String()) }) }, config: { multiStatus: uploads }
  }, async (request, reply) => reply.multiStatus(request.body.files.map(file => file.length < 10
    ? { file, status: 'uploaded' }
    : { file, status: 'failed', error: 'File name too long' })))
  app.route(bulkRoute({ url: '/contacts', contract: contacts, item: Contact, handler: () => ({ contactId: ++lastId }) }))
  app.route(bulkRoute({
    url: '/items', contract: generic, item: Type.Object({ id: Type.Integer() }), maxItems: 2_000_000, bodyLimit: 2 ** 30, stream: true, handler: () => { handled++ }
  }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

async function startFastify (): Promise<Server> {
  const { default: fastify } = await import('fastify')
  const app = fastify()
  app.post<{ Body: Names }>('/upload', async (request, reply) => reply.code(207).send(uploadNames(request.body)))
  app.post<{ Body: { email: string }[] }>('/contacts', async (request, reply) => reply.code(207).send(createContacts(request.body)))
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

async function startExpress (): Promise<Server> {
  const { default: express } = await import('express')
  const app = express()
  app.use(express.json({ limit: '1mb' }))
  app.post('/upload', (request, response) => { response.status(207).json(uploadNames(request.body as Names)) })
  app.post('/contacts', (request, response) => { response.status(207).json(createContacts(request.body as { email: string }[])) })
  return new Promise(resolve => {
    const server = createServer(app).listen(0, '127.0.0.1', () => resolve(server))
  })
}

async function startHono (): Promise<Server> {
  const { Hono } = await import('hono')
  const { serve } = await import('@hono/node-server')
  const app = new Hono()
  app.post('/upload', async context => context.json(uploadNames(await context.req.json()), 207))
  app.post('/contacts', async context => context.json(createContacts(await context.req.json()), 207))
  return new Promise(resolve => {
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () => resolve(server as Server))
  })
}

const server = await peers[process.argv[2]!]!()
let peak = 0
setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()) }, 20)
process.on('message', () => {
  const rss = process.memoryUsage.rss()
  const { user, system } = process.cpuUsage()
  process.send!({ cpu: user + system, rss, peak: Math.max(peak, rss), handled })
  peak = 0
})
// Without its parent there is nobody to serve.
process.on('disconnect', () => process.exit())
process.send!((server.address() as AddressInfo).port)
