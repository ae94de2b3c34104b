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

function constantOf (schema: JsonSchema, name: string): string | undefined {
  if (!schema.required?.includes(name)) return undefined
  const member = schema.properties?.[name]
  const constant = member?.const ?? (Array.isArray(member?.enum) && member.enum.length === 1 ? member.enum[0] : undefined)
  return typeof constant === 'string' ? constant : undefined
}
