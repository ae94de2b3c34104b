// Finds the items in the schema of a body.
import type { JsonSchema } from './tagged-union.js'

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

/** @returns undefined when the body is neither an array nor an object with exactly one array in it */
export function findItemArray (body: JsonSchema | undefined): ItemArray | undefined {
  if (body === undefined || body === null) return undefined
  if (isArraySchema(body)) return { ...splitArray(body), member: undefined, rest: undefined }

  const arrays = Object.entries(body.properties ?? {}).filter(([, schema]) => isArraySchema(schema))
  if (arrays.length !== 1) return undefined
  const [member, array] = arrays[0] as [string, ArraySchema]
  const required = (body.required ?? []).filter(name => name !== member)
  const isAlone = Object.keys(body.properties!).length === 1 && body.additionalProperties === undefined
  const rest = isAlone ? undefined : { ...body, properties: { ...body.properties, [member]: {} }, required }
  return { ...splitArray(array), member, rest }
}

/** An array may have rules of its own, as `uniqueItems`. */
function splitArray ({ items, maxItems, $id: _, ...array }: ArraySchema): Pick<ItemArray, 'array' | 'items' | 'maxItems'> {
  return { array, items, maxItems: typeof maxItems === 'number' ? maxItems : DEFAULT_MAX_ITEMS }
}

type ArraySchema = JsonSchema & { items: JsonSchema }

function isArraySchema (schema: JsonSchema): schema is ArraySchema {
  return schema?.type === 'array' && typeof schema.items === 'object' && !Array.isArray(schema.items)
}
