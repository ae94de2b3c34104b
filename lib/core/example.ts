// Makes an example value of a schema, for documentation.
import type { JsonSchema } from './tagged-union.js'

const BY_TYPE: Record<string, unknown> = { string: 'string', integer: 1, number: 1, boolean: true, null: null }

/** The schema's own example where it has one; else a plain value of its type, with the members that are required. */
export function exampleOf (schema: JsonSchema): unknown {
  if (Array.isArray(schema.examples) && schema.examples.length > 0) return schema.examples[0]
  for (const keyword of ['example', 'default', 'const']) if (schema[keyword] !== undefined) return schema[keyword]
  if (Array.isArray(schema.enum)) return schema.enum[0]
  const options = schema.anyOf ?? schema.oneOf
  if (options !== undefined) return exampleOf(options[0]!)
  if (Array.isArray(schema.allOf)) return Object.assign({}, ...schema.allOf.map(exampleOf))
  const type = [schema.type].flat()[0]
  if (type === 'array') return [schema.items ?? {}].flat().map(items => exampleOf(items as JsonSchema))
  if (type !== 'object') return type as string in BY_TYPE ? BY_TYPE[type as string] : {}
  const members = Object.entries(schema.properties ?? {})
    .filter(([name, member]) => schema.required?.includes(name) || member.examples !== undefined)
  return Object.fromEntries(members.map(([name, member]) => [name, exampleOf(member)]))
}
