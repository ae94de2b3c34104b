// OpenAPI 3.1 and Swagger UI, for apps that have none of their own.
import swagger, { type SwaggerTransformObject } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { findTaggedUnion, type JsonSchema } from './core/tagged-union.js'

/** Where and how the documentation is published. */
export interface DocsOptions {
  /** The path of Swagger UI; the document is at `/json` below it. @default '/documentation' */
  routePrefix?: string
  /** OpenAPI's `info`. @default the title "Multi-Status API", version 1.0.0 */
  info?: { title: string, version: string, description?: string }
}

/** Registers @fastify/swagger and @fastify/swagger-ui, unless the app has a swagger of its own. */
export async function registerDocs (app: FastifyInstance, options: DocsOptions): Promise<void> {
  if (app.hasDecorator('swagger')) return
  const { routePrefix = '/documentation', info = { title: 'Multi-Status API', version: '1.0.0' } } = options
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info, servers: [{ url: '/' }] },
    convertConstToEnum: false,
    transformObject: publishUnions()
  })
  await app.register(swaggerUi, { routePrefix })
}

interface OpenApiObject {
  components?: { schemas?: Record<string, JsonSchema> }
  [member: string]: unknown
}

/**
 * Makes the `transformObject` of @fastify/swagger that publishes every union whose branches differ in one constant as
 * `oneOf` with a discriminator, its titled branches as named components. Needed only by apps with a swagger of their own.
 * @param next the app's own transformObject, which gets the document first
 * @example await app.register(swagger, { openapi: { openapi: '3.1.0' }, transformObject: publishUnions() })
 */
export function publishUnions (next?: SwaggerTransformObject): SwaggerTransformObject {
  return documentObject => {
    const document = (next === undefined && 'openapiObject' in documentObject
      ? documentObject.openapiObject
      : next?.(documentObject)) as OpenApiObject | undefined
    // Swagger 2.0 has neither oneOf nor discriminator mappings.
    if (document === undefined || !('openapi' in document)) return ('swaggerObject' in documentObject && next === undefined ? documentObject.swaggerObject : document) as never
    const components = { ...document.components?.schemas }
    const published = rewrite(document, components) as OpenApiObject
    return { ...published, components: { ...published.components as object, schemas: components } } as never
  }
}

/** Examples hold data, which may look like a schema but is none. */
const NO_SCHEMAS = new Set(['examples', 'example', 'default', 'const', 'enum'])

function rewrite (node: unknown, components: Record<string, JsonSchema>): unknown {
  if (Array.isArray(node)) return node.map(one => rewrite(one, components))
  if (node === null || typeof node !== 'object') return node
  const copy = Object.fromEntries(Object.entries(node).map(([name, member]) =>
    [name, NO_SCHEMAS.has(name) ? member : rewrite(member, components)])) as JsonSchema
  return copy.anyOf === undefined ? copy : publishUnion(copy, components)
}

function publishUnion (schema: JsonSchema, components: Record<string, JsonSchema>): JsonSchema {
  const union = findTaggedUnion(schema)
  if (union === undefined) return schema
  const { anyOf, ...rest } = schema
  const branches = [...union.branches].map(([constant, branch]) => ({ constant, branch: hoist(branch, components) }))
  const mapping = branches.filter(({ branch }) => branch.$ref !== undefined).map(({ constant, branch }) => [constant, branch.$ref])
  return {
    ...rest,
    oneOf: branches.map(({ branch }) => branch),
    ...(mapping.length === branches.length && { discriminator: { propertyName: union.tag, mapping: Object.fromEntries(mapping) } })
  }
}

/** Moves a schema with a title to the components; another schema of that title there gets a number behind its name. */
function hoist (schema: JsonSchema, components: Record<string, JsonSchema>): JsonSchema {
  if (schema.title === undefined) return schema
  const text = JSON.stringify(schema)
  let name = schema.title
  for (let count = 2; components[name] !== undefined && JSON.stringify(components[name]) !== text; count++) name = schema.title + count
  components[name] = schema
  return { $ref: `#/components/schemas/${name}` }
}
