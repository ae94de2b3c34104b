// Counts batches and items for Prometheus, from the diagnostics channels of the plugin.
import { subscribe } from 'node:diagnostics_channel'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import { Counter, Histogram, Registry } from 'prom-client'
import multiStatus, { bulkRoute, generic, ItemError, type BatchEvent, type ItemEvent } from '../lib/index.js'
import { startWhenRun } from './start.js'

/** Counts every batch of the process. Routes and codes are labels because they are few; keys belong in the log. */
export function countBatches (register: Registry): void {
  const batches = new Counter({ name: 'multi_status_batches_total', help: 'Batches that have ended', labelNames: ['route', 'outcome'], registers: [register] })
  const items = new Counter({ name: 'multi_status_items_total', help: 'Items of these batches', labelNames: ['route', 'status', 'code'], registers: [register] })
  const seconds = new Histogram({ name: 'multi_status_batch_seconds', help: 'From the request to the end', labelNames: ['route'], registers: [register] })

  subscribe('fastify-multi-status:batch', message => {
    const { route, succeeded, failed, ms } = message as BatchEvent
    batches.inc({ route, outcome: failed === 0 ? 'succeeded' : succeeded === 0 ? 'failed' : 'partial' })
    seconds.observe({ route }, ms / 1000)
  })
  subscribe('fastify-multi-status:item', message => {
    const { route, failed, code = '' } = message as ItemEvent
    items.inc({ route, status: failed ? 'failed' : 'succeeded', code })
  })
}

/** Builds an app with a bulk route, and `GET /metrics` for Prometheus. */
export async function build (): Promise<FastifyInstance> {
  const app = Fastify()
  const register = new Registry()
  countBatches(register)
  await app.register(multiStatus, { upload: false, tasks: false })
  app.get('/metrics', async (_request, reply) => reply.type(register.contentType).send(await register.metrics()))
  app.route(bulkRoute({
    url: '/squares',
    contract: generic,
    item: Type.Object({ id: Type.Integer() }),
    handler: ({ id }) => {
      if (id < 0) throw new ItemError('Negative', { code: 'NEGATIVE' })
    }
  }))
  return app
}

await startWhenRun(import.meta.url, build)
