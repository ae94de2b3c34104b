// Publishes unions as `oneOf` with a discriminator, and shared schemas as named components.
import type { SwaggerTransformObject } from '@fastify/swagger'
import { ItemProblem } from '../../../schemas/index.js'
import { findTaggedUnion, type JsonSchema } from '../items/tagged-union.js'
import { RequestError } from './errors.js'

/** A document of OpenAPI, as far as it is looked at here. */
export interface OpenApiObject {
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

/** The document that @fastify/swagger hands on. */
export const documentIn: SwaggerTransformObject = given => 'openapiObject' in given ? given.openapiObject : given.swaggerObject

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
