// A page that uploads files, served as it lies in public/.
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'

/** `GET /upload-page/` */
export async function uploadPage (app: FastifyInstance) {
  await app.register(fastifyStatic, {
    root: fileURLToPath(new URL('public', import.meta.url)),
    prefix: '/upload-page',
    redirect: true,
    decorateReply: false
  })
}
