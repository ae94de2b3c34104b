// The smallest example: one line turns a route into a bulk route. Names of less than 10 characters succeed, others fail.
//   npx tsx examples/names.ts
//   curl -i localhost:3000/upload -H 'content-type: application/json' -d '{"files":["a.txt","averylongname.txt"]}'
import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import multiStatus, { uploads } from '../lib/index.js'
import { startWhenRun } from './start.js'

export async function build () {
  const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()
  await app.register(multiStatus, { upload: false, tasks: false })

  app.post('/upload', {
    schema: {
      operationId: 'uploadNames',
      summary: 'Upload several names',
      description: 'Names shorter than 10 characters are uploaded, the others fail.',
      tags: ['upload'],
      body: Type.Object({ files: Type.Array(Type.String()) })
    },
    config: { multiStatus: uploads }
  }, async (request, reply) => reply.multiStatus(request.body.files.map(file => file.length < 10
    ? { file, status: 'uploaded' }
    : { file, status: 'failed', error: 'File name too long' })))

  return app
}

await startWhenRun(import.meta.url, build)
