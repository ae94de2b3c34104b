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
  openapi?: string
  components?: { schemas?: Schemas }
  [member: string]: unknown
}

type Schemas = Record<string, JsonSchema>

/**
 * Makes the `transformObject` of @fastify/swagger that publishes every union whose branches differ in one constant as
 * `oneOf` with a discriminator, its titled branches as named components. Needed only by apps with a swagger of their own.
 * A document in Swagger 2.0, which has no such unions, stays as it is.
 * @param next the app's own transformObject, which gets the document first
 * @example await app.register(swagger, { openapi: { openapi: '3.1.0' }, transformObject: publishUnions() })
 */
export function publishUnions (next: SwaggerTransformObject = documentIn): SwaggerTransformObject {
  return given => {
    const document = next(given) as OpenApiObject
    return (document.openapi === undefined ? document : publish(document)) as ReturnType<SwaggerTransformObject>
  }
}

const documentIn: SwaggerTransformObject = given => 'openapiObject' in given ? given.openapiObject : given.swaggerObject

function publish ({ components = {}, ...document }: OpenApiObject): OpenApiObject {
  const schemas = { ...components.schemas }
  for (const [name, schema] of Object.entries(schemas)) schemas[name] = rewrite(schema, schemas) as JsonSchema
  const published = rewrite({ ...document, components: { ...components, schemas: {} } }, schemas) as OpenApiObject
  return { ...published, components: { ...published.components, schemas } }
}

/** Members that hold data, which may look like a schema but is none. */
const DATA = new Set(['examples', 'example', 'default', 'const', 'enum'])

/** Members whose own members have names of the app's choice, which mean nothing here. */
const MAPS = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'responses', 'headers', 'schemas'])

/** @param isMap whether the node is one of {@link MAPS} */
function rewrite (node: unknown, schemas: Schemas, isMap = false): unknown {
  if (Array.isArray(node)) return node.map(one => rewrite(one, schemas))
  if (node === null || typeof node !== 'object') return node
  const copy = Object.fromEntries(Object.entries(node).map(([name, member]) =>
    [name, !isMap && DATA.has(name) ? member : rewrite(member, schemas, !isMap && MAPS.has(name))])) as JsonSchema
  return isMap || copy.anyOf === undefined ? copy : publishUnion(copy, schemas)
}

function publishUnion (schema: JsonSchema, schemas: Schemas): JsonSchema {
  const union = findTaggedUnion(schema)
  if (union === undefined) return schema
  const { anyOf, ...rest } = schema
  const branches = [...union.branches].map(([constant, branch]) => ({ constant, branch: hoist(branch, schemas) }))
  const mapping = branches.filter(({ branch }) => branch.$ref !== undefined).map(({ constant, branch }) => [constant, branch.$ref])
  return {
    ...rest,
    oneOf: branches.map(({ branch }) => branch),
    ...(mapping.length === branches.length && { discriminator: { propertyName: union.tag, mapping: Object.fromEntries(mapping) } })
  }
}

/** Moves a schema with a title to the components; another schema of that title there gets a number behind its name. */
function hoist (schema: JsonSchema, schemas: Schemas): JsonSchema {
  if (!schema.title) return schema
  const text = JSON.stringify(schema)
  // OpenAPI allows no other characters in the name of a component.
  const title = schema.title.replace(/[^\w.-]+/g, '_')
  let name = title
  for (let count = 2; schemas[name] !== undefined && JSON.stringify(schemas[name]) !== text; count++) name = title + count
  schemas[name] = schema
  return { $ref: `#/components/schemas/${name}` }
}
