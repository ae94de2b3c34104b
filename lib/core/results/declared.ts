// Leaves of a value what its schema declares: what else there is stays on the server.

/** Schemas that others may refer to, as from `fastify.getSchemas()`. */
export type SharedSchemas = Record<string, unknown>

/** Makes functions that tell whether a value fits a schema. */
type CreateChecker = (shared: SharedSchemas) => (schema: object) => (value: unknown) => boolean

/** As much of a schema as is looked at here. */
interface Keywords {
  [keyword: string]: unknown
  $id?: string
  $ref?: string
  type?: unknown
  properties?: Record<string, Schema>
  patternProperties?: Record<string, Schema>
  additionalProperties?: Schema
  items?: Schema | Schema[]
  additionalItems?: Schema
  allOf?: Schema[]
  anyOf?: Schema[]
  oneOf?: Schema[]
  dependencies?: Record<string, Schema | string[]>
}

type Schema = boolean | Keywords

/** A schema, and where it stands. */
interface Place {
  readonly schema: Schema
  readonly uri: string
  /** The nearest schema around it with an `$id`, where its references begin. */
  readonly resource: Place | undefined
}

/** The schema whose values are looked at, among those that it refers to. */
const ROOT = 'fastify-multi-status.result'

/** A schema that says none of these says nothing of what is in a value. */
const STRUCTURE = [
  'type', 'properties', 'patternProperties', 'additionalProperties', 'items', '$ref', 'allOf', 'anyOf', 'oneOf', 'if', 'dependencies'
]

/**
 * Makes a function that gives a value back with the members alone that its schema declares; of several branches, those
 * of every one that the value fits.
 * @param createChecker for telling whether a value, which is plain JSON, fits a branch
 */
export function compileDeclared (schema: object, shared: SharedSchemas, createChecker: CreateChecker): (value: unknown) => unknown {
  const root: Keywords & { $id: string } = { $id: ROOT, ...schema }
  const all: SharedSchemas = { ...shared, [root.$id]: root }
  const named = new Map(Object.entries(all).flatMap(([id, one]) => findNamed(place(one as Schema, `${withoutHash(id)}#`))))
  const checks = new Map<string, (value: unknown) => boolean>()
  // Both only when they are needed, as most never are.
  let compile: ReturnType<CreateChecker> | undefined
  const fits = ({ uri }: Place, value: unknown) => {
    compile ??= createChecker(all)
    const check = checks.get(uri) ?? compile({ $ref: uri })
    checks.set(uri, check)
    return check(value)
  }
  const keep = (places: readonly Place[], value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value
    const applied = places.flatMap(one => applying(one, value))
    if (applied.some(isOpen)) return value
    if (Array.isArray(value)) return value.map((item, index) => keep(applied.flatMap(one => itemPlaces(one, index)), item))
    const members = Object.entries(value).map(([name, member]) => ({ name, member, found: applied.flatMap(one => memberPlaces(one, name)) }))
    return Object.fromEntries(members.filter(({ found }) => found.length > 0).map(({ name, member, found }) => [name, keep(found, member)]))
  }
  /** The schema, and all that it says of this value by way of others. */
  const applying = (one: Place, value: object): Place[] => {
    if (typeof one.schema === 'boolean') return [one]
    const { $ref, allOf = [], dependencies = {} } = one.schema
    const others = [
      ...($ref === undefined ? [] : [follow(one, $ref, named)]),
      ...allOf.map((_, index) => within(one, 'allOf', index)),
      ...(['anyOf', 'oneOf'] as const).flatMap(keyword => (one.schema as Keywords)[keyword]?.map((_, index) => within(one, keyword, index)) ?? [])
        .filter(branch => fits(branch, value)),
      ...conditions(one, value),
      ...Object.keys(dependencies).filter(name => Object.hasOwn(value, name)).map(name => within(one, 'dependencies', name))
    ]
    return [one, ...others.filter(({ schema }) => !Array.isArray(schema)).flatMap(other => applying(other, value))]
  }
  const conditions = (one: Place, value: object): Place[] => {
    const says = one.schema as Keywords
    if (says.if === undefined) return []
    const condition = within(one, 'if')
    const holds = fits(condition, value)
    const next = holds ? 'then' : 'else'
    return [...(holds ? [condition] : []), ...(says[next] === undefined ? [] : [within(one, next)])]
  }
  return value => keep([named.get(withoutHash(root.$id))!], value)
}

