// Publishes OpenAPI 3.1 and Swagger UI for apps that have none of their own.
import swagger, { type FastifyDynamicSwaggerOptions, type SwaggerTransformObject } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { custom, objectOf, optional, path, type Settings } from '../options.js'
import { documentIn, publishUnions, type OpenApiObject } from './discriminator.js'

type OpenApi = NonNullable<FastifyDynamicSwaggerOptions['openapi']>

const INFO = {
  title: 'Multi-Status API',
  version: '1.0.0',
  description: 'One request carries many items, and the answer has one result for each.'
}

/** Where and how the documentation is published. */
export const DocsOptions = Type.Object({
  /** The path of Swagger UI; the document is at `/json` below it. @default '/documentation' */
  routePrefix: optional(path, { default: '/documentation' }),
  /** OpenAPI's `info`. @default the title "Multi-Status API", version 1.0.0 */
  info: optional(custom<NonNullable<OpenApi['info']>>("OpenAPI's info, an object with a title and a version", isInfo), {
    default: INFO, defaultText: '', description: "OpenAPI's `info`"
  }),
  /** What else the document says of the app, as `security`, `servers`, `tags` or `components`. */
  openapi: optional(objectOf<Omit<OpenApi, 'openapi' | 'info' | 'paths'>>("OpenAPI's members, as { security, servers, tags }"), {
    default: {}, description: 'what else the document says of the app: `security`, `servers`, `tags`, `components`'
  })
})
export type DocsOptions = Static<typeof DocsOptions>

function isInfo (value: unknown): boolean {
  const { title, version } = Object(value) as Record<string, unknown>
  return typeof title === 'string' && typeof version === 'string'
}

/** Registers @fastify/swagger and @fastify/swagger-ui, unless the app has a swagger of its own. */
export async function registerDocs (app: FastifyInstance, { routePrefix, info, openapi }: Settings<typeof DocsOptions>): Promise<void> {
  if (app.hasDecorator('swagger')) return
  await app.register(swagger, {
    openapi: { servers: [{ url: '/' }], security: [], ...openapi, openapi: '3.1.0', info } as OpenApi,
    convertConstToEnum: false,
    transformObject: publishUnions(describeTags)
  })
  await app.register(swaggerUi, { routePrefix, uiConfig: { requestInterceptor: sendAsLine } })
}

/** A request of Swagger UI, as far as it is looked at here. */
interface UiRequest { headers?: Record<string, string>, body?: unknown }

/**
 * Puts one item into one line, because Swagger UI shows its example in several, each of which would be an item of a
 * stream. Runs in the browser, to which only its own text is sent. Exported for its test.
 */
export function sendAsLine<R extends UiRequest> (request: R): R {
  if (!/ndjson|jsonl/.test(request.headers?.['Content-Type'] ?? '')) return request
  try {
    return { ...request, body: JSON.stringify(JSON.parse(String(request.body))) }
  } catch {
    return request
  }
}

/** What the tags of the plugin's own routes stand for. */
const TAGS: Record<string, string> = {
  upload: 'Stores files',
  tasks: 'Runs tasks of registered types',
  batch: 'Sends several requests in one'
}

/** Describes the tags of the plugin that are in use and that the app has not described itself. */
const describeTags: SwaggerTransformObject = given => {
  const { paths = {}, tags = [], ...document } = documentIn(given) as OpenApiObject
  const used = new Set(Object.values(paths).flatMap(path => Object.values(path)).flatMap(operation => operation.tags ?? []))
  const known = new Set(tags.map(({ name }) => name))
  const missing = Object.keys(TAGS).filter(name => used.has(name) && !known.has(name))
  const described = [...tags, ...missing.map(name => ({ name, description: TAGS[name] }))]
  return { ...document, ...(described.length > 0 && { tags: described }), paths } as ReturnType<SwaggerTransformObject>
}
