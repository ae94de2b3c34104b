// One of the servers that batch.ts compares: node batch-server.js <name>. Tells its parent the port, then its processor time when asked.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

const [, , name] = process.argv as [string, string, string]

/** What every server answers of a contact. */
const contact = (id: number) => ({ id, name: 'Ada Lovelace', email: `ada-${id}@example.org` })

const servers: Record<string, () => Promise<Server>> = {
  fastify: () => startFastify(false),
  'multi-status': () => startFastify(true),
  trpc: startTrpc,
  bassmaster: startBassmaster
}

const server = await servers[name]!()
tellUsage((server.address() as AddressInfo).port)

async function startFastify (isBatched: boolean): Promise<Server> {
  const { default: fastify } = await import('fastify')
  const app = fastify()
  if (isBatched) {
    const { default: multiStatus } = await import('../../lib/index.js')
    await app.register(multiStatus, { batch: {}, upload: false, tasks: false, docs: false })
  }
  const text = { type: 'string' }
  app.get('/contacts/:id', {
    config: { batch: true },
    schema: {
      params: { type: 'object', properties: { id: { type: 'integer' } } },
      response: { 200: { type: 'object', properties: { id: { type: 'integer' }, name: text, email: text } } }
    }
  }, async request => contact((request.params as { id: number }).id))
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

async function startTrpc (): Promise<Server> {
  const { initTRPC } = await import('@trpc/server')
  const { createHTTPHandler } = await import('@trpc/server/adapters/standalone')
  const { router, procedure } = initTRPC.create()
  const readId = (input: unknown) => {
    const { id } = input as { id: number }
    if (!Number.isInteger(id)) throw new TypeError('id must be an integer')
    return { id }
  }
  const handler = createHTTPHandler({ router: router({ contact: procedure.input(readId).query(async ({ input }) => contact(input.id)) }) })
  return new Promise(resolve => {
    const listening = createServer(handler).listen(0, '127.0.0.1', () => resolve(listening))
  })
}

async function startBassmaster (): Promise<Server> {
  const { default: hapi } = await import('@hapi/hapi')
  // It has no types of its own.
  const { default: bassmaster } = await import('bassmaster' as string) as { default: never }
  const app = hapi.server({ port: 0, host: '127.0.0.1' })
  await app.register(bassmaster)
  app.route({ method: 'GET', path: '/contacts/{id}', handler: async ({ params }) => contact(Number(params.id)) })
  await app.start()
  return app.listener as Server
}

function tellUsage (port: number): void {
  const say = process.send!.bind(process)
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    say((user + system) / 1000)
  })
  // Without its parent there is nobody to serve.
  process.on('disconnect', () => process.exit())
  say(port)
}
