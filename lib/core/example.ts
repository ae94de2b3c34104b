// Makes an example value of a schema, for documentation.
import type { JsonSchema } from './tagged-union.js'

const BY_TYPE: Record<string, unknown> = { string: 'string', integer: 1, number: 1, boolean: true, null: null }

/** The schema's own example where it has one; else the plainest value that fits, with the members that are required. */
export function exampleOf (schema: JsonSchema): unknown {
  if (Array.isArray(schema.examples)) return schema.examples[0]
  for (const keyword of ['example', 'default', 'const']) if (schema[keyword] !== undefined) return schema[keyword]
  if (Array.isArray(schema.enum)) return schema.enum[0]
  const options = schema.anyOf ?? schema.oneOf
  if (options !== undefined) return exampleOf(options[0]!)
  if (schema.type === 'array') return [exampleOf(schema.items as JsonSchema)]
  if (schema.type !== 'object') return BY_TYPE[String(schema.type)] ?? {}
  const members = Object.entries(schema.properties ?? {})
    .filter(([name, member]) => schema.required?.includes(name) || member.examples !== undefined)
  return Object.fromEntries(members.map(([name, member]) => [name, exampleOf(member)]))
}
