// One branch of a contract: results with one status, and what becomes of them.
import { AjvCompiler } from '@fastify/ajv-compiler'
import { build as compileStringify, type Schema as JsonSchema } from 'fast-json-stringify'
import type { TSchema } from '@sinclair/typebox'
import type { AnyContract } from '../../schemas/index.js'
import { shapeOf } from './shape.js'
import type { SheetBranch } from './sheet-fill.js'

/** Schemas that others may refer to, as from `fastify.getSchemas()`. */
export type SharedSchemas = Record<string, unknown>

/** Results with one status. */
export interface Branch extends SheetBranch {
  /** @throws when the result cannot be read */
  serialize (result: object, minimal: boolean): Serialized
}

/** One result in JSON; or, where it does not fit, why. */
export type Serialized = { json: string } | { why: string }

interface Compiled {
  readonly members: string[]
  /** The members of which the schema leaves open what they are. */
  readonly open: string[]
  check (result: unknown): boolean
  write (result: unknown): string
  writeMinimal (result: unknown): string
}

/** The branches of a contract, by status. */
export function compileBranches (contract: AnyContract, shared: SharedSchemas): Map<unknown, Branch> {
  const { successes, failure } = contract.schemas
  const branches = new Map<unknown, Branch>(successes.map((schema, index) =>
    [contract.successWords[index], compileBranch(schema, keyAndStatus(schema, contract.key), false, shared)]))
  return branches.set(contract.failureWord, compileBranch(failure, failure, true, shared))
}

function keyAndStatus (schema: TSchema, key: string): TSchema {
  const { [key]: keySchema, status } = schema.properties as Record<string, TSchema>
  return { type: 'object', properties: { [key]: keySchema, status }, required: [key, 'status'] } as unknown as TSchema
}

function compileBranch (schema: TSchema, minimal: TSchema, failed: boolean, shared: SharedSchemas): Branch {
  const members = schema.properties as Record<string, SchemaLike>
  const compiled: Compiled = {
    members: Object.keys(members),
    open: Object.keys(members).filter(name => isOpen(members[name]!)),
    check: compileCheck(schema, shared),
    write: compileJson(schema, shared),
    writeMinimal: compileJson(minimal, shared)
  }
  return {
    failed,
    shape: shapeOf(schema),
    minimalShape: shapeOf(minimal),
    serialize (result, minimal) {
      const isPlain = compiled.open.every(name => isPrimitive((result as Record<string, unknown>)[name]))
      if (isPlain && compiled.check(result)) return write(compiled, result, minimal)
      return serializeAsJson(compiled, result, minimal)
    }
  }
}

function write (compiled: Compiled, result: unknown, minimal: boolean): Serialized {
  return { json: minimal ? compiled.writeMinimal(result) : compiled.write(result) }
}

/**
 * For a result that fits once it is JSON, as with a Date where the contract says string; and for one that the contract
 * leaves open, in which there can be what is no JSON at all, as a function.
 */
function serializeAsJson (compiled: Compiled, result: object, minimal: boolean): Serialized {
  const declared = Object.fromEntries(compiled.members.map(name => [name, (result as Record<string, unknown>)[name]]))
  const plain: unknown = JSON.parse(JSON.stringify(declared))
  if (!compiled.check(plain)) return { why: 'its members do not fit the contract' }
  return write(compiled, plain, minimal)
}

function isPrimitive (value: unknown): boolean {
  return value === null || !['object', 'function', 'symbol', 'bigint'].includes(typeof value)
}

/** Makes a function that serializes what fits the schema. */
export function compileJson (schema: object, shared: SharedSchemas): (value: unknown) => string {
  return compileStringify(schema as JsonSchema, { schema: shared as Record<string, JsonSchema>, ajv: { validateFormats: false } })
}

/** As much of a schema as is looked at here. */
type SchemaLike = boolean | {
  type?: unknown
  const?: unknown
  items?: SchemaLike | SchemaLike[]
  anyOf?: SchemaLike[]
  properties?: Record<string, SchemaLike>
  additionalProperties?: SchemaLike
  patternProperties?: Record<string, SchemaLike>
}

const CLOSED = new Set<unknown>(['string', 'number', 'integer', 'boolean', 'null'])

/** Whether a schema takes values of which nothing is known. What cannot be told, as of a `$ref`, counts as open. */
function isOpen (schema: SchemaLike): boolean {
  if (typeof schema === 'boolean') return schema
  const { type, items, anyOf, properties = {}, additionalProperties = false, patternProperties = {} } = schema
  if (CLOSED.has(type)) return false
  if (type === 'array') return [items ?? true].flat().some(isOpen)
  if (type === 'object') return [additionalProperties, ...Object.values({ ...properties, ...patternProperties })].some(isOpen)
  return anyOf === undefined ? schema.const === undefined : anyOf.some(isOpen)
}

/** Types are checked, formats are not: they are annotations in OpenAPI 3.1, and checking them costs more than all else. */
export function compileCheck (schema: TSchema, shared: SharedSchemas): (value: unknown) => boolean {
  const compile = AjvCompiler()(shared as Record<string, object>, {
    customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, validateFormats: false, strict: false, strictNumbers: true }
  })
  return compile({ schema } as never) as unknown as (value: unknown) => boolean
}
