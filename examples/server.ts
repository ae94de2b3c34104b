// The example server: contacts, uploads with a web page, tasks, and their documentation.
//   HOST (127.0.0.1), PORT (3000), UPLOAD_DIR (./uploads), FILE_SIZE_LIMIT (10mb), TASK_TIMEOUT (1000, in ms)
import Fastify, { type FastifyServerOptions } from 'fastify'
import multiStatus, { disk } from '../lib/index.js'
import { contactRoutes } from './contacts/memory.js'
import { startWhenRun } from './start.js'
import { handlers } from './tasks.js'
import { uploadPage } from './upload-page/route.js'

const info = {
  title: 'Contacts, uploads and tasks',
  version: '1.0.0',
  description: 'One request carries many items; some work, some do not, and the answer has one result for each.',
  contact: { name: 'fastify-multi-status', url: 'https://www.npmjs.com/package/fastify-multi-status' },
  license: { name: 'MIT', identifier: 'MIT' }
}

type Environment = Record<string, string | undefined>

export async function build (env: Environment = process.env, options: FastifyServerOptions = { logger: { level: 'warn' } }) {
  const app = Fastify(options)
  await app.register(multiStatus, {
    upload: {
      storage: disk({ dir: env.UPLOAD_DIR || './uploads' }),
      limits: { fileSize: env.FILE_SIZE_LIMIT || '10mb' }
    },
    tasks: { handlers, timeout: Number(env.TASK_TIMEOUT || 1000) },
    // The example is open to everyone. An app with tokens would add components.securitySchemes and security here.
    docs: { info, openapi: { security: [], tags: [{ name: 'contacts', description: 'Creates contacts' }] } }
  })
  await app.register(contactRoutes)
  await app.register(uploadPage)
  return app
}

/** The commands to try first, for the address of the server. */
export function welcome (address: string): string {
  return `Swagger UI: ${address}/documentation
Upload page: ${address}/upload-page/

Try:
  curl -i ${address}/upload -F files=@package.json -F files=@README.md
  curl -i ${address}/tasks -H 'content-type: application/json' -d '{"tasks":[{"taskId":101,"type":"echo","payload":"hi"},{"taskId":102,"type":"sleep","payload":{"ms":5000}},{"taskId":103,"type":"fail","payload":{"message":"No such image"}},{"taskId":104,"type":"nonsense"}]}'
  curl -i ${address}/contacts -H 'content-type: application/json' -d '[{"email":"ada@example.org","name":"Ada"},{"email":"nonsense","name":"Bob"}]'
`
}

await startWhenRun(import.meta.url, build, welcome)
