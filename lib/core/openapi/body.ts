// What OpenAPI says of the body of a bulk route: its items with their limits, and an example.
import type { AnyContract } from '../../../schemas/index.js'
import { isValid } from './results.js'
import { exampleKey, exampleOf } from './examples.js'
import type { ItemArray } from '../items/body-schema.js'
import type { Compile } from '../items/validator.js'
import type { JsonSchema } from '../items/tagged-union.js'

/** The schema of a body with the limits that hold also where the route does not name them, and with an example. */
export function documentBody (
  body: JsonSchema, itemArray: ItemArray, contract: AnyContract, { bodyLimit, compile }: { bodyLimit: number, compile: Compile }
): JsonSchema {
  const { array, items, maxItems, member } = itemArray
  const limited: JsonSchema = { ...array, items, minItems: Math.max(1, Number(array.minItems ?? 1)), maxItems }
  const schema = member === undefined ? limited : withArray(body, member, limited)
  const description = [body.description, `At most ${maxItems} items and ${bodyLimit} bytes.`].filter(Boolean).join(' ')
  const examples = (body.examples as unknown[] | undefined) ?? [exampleBody(schema, items, contract, member)]
  const right = examples.filter(example => isValid(example, schema, compile))
  return { ...schema, description, ...(right.length > 0 && { examples: right }) }
}

function withArray (body: JsonSchema, member: string, array: JsonSchema): JsonSchema {
  const required = [...new Set([...body.required ?? [], member])]
  return { ...body, required, properties: { ...body.properties, [member]: array } }
}

/** One item of each kind, each with a key of its own. */
function exampleBody (schema: JsonSchema, items: JsonSchema, contract: AnyContract, member: string | undefined): unknown {
  const kinds = items.anyOf ?? items.oneOf ?? [items]
  const examples = kinds.map((kind, index) => withKey(exampleOf(kind), contract, index))
  return member === undefined ? examples : { ...exampleOf(schema) as object, [member]: examples }
}

function withKey (item: unknown, contract: AnyContract, index: number): unknown {
  if (index === 0 || item === null || typeof item !== 'object' || !(contract.key in item)) return item
  return { ...item, [contract.key]: exampleKey(contract.schemas.key as JsonSchema, index) }
}
