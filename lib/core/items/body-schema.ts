// Finds the items in the schema of a body.
import { InvalidOption } from '../../errors.js'
import { show } from '../settle/options.js'
import { definitionsOf, SAY_NOTHING, type JsonSchema } from './tagged-union.js'

/** How many items a request may have when the schema of its body does not say `maxItems`. */
export const DEFAULT_MAX_ITEMS = 1000

/** Where a body has its items, and what is left of its schema without them. */
export interface ItemArray {
  /** The member of the body that is the array; undefined when the body itself is. */
  readonly member: string | undefined
  /** The schema of the array, with the items left open. */
  readonly array: JsonSchema
  /** The schema of one item. */
  readonly items: JsonSchema
  readonly maxItems: number
  /** The schema of the body with the items left open; undefined when nothing is left. */
  readonly rest: JsonSchema | undefined
}

/** Finds a schema by its `$id`, as `fastify.getSchema` does. */
export type GetSchema = (id: string) => unknown

/**
 * Looks behind a `$ref` to a shared schema, and into `content` where that has one media type only.
 * @returns undefined when the body is neither an array nor an object with exactly one array in it
 */
export function findItemArray (body: JsonSchema | undefined, getSchema: GetSchema): ItemArray | undefined {
  if (body === undefined || body === null) return undefined
  if (typeof body.$ref === 'string') return findItemArray(withoutId(resolve(body.$ref, getSchema)), getSchema)
  if (body.content !== undefined) return findInContent(body.content as Content, getSchema)
  return findInSchema(body)
}

type Content = Record<string, { schema?: JsonSchema }>

/** Of several media types, only one of which may have items, nothing is known before the request. */
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
  const saysMore = Object.keys(body.properties!).length > 1 || required.length > 0 || Object.keys(body).some(keyword => !SAY_NO_MORE.has(keyword))
  const rest = saysMore ? { ...body, properties: { ...body.properties, [member]: {} }, required } : undefined
  return { ...splitArray(array, definitions), member, rest }
}

/** What a body with nothing but its items may say. */
const SAY_NO_MORE = new Set([...SAY_NOTHING, 'type', 'properties', 'required', '$id'])

/** @param reference a shared schema, `contacts#` or `contacts`, or a place in one, `contacts#/definitions/list` */
function resolve (reference: string, getSchema: GetSchema): JsonSchema {
  const [id, pointer = ''] = reference.split('#')
  const shared = getSchema(id!) as JsonSchema | undefined
  const names = pointer.split('/').slice(1).map(name => name.replaceAll('~1', '/').replaceAll('~0', '~'))
  const found = names.reduce<JsonSchema | undefined>((schema, name) => Object(schema)[name], shared)
  if (found !== undefined) return names.length === 0 ? found : { ...definitionsOf(shared!), ...found }
  throw new InvalidOption('the body of a bulk route', 'a schema that the app has already; call addSchema before the route', show(reference))
}

/** A copy that is changed must not be taken for the schema that the app has under this name. */
function withoutId (schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== '$id'))
}

/** An array may have rules of its own, as `uniqueItems`; its items may refer to the definitions of the body. */
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
