// Closes a JSON schema: the closed schema accepts no value with an undeclared member.
import { Kind, Type, type TProperties, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

/** As much of a schema as is looked at here. */
interface Keywords {
  readonly [keyword: string]: unknown
  readonly type?: string | readonly string[]
  readonly required?: readonly string[]
  readonly properties?: Record<string, Schema>
  readonly patternProperties?: Record<string, Schema>
  readonly additionalProperties?: Schema
  readonly items?: Schema | readonly Schema[]
  readonly additionalItems?: Schema
  readonly minItems?: number
  readonly maxItems?: number
  readonly anyOf?: readonly Schema[]
  readonly pattern?: string
  readonly minLength?: number
  readonly const?: unknown
  readonly enum?: readonly unknown[]
}

type Schema = boolean | Keywords

/** These say nothing of a value; formats are annotations in OpenAPI 3.1. */
const ANNOTATIONS = ['title', 'description', 'examples', '$id', '$comment', 'deprecated', 'readOnly', 'writeOnly', 'format']

/**
 * Closes a schema at every depth: what fits the closed schema fits the schema, and has no members that it does not declare.
 * A part that says more than can be closed becomes `Type.Never()`, which no value fits.
 */
export function closeSchema (schema: Schema): TSchema {
  if (typeof schema === 'boolean') return schema ? Type.Unknown() : Type.Never()
  const { type, ...rest } = schema
  if (Array.isArray(type)) return Type.Union(type.map(one => closeSchema({ ...rest, type: one })))
  const keywords = Object.keys(schema).filter(keyword => !ANNOTATIONS.includes(keyword))
  const has = (...known: string[]) => keywords.every(keyword => known.includes(keyword))
  if (keywords.length === 0) return Type.Unknown()
  if ('const' in schema && has('type', 'const')) return closeConstants(type, [schema.const])
  if (schema.enum !== undefined && has('type', 'enum')) return closeConstants(type, schema.enum)
  if (schema.anyOf !== undefined && has('anyOf')) return Type.Union(schema.anyOf.map(closeSchema))
  if (type === 'null' && has('type')) return Type.Null()
  if (type === 'boolean' && has('type')) return Type.Boolean()
  if (type === 'string' && has('type', 'minLength', 'maxLength', 'pattern')) return closeString(schema)
  const bounds = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum']
  if (type === 'number' && has('type', ...bounds)) return Type.Number(only(schema, bounds))
  if (type === 'integer' && has('type', ...bounds)) return Type.Integer(only(schema, bounds))
  if (type === 'array' && has('type', 'items', 'additionalItems', 'minItems', 'maxItems')) return closeArray(schema)
  if (type === 'object' && has('type', 'required', 'properties', 'patternProperties', 'additionalProperties')) return closeObject(schema)
  return Type.Never()
}

function closeConstants (type: Keywords['type'], values: readonly unknown[]): TSchema {
  // The type says as much of a constant as of any other value.
  const isTyped = compileTypeTest(type)
  return Type.Union(values.filter(isTyped).map(closeConstant))
}

function compileTypeTest (type: Keywords['type']): (value: unknown) => boolean {
  if (type === undefined) return () => true
  const typed = type === 'object' ? Type.Object({}) : closeSchema({ type })
  return value => Value.Check(typed, value)
}

function closeConstant (value: unknown): TSchema {
  if (value === null) return Type.Null()
  if (Array.isArray(value)) return Type.Never()
  if (typeof value !== 'object') return Type.Literal(value as string)
  return Type.Object(Object.fromEntries(Object.entries(value).map(([name, one]) => [name, closeConstant(one)])), { additionalProperties: false })
}

/** TypeBox counts units of UTF-16, of which a character can be two. */
function closeString (schema: Keywords): TSchema {
  const { minLength = 0, pattern } = schema
  const lengths = { ...only(schema, ['maxLength']), ...(minLength > 0 && { minLength: minLength === 1 ? 1 : minLength * 2 }) }
  return pattern === undefined ? Type.String(lengths) : Type.RegExp(new RegExp(pattern, 'u'), lengths)
}

function closeArray (schema: Keywords): TSchema {
  const { items = true, minItems, maxItems, additionalItems } = schema
  if (!isTuple(items)) return additionalItems === undefined ? Type.Array(closeSchema(items), only(schema, ['minItems', 'maxItems'])) : Type.Never()
  return minItems === items.length && maxItems === items.length ? Type.Tuple(items.map(closeSchema)) : Type.Never()
}

function isTuple (items: Schema | readonly Schema[]): items is readonly Schema[] {
  return Array.isArray(items)
}

function closeObject ({ required = [], properties = {}, patternProperties = {}, additionalProperties = false }: Keywords): TSchema {
  const patterns = Object.entries(patternProperties)
  const names = Object.keys(properties)
  if (patterns.length > 0 && (patterns.length > 1 || names.length > 0 || additionalProperties !== false)) return Type.Never()
  if (patterns.length === 1) return closeRecord(...patterns[0]!)
  if (!required.every(name => names.includes(name))) return Type.Never()
  const members: TProperties = Object.fromEntries(Object.entries(properties).map(([name, member]) => {
    const closed = closeSchema(member)
    return [name, required.includes(name) ? closeRequired(closed) : Type.Optional(closed)]
  }))
  return Type.Object(members, additionalProperties === true ? {} : { additionalProperties: additionalProperties === false ? false : closeSchema(additionalProperties) })
}

/** A member that can be anything must still be there. */
function closeRequired (member: TSchema): TSchema {
  return acceptsUndefined(member) ? Type.Intersect([member, Type.Not(Type.Undefined())]) : member
}

function acceptsUndefined ({ [Kind]: kind, anyOf = [] }: TSchema): boolean {
  return kind === 'Unknown' || (kind === 'Union' && (anyOf as TSchema[]).some(acceptsUndefined))
}

/** TypeBox matches names without the flag for Unicode. */
function closeRecord (pattern: string, values: Schema): TSchema {
  if (!/^[ -~]*$/.test(pattern) || /\\[pPu]/.test(pattern)) return Type.Never()
  return Type.Record(Type.String({ pattern }), closeSchema(values), { additionalProperties: false })
}

function only (schema: Keywords, names: readonly string[]): Keywords {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => names.includes(name)))
}
