// Serves the upload page from public/.
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'

/** Adds `GET /upload-page/`. */
export async function uploadPage (app: FastifyInstance) {
  await app.register(fastifyStatic, {
    root: fileURLToPath(new URL('public', import.meta.url)),
    prefix: '/upload-page',
    redirect: true,
    decorateReply: false
  })
}
