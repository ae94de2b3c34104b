// Makes an example value of a schema, for documentation.
import type { ItemProblem } from '../../../schemas/index.js'
import type { Compile } from '../items/validator.js'
import type { JsonSchema } from '../items/tagged-union.js'

/** Two for each, because the keys of two items differ. */
const BY_FORMAT: Record<string, [string, string]> = {
  date: ['2026-01-31', '2026-02-28'],
  'date-time': ['2026-01-31T12:00:00Z', '2026-02-28T12:00:00Z'],
  email: ['ada@example.org', 'bob@example.org'],
  hostname: ['www.example.org', 'api.example.org'],
  time: ['12:00:00Z', '13:00:00Z'],
  uri: ['https://example.org/1', 'https://example.org/2'],
  uuid: ['6f4e1c1e-7d0b-4c4e-9c39-2f4b6f0f7a11', '0b0e5b5e-93a4-4a0c-8f6c-5d1f0a3c9d22']
}

/** The schema's own example where it has one; else a plain value of its type, with the members that are required. */
export function exampleOf (schema: JsonSchema): unknown {
  if (Array.isArray(schema.examples) && schema.examples.length > 0) return schema.examples[0]
  for (const keyword of ['example', 'default', 'const']) if (schema[keyword] !== undefined) return schema[keyword]
  if (Array.isArray(schema.enum)) return schema.enum[0]
  const options = schema.anyOf ?? schema.oneOf
  if (options !== undefined) return exampleOf(options[0]!)
  if (Array.isArray(schema.allOf)) return Object.assign({}, ...schema.allOf.map(exampleOf))
  return exampleOfType([schema.type].flat()[0], schema)
}

function exampleOfType (type: unknown, schema: JsonSchema): unknown {
  switch (type) {
    case 'string': return BY_FORMAT[schema.format as string]?.[0] ?? 'string'.padEnd(Number(schema.minLength ?? 0), '-')
    case 'integer':
    case 'number': return Math.min(Math.max(1, Number(schema.minimum ?? 1)), Number(schema.maximum ?? Infinity))
    case 'boolean': return true
    case 'null': return null
    case 'array': return [schema.items ?? {}].flat().map(items => exampleOf(items as JsonSchema))
    case 'object': return exampleOfObject(schema)
    default: return {}
  }
}

function exampleOfObject ({ properties = {}, required = [] }: JsonSchema): object {
  const members = Object.entries(properties).filter(([name, member]) => required.includes(name) || member.examples !== undefined)
  return Object.fromEntries(members.map(([name, member]) => [name, exampleOf(member)]))
}

/** The key of the item at this place, because no two items of a request have the same. */
export function exampleKey (schema: JsonSchema, index: number): unknown {
  const own = (schema.examples as unknown[] | undefined)?.[index] ?? BY_FORMAT[schema.format as string]?.[index]
  if (own !== undefined) return own
  const first = exampleOf(schema)
  if (index === 0) return first
  return typeof first === 'number' ? first + index : `${String(first)}-${index + 1}`
}

/** What is wrong with an example of which one member, if possible not the key, has a wrong type; nothing where all is right. */
export function problemsOf (schema: JsonSchema, key: string, compile: Compile): ItemProblem[] | undefined {
  const example = exampleOf(schema)
  const members = typeof example === 'object' ? Object.entries(example as object) : []
  const [name, value] = members.find(([one]) => one !== key) ?? members[0] ?? []
  const broken = name === undefined ? null : { ...example as object, [name]: typeof value === 'number' ? 'text' : 1 }
  return compile(schema)(broken)?.slice(0, 1)
}
