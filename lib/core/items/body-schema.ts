// Finds the array of items in the schema of a body.
import { InvalidOption } from '../../errors.js'
import { show } from '../settle/options.js'
import { definitionsOf, ANNOTATIONS, type JsonSchema } from './tagged-union.js'

/** The most items of a request whose schema has no `maxItems`. */
export const DEFAULT_MAX_ITEMS = 1000

/** The array of items in the schema of a body, and the rest of the schema. */
export interface ItemArray {
  /** The member of the body that holds the items; undefined if the body is the array. */
  readonly member: string | undefined
  /** The schema of the array, without that of its items. */
  readonly array: JsonSchema
  /** The schema of one item. */
  readonly items: JsonSchema
  readonly maxItems: number
  /** The schema of the body without that of the items; undefined if it says nothing else. */
  readonly rest: JsonSchema | undefined
}

/** Finds a schema by its `$id`, as `fastify.getSchema` does. */
export type GetSchema = (id: string) => unknown

/**
 * Finds the array of items in a schema. It follows a `$ref` to a shared schema, and a `content` with one media type.
 * @returns undefined if the body is neither an array nor an object with exactly one array
 */
export function findItemArray (body: JsonSchema | undefined, getSchema: GetSchema): ItemArray | undefined {
  if (body === undefined || body === null) return undefined
  if (typeof body.$ref === 'string') return findItemArray(withoutId(resolve(body.$ref, getSchema)), getSchema)
  if (body.content !== undefined) return findInContent(body.content as Content, getSchema)
  return findInSchema(body)
}

type Content = Record<string, { schema?: JsonSchema }>

/** With several media types it is unknown before the request which one is sent. */
function findInContent (content: Content, getSchema: GetSchema): ItemArray | undefined {
  const [[type, media] = [], ...others] = Object.entries(content)
  const found = others.length > 0 ? undefined : findItemArray(media?.schema, getSchema)
  return found?.rest === undefined ? found : { ...found, rest: { content: { [type!]: { ...media, schema: found.rest } } } }
}

function findInSchema (body: JsonSchema): ItemArray | undefined {
  const definitions = definitionsOf(body)
  if (isArraySchema(body)) return { ...splitArray(body, definitions), member: undefined, rest: undefined }

  const arrays = Object.entries(body.properties ?? {}).filter(([, schema]) => isArraySchema(schema))
  if (arrays.length !== 1) return undefined
  const [member, array] = arrays[0] as [string, ArraySchema]
  const required = (body.required ?? []).filter(name => name !== member)
  const saysMore = Object.keys(body.properties!).length > 1 || required.length > 0 || Object.keys(body).some(keyword => !BODY_KEYWORDS.has(keyword))
  const rest = saysMore ? { ...body, properties: { ...body.properties, [member]: {} }, required } : undefined
  return { ...splitArray(array, definitions), member, rest }
}

/** The keywords of a body that has nothing but its items. */
const BODY_KEYWORDS = new Set([...ANNOTATIONS, 'type', 'properties', 'required', '$id'])

/**
 * Finds a shared schema, or a part of one.
 * @param reference `contacts`, `contacts#` or `contacts#/definitions/list`
 */
function resolve (reference: string, getSchema: GetSchema): JsonSchema {
  const [id, pointer = ''] = reference.split('#')
  const shared = getSchema(id!) as JsonSchema | undefined
  const names = pointer.split('/').slice(1).map(name => name.replaceAll('~1', '/').replaceAll('~0', '~'))
  const found = names.reduce<JsonSchema | undefined>((schema, name) => Object(schema)[name], shared)
  if (found !== undefined) return names.length === 0 ? found : { ...definitionsOf(shared!), ...found }
  throw new InvalidOption('the body of a bulk route', 'a schema that the app has already; call addSchema before the route', show(reference))
}

/** Removes the `$id`, because a changed copy is not the shared schema any more. */
function withoutId (schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== '$id'))
}

/** Separates the array from its items. The array keeps its own keywords, for example `uniqueItems`; both keep the definitions. */
function splitArray (
  { items, maxItems, $id: _, ...array }: ArraySchema, definitions: JsonSchema
): Pick<ItemArray, 'array' | 'items' | 'maxItems'> {
  return {
    array: { ...definitions, ...array },
    items: '$id' in items ? items : { ...definitions, ...items },
    maxItems: typeof maxItems === 'number' ? maxItems : DEFAULT_MAX_ITEMS
  }
}

type ArraySchema = JsonSchema & { items: JsonSchema }

function isArraySchema (schema: JsonSchema): schema is ArraySchema {
  return schema?.type === 'array' && typeof schema.items === 'object' && !Array.isArray(schema.items)
}
