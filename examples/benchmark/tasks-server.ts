// One of the servers that run tasks: node tasks-server.js <name>. Tells its parent the port, then its processor time when asked.
import type { AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import multiStatus, { tasks } from '../../lib/index.js'

const Payload = Type.Object({ a: Type.Number(), b: Type.Number() })
const add = async ({ a, b }: { a: number, b: number }) => a + b

const servers: Record<string, () => Promise<FastifyInstance>> = {
  'hand-written route': byHand(tasks.schemas.body),
  'hand-written route without a response schema': byHand(undefined),
  '/tasks': async () => {
    const app = Fastify()
    await app.register(multiStatus, { upload: false, docs: false, tasks: { handlers: { add: { payload: Payload, handler: add as never } } } })
    return app
  }
}

/** What one would write: the body is valid as a whole or refused, and everything runs at once, without a limit of any kind. */
function byHand (response: object | undefined) {
  return async () => {
    const Task = Type.Object({ taskId: Type.Union([Type.Integer(), Type.String()]), type: Type.Literal('add'), payload: Payload })
    const schema = { body: Type.Object({ tasks: Type.Array(Task, { minItems: 1, maxItems: 1000 }) }), ...(response && { response: { 207: response } }) }
    const app = Fastify()
    app.post<{ Body: { tasks: { taskId: number | string, payload: { a: number, b: number } }[] } }>('/tasks', { schema }, async (request, reply) => {
      const results = await Promise.all(request.body.tasks.map(async ({ taskId, payload }) => {
        try {
          return { taskId, status: 'completed', output: await add(payload) }
        } catch (error) {
          request.log.error(error)
          return { taskId, status: 'failed', reason: 'Internal error' }
        }
      }))
      return reply.code(207).send({ tasks: results })
    })
    return app
  }
}

const app = await servers[process.argv[2]!]!()
await app.listen({ host: '127.0.0.1', port: 0 })
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send!((user + system) / 1000)
})
process.send!((app.server.address() as AddressInfo).port)
