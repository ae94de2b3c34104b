// OpenAPI 3.1 and Swagger UI, for apps that have none of their own.
import swagger, { type FastifyDynamicSwaggerOptions, type SwaggerTransformObject } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { ItemProblem } from '../../../schemas/index.js'
import { RequestError } from './errors.js'
import { findTaggedUnion, type JsonSchema } from '../items/tagged-union.js'

type OpenApi = NonNullable<FastifyDynamicSwaggerOptions['openapi']>

/** Where and how the documentation is published. */
export interface DocsOptions {
  /** The path of Swagger UI; the document is at `/json` below it. @default '/documentation' */
  routePrefix?: string
  /** OpenAPI's `info`. @default the title "Multi-Status API", version 1.0.0 */
  info?: OpenApi['info']
  /** What else the document says of the app, as `security`, `servers`, `tags` or `components`. */
  openapi?: Omit<OpenApi, 'openapi' | 'info' | 'paths'>
}

const INFO = {
  title: 'Multi-Status API',
  version: '1.0.0',
  description: 'One request carries many items, and the answer has one result for each.'
}

/** Registers @fastify/swagger and @fastify/swagger-ui, unless the app has a swagger of its own. */
export async function registerDocs (app: FastifyInstance, options: DocsOptions): Promise<void> {
  if (app.hasDecorator('swagger')) return
  const { routePrefix = '/documentation', info = INFO, openapi = {} } = options
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

interface OpenApiObject {
  openapi?: string
  components?: { schemas?: Schemas }
  paths?: Record<string, Record<string, { tags?: string[] }>>
  tags?: { name: string }[]
  [member: string]: unknown
}

type Schemas = Record<string, JsonSchema>

/**
 * Makes the `transformObject` of @fastify/swagger that publishes every union whose branches differ in one constant as
 * `oneOf` with a discriminator, its titled branches as named components, and so the errors that all bulk routes share. Needed only by apps with a swagger of their own.
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
  const to: Target = { schemas, isOld: /^3\.0/.test(document.openapi!) }
  for (const [name, schema] of Object.entries(schemas)) schemas[name] = rewrite(schema, to) as JsonSchema
  const published = rewrite({ ...document, components: { ...components, schemas: {} } }, to) as OpenApiObject
  return { ...published, components: { ...published.components, schemas } }
}

/** What the document becomes. */
interface Target {
  /** The components, to which more are added. */
  readonly schemas: Schemas
  /** Whether it is OpenAPI 3.0, which knows neither `const` nor `examples` in a schema. */
  readonly isOld: boolean
}

/** Members that hold data, which may look like a schema but is none. */
const DATA = new Set(['examples', 'example', 'default', 'const', 'enum'])

/** Members whose own members have names of the app's choice, which mean nothing here. */
const MAPS = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'responses', 'headers', 'schemas'])

/** The titles of schemas that every bulk route has. */
const SHARED = new Set<unknown>([RequestError.title, ItemProblem.title])

/** @param isMap whether the node is one of {@link MAPS} */
function rewrite (node: unknown, to: Target, isMap = false): unknown {
  if (Array.isArray(node)) return node.map(one => rewrite(one, to))
  if (node === null || typeof node !== 'object') return node
  const copy = Object.fromEntries(Object.entries(node).map(([name, member]) =>
    [name, !isMap && DATA.has(name) ? member : rewrite(member, to, !isMap && MAPS.has(name))])) as JsonSchema
  if (isMap) return copy
  const union = copy.anyOf === undefined ? copy : publishUnion(copy, to.schemas)
  const schema = to.isOld ? withoutNews(union) : union
  return SHARED.has(schema.title) && schema.type === 'object' ? hoist(schema, to.schemas) : schema
}

/** What OpenAPI 3.1 has and 3.0 has not; media types have `examples` of another kind, which both know. */
function withoutNews ({ const: constant, examples, ...schema }: JsonSchema): JsonSchema {
  return {
    ...schema,
    ...(constant !== undefined && { enum: [constant] }),
    ...(Array.isArray(examples) ? { example: schema.example ?? examples[0] } : examples !== undefined && { examples })
  }
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
