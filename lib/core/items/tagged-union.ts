// Finds the member that discriminates the branches of a union, for example `status`.

/** The keywords of a JSON schema that the plugin reads. */
export interface JsonSchema {
  [keyword: string]: unknown
  anyOf?: JsonSchema[]
  oneOf?: JsonSchema[]
  properties?: Record<string, JsonSchema>
  required?: string[]
  title?: string
}

/** A union in which every branch requires its own constant in the same member. */
export interface TaggedUnion {
  /** The name of the member. */
  readonly tag: string
  /** The branch of each constant, in the order of the schema. */
  readonly branches: ReadonlyMap<string, JsonSchema>
}

/** The definitions of a schema, for references such as `#/definitions/name`. */
export function definitionsOf ({ definitions, $defs }: JsonSchema): JsonSchema {
  return { ...(definitions !== undefined && { definitions }), ...($defs !== undefined && { $defs }) }
}

/**
 * Finds the tag of a union.
 * @returns undefined if the schema is not a union of objects, or has no such member
 */
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

/** Keywords that do not restrict values. Definitions count too, because every part of a schema is compiled with them. */
export const ANNOTATIONS: ReadonlySet<string> = new Set(['title', 'description', 'examples', 'example', 'deprecated', '$comment', 'discriminator', 'definitions', '$defs'])

/** The keywords beside the branches of a union, for example common members; undefined if they restrict nothing. */
export function besideBranches (schema: JsonSchema): JsonSchema | undefined {
  const { [schema.anyOf === undefined ? 'oneOf' : 'anyOf']: _, ...beside } = schema
  const restricts = Object.keys(beside).some(keyword => !ANNOTATIONS.has(keyword) && !(keyword === 'type' && beside.type === 'object'))
  return restricts ? beside : undefined
}

/** Whether each branch of a union can be compiled alone. Not if it refers to the whole schema or depends on other branches. */
export function hasIndependentBranches (schema: JsonSchema): boolean {
  const { $id, $ref, unevaluatedProperties } = schema
  return $id === undefined && $ref === undefined && unevaluatedProperties === undefined && !REFERS_TO_ROOT.test(JSON.stringify(schema))
}

/** A reference to a part of the schema other than its definitions. */
const REFERS_TO_ROOT = /"\$ref":"#(?!\/(?:definitions|\$defs)\/)/

function constantOf (schema: JsonSchema, name: string): string | undefined {
  if (!schema.required?.includes(name)) return undefined
  const member = schema.properties?.[name]
  const constant = member?.const ?? (Array.isArray(member?.enum) && member.enum.length === 1 ? member.enum[0] : undefined)
  return typeof constant === 'string' ? constant : undefined
}
