// Closes a schema: the closed schema accepts only plain JSON values without undeclared members, so that JSON.stringify
// sends exactly what the schema declares.

/** The keyword of a closed schema that a value must be what JSON.stringify sends. */
export const JSON_VALUE = 'isJsonValue'

type Schema = Record<string, unknown>

/** Keywords that say nothing about members, so that they can stay as they are. */
const KEPT = new Set([
  'title', 'description', 'default', 'examples', 'example', 'deprecated', 'readOnly', 'writeOnly', 'type', 'nullable', 'const', 'enum',
  'required', 'format', 'pattern', 'minLength', 'maxLength', 'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf',
  'minItems', 'maxItems', 'uniqueItems', 'additionalProperties', 'additionalItems', '$id', '$schema', '$comment', 'discriminator'
])

/** Keywords that an object schema with `anyOf` may not have, because each branch would have to declare all members. */
const MEMBERS = ['properties', 'patternProperties', 'additionalProperties', 'required', 'items']

/**
 * Makes the closed schema. It accepts a subset of the values that the schema accepts.
 * @returns undefined when the schema has keywords that cannot be closed, as `allOf`, `oneOf`, `if` or `$ref`
 */
export function closeSchema (schema: unknown): Schema | undefined {
  if (schema === true) return { [JSON_VALUE]: true }
  if (typeof schema !== 'object' || schema === null) return undefined
  const closed: Schema = { [JSON_VALUE]: true }
  for (const [keyword, value] of Object.entries(schema)) {
    const entry = closeKeyword(keyword, value, schema as Schema)
    if (entry === undefined) return undefined
    closed[keyword] = entry
  }
  return isObjectSchema(closed) ? closeObject(closed) : closed
}

/** @returns undefined when the keyword cannot be closed */
function closeKeyword (keyword: string, value: unknown, schema: Schema): unknown {
  if (keyword === 'properties' || keyword === 'patternProperties') return closeAll(value as Schema)
  if (keyword === 'items') return Array.isArray(value) ? closeList(value) : closeSchema(value)
  if (keyword === 'anyOf') return MEMBERS.some(other => other in schema) ? undefined : closeList(value as unknown[])
  return KEPT.has(keyword) ? value : undefined
}

function closeAll (schemas: Schema): Schema | undefined {
  const closed = Object.entries(schemas).map(([name, schema]) => [name, closeSchema(schema)] as const)
  return closed.every(([, schema]) => schema !== undefined) ? Object.fromEntries(closed) : undefined
}

function closeList (schemas: readonly unknown[]): Schema[] | undefined {
  const closed = schemas.map(closeSchema)
  return closed.every(schema => schema !== undefined) ? closed : undefined
}

function isObjectSchema ({ type, properties, patternProperties, additionalProperties }: Schema): boolean {
  return [type].flat().includes('object') || [properties, patternProperties, additionalProperties].some(keyword => keyword !== undefined)
}

/** @returns undefined when the schema of undeclared members cannot be closed */
function closeObject (closed: Schema): Schema | undefined {
  const { additionalProperties: others = false } = closed
  const additionalProperties = typeof others === 'object' ? closeSchema(others) : others
  return additionalProperties === undefined ? undefined : { ...closed, additionalProperties }
}

/**
 * Whether JSON.stringify sends the value itself: no function or symbol, which it leaves out; no object with `toJSON`,
 * which it replaces; and no instance of a class, whose accessors it leaves out.
 */
export function isJsonValue (value: unknown): boolean {
  if (typeof value !== 'object') return typeof value !== 'function' && typeof value !== 'symbol'
  if (value === null) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === Array.prototype || prototype === null) &&
    typeof (value as { toJSON?: unknown }).toJSON !== 'function'
}
