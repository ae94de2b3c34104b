// Finds the member that tells the branches of a union apart.

/** As much of a JSON schema as is looked at here. */
export interface JsonSchema {
  [keyword: string]: unknown
  anyOf?: JsonSchema[]
  oneOf?: JsonSchema[]
  properties?: Record<string, JsonSchema>
  required?: string[]
  title?: string
}

/** A union whose every branch demands its own constant in one member. */
export interface TaggedUnion {
  /** The member, for example `status`. */
  readonly tag: string
  /** The branch of each constant, in the order of the schema. */
  readonly branches: ReadonlyMap<string, JsonSchema>
}

/** What references within a schema, as `#/definitions/name`, lead to. */
export function definitionsOf ({ definitions, $defs }: JsonSchema): JsonSchema {
  return { ...(definitions !== undefined && { definitions }), ...($defs !== undefined && { $defs }) }
}

/** @returns undefined when the schema is no union of objects or has no such member */
export function findTaggedUnion (schema: JsonSchema): TaggedUnion | undefined {
  const options = schema.anyOf ?? schema.oneOf
  if (!Array.isArray(options) || options.length === 0) return undefined
  for (const tag of options[0]?.required ?? []) {
    const constants = options.map(option => constantOf(option, tag))
    if (constants.includes(undefined) || new Set(constants).size < options.length) continue
    return { tag, branches: new Map(options.map((option, index) => [constants[index]!, option])) }
  }
  return undefined
}

/** Keywords of a schema that say nothing of its values, or that its parts are compiled with. */
export const SAY_NOTHING: ReadonlySet<string> = new Set(['title', 'description', 'examples', 'example', 'deprecated', '$comment', 'discriminator', 'definitions', '$defs'])

/** What a union says beside its branches, as with members that all of them have in common; undefined where that is nothing. */
export function besideBranches (schema: JsonSchema): JsonSchema | undefined {
  const { [schema.anyOf === undefined ? 'oneOf' : 'anyOf']: _, ...beside } = schema
  const saysMore = Object.keys(beside).some(keyword => !SAY_NOTHING.has(keyword) && !(keyword === 'type' && beside.type === 'object'))
  return saysMore ? beside : undefined
}

/** Whether each branch of a union means the same by itself: it does not where a keyword looks at what others have found. */
export function standAlone (schema: JsonSchema): boolean {
  const { $id, $ref, unevaluatedProperties } = schema
  return $id === undefined && $ref === undefined && unevaluatedProperties === undefined && !REFERS_TO_ROOT.test(JSON.stringify(schema))
}

/** A reference to anything in the schema but its definitions. */
const REFERS_TO_ROOT = /"\$ref":"#(?!\/(?:definitions|\$defs)\/)/

function constantOf (schema: JsonSchema, name: string): string | undefined {
  if (!schema.required?.includes(name)) return undefined
  const member = schema.properties?.[name]
  const constant = member?.const ?? (Array.isArray(member?.enum) && member.enum.length === 1 ? member.enum[0] : undefined)
  return typeof constant === 'string' ? constant : undefined
}