function place (schema: Schema, uri: string, resource?: Place): Place {
  return { schema, uri, resource }
}

/** What stands at this path in a schema. */
function within (one: Place, ...path: (string | number)[]): Place {
  const schema = path.reduce<unknown>((found, name) => (found as Record<string, unknown>)[name], one.schema)
  const pointer = path.map(name => `/${encodeURIComponent(String(name).replaceAll('~', '~0').replaceAll('/', '~1'))}`).join('')
  return place(schema as Schema, one.uri + pointer, resourceOf(one))
}

/** Where the references of a schema begin. */
function resourceOf (one: Place): Place {
  return one.resource === undefined || hasId(one.schema) ? one : one.resource
}

function hasId (schema: unknown): schema is { $id: string } {
  return typeof (schema as Keywords | null)?.$id === 'string'
}

/** A schema and those in it that have an `$id`, by the names that references call them by. */
function findNamed (one: Place): [id: string, place: Place][] {
  if (typeof one.schema !== 'object' || one.schema === null) return []
  const inner = Object.keys(one.schema).flatMap(name => findNamed(within(one, name)))
  const ids = [...(one.resource === undefined ? [one.uri] : []), ...(hasId(one.schema) ? [one.schema.$id] : [])]
  return [...ids.map((id): [string, Place] => [withoutHash(id), one]), ...inner]
}

function withoutHash (id: string): string {
  return id.replace(/#$/, '')
}

/** What a reference leads to, which the compiling of the whole schema has found already. */
function follow (from: Place, reference: string, named: ReadonlyMap<string, Place>): Place {
  const [id = '', pointer = ''] = reference.split('#')
  const resource = id === '' ? resourceOf(from) : named.get(id)
  const names = pointer.split('/').slice(1).map(name => decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~'))
  if (resource === undefined || (pointer !== '' && names.length === 0)) throw new Error(`the reference ${reference} cannot be followed`)
  return names.reduce((found, name) => within(found, name), resource)
}

/** Whether a schema takes whatever there is. */
function isOpen ({ schema }: Place): boolean {
  if (typeof schema === 'boolean') return schema
  // One of these, the value is all of it.
  return 'const' in schema || 'enum' in schema || !STRUCTURE.some(keyword => keyword in schema)
}

/** What a schema says of a member. */
function memberPlaces (one: Place, name: string): Place[] {
  const { properties = {}, patternProperties = {}, additionalProperties = false } = one.schema as Keywords
  const found = [
    ...(Object.hasOwn(properties, name) ? [within(one, 'properties', name)] : []),
    ...Object.keys(patternProperties).filter(pattern => new RegExp(pattern, 'u').test(name)).map(pattern => within(one, 'patternProperties', pattern))
  ]
  return found.length > 0 || additionalProperties === false ? found : [within(one, 'additionalProperties')]
}

/** What a schema says of an item. */
function itemPlaces (one: Place, index: number): Place[] {
  const { type, items, additionalItems } = one.schema as Keywords
  if (Array.isArray(items)) {
    if (index < items.length) return [within(one, 'items', index)]
    return additionalItems === undefined ? [ANYTHING] : [within(one, 'additionalItems')]
  }
  if (items !== undefined) return [within(one, 'items')]
  return [type].flat().includes('array') ? [ANYTHING] : []
}

const ANYTHING = place(true, '')
