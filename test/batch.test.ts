// POST /batch: requests for other routes in, the truth about each of them out.
import { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { type BatchOptions, type BatchResult } from '../lib/index.js'
import { build, type BuildOptions } from './fixtures/build.js'

interface Sent { id: string, method?: string, url: string, headers?: object, body?: unknown, encoding?: string, dependsOn?: string[] }

async function buildBatch (t: Test, batch: BatchOptions = {}, options: BuildOptions = {}): Promise<FastifyInstance> {
  const app = await build(t, { ...options, plugin: { batch: { allow: ['/*'], ...batch }, closeGrace: 0, ...options.plugin } })
  let last = 0
  app.post('/contacts', {
    bodyLimit: 100,
    schema: { body: Type.Object({ email: Type.String({ pattern: '@' }) }) }
  }, async (request, reply) => {
    reply.code(201).header('location', `/contacts/${++last}`)
    return { contactId: last, ...request.body as object }
  })
  app.get('/contacts/:id', async request => ({ id: (request.params as { id: string }).id, query: request.query }))
  return app
}

async function post (app: FastifyInstance, requests: Sent[], headers: Record<string, string> = {}) {
  const response = await app.inject({ method: 'POST', url: '/batch', headers, payload: { requests } })
  return { response, statusCode: response.statusCode, results: response.json().results as (BatchResult & Record<string, unknown>)[] }
}

t.test('each request has its own result, in request order, and its body comes back whatever it is', async t => {
  const app = await buildBatch(t)

  const { response } = await post(app, [
    { id: '1', method: 'POST', url: '/contacts', body: { email: 'ada@example.org' } },
    { id: '2', method: 'POST', url: '/contacts', body: { email: 'nonsense' } },
    { id: '3', url: '/contacts/9?page=2' }
  ])

  t.equal(response.statusCode, 207)
  t.equal(response.headers['multi-status'], 'total=3, succeeded=2, failed=1')
  t.equal(response.body, '{"results":[' +
    '{"id":"1","status":"success","statusCode":201,"headers":{"location":"/contacts/1","content-type":"application/json; charset=utf-8"},' +
    '"body":{"contactId":1,"email":"ada@example.org"}},' +
    '{"id":"2","status":"error","message":"body/email must match pattern \\"@\\"","code":"FST_ERR_VALIDATION","statusCode":400,"retryable":false,' +
    '"headers":{"content-type":"application/json; charset=utf-8"},' +
    '"body":{"statusCode":400,"code":"FST_ERR_VALIDATION","error":"Bad Request","message":"body/email must match pattern \\"@\\""}},' +
    '{"id":"3","status":"success","statusCode":200,"headers":{"content-type":"application/json; charset=utf-8"},"body":{"id":"9","query":{"page":"2"}}}]}')
})

t.test('off unless asked for', async t => {
  const app = await build(t)
  t.equal((await app.inject({ method: 'POST', url: '/batch', payload: { requests: [{ id: '1', url: '/' }] } })).statusCode, 404)
})
