// Results -> JSON, one branch of the contract per status. A result that does not fit becomes a failure; the rest survive.
import { AjvCompiler } from '@fastify/ajv-compiler'
import { build as compileStringify, type Schema as JsonSchema } from 'fast-json-stringify'
import type { TSchema } from '@sinclair/typebox'
import { generic, type AnyContract, type Key } from '../../schemas/index.js'
import { invalidResult, toFailure } from '../errors.js'

/** The body of a multi-status answer, and what its results amount to. */
export interface SerializedResults {
  readonly json: string
  readonly succeeded: number
  readonly failed: number
}

/** What the serializer needs to know about the results beside themselves. */
export interface SerializeContext {
  /** Whether a success is to have only its key and status, although it must be right as a whole. */
  readonly minimal?: boolean
  /** The key of the item at this place, for a result that cannot be trusted to know it. */
  keyAt (index: number): Key | null
  /** Called for every result that does not fit the contract. */
  onInvalid (index: number, key: Key | null, why: string): void
}

/** Serializes results into the contract's envelope. It never throws, whatever the results are. */
export type SerializeResults = (results: readonly unknown[], envelope: string, context: SerializeContext) => SerializedResults

/** One result in JSON; or, where it does not fit, why. */
type SerializeOne = (result: unknown, minimal: boolean) => { json: string, failed: boolean } | { why: string }

const compiled = new WeakMap<AnyContract, SerializeResults>()

const plain = new WeakSet<object>()

/**
 * Says of a result that it is plain JSON to the bottom, as what JSON.parse gives, which need not be found out again.
 * @returns the result
 */
export function markPlain<T extends object> (result: T): T {
  plain.add(result)
  return result
}

/** Schemas that others may refer to, as from `fastify.getSchemas()`. */
type SharedSchemas = Record<string, unknown>

/**
 * The serializer of a contract, compiled when first asked for; without a contract, one that takes any object.
 * @param getSchemas gives the schemas that the contract may refer to
 */
export function serializerOf (contract: AnyContract | undefined, getSchemas: () => SharedSchemas): SerializeResults {
  if (contract === undefined) return serializeAnything
  let serialize = compiled.get(contract)
  if (serialize === undefined) {
    // Whose schemas refer to nothing is not to suffer from what else the app has.
    const shared = JSON.stringify(contract.schemas.body).includes('"$ref":') ? getSchemas() : {}
    serialize = createSerializer(contract, compileContract(contract, shared), shared)
    compiled.set(contract, serialize)
  }
  return serialize
}

function createSerializer (contract: AnyContract, serializeOne: SerializeOne, shared: SharedSchemas): SerializeResults {
  const serializeFailure = compileJson(contract.schemas.failure, shared)
  const isKey = compileCheck(contract.schemas.key, shared)

  return (results, envelope, { minimal = false, keyAt, onInvalid }) => {
    let json = `{${JSON.stringify(envelope)}:[`
    let failed = 0
    for (let index = 0; index < results.length; index++) {
      if (index > 0) json += ','
      const one = trySerialize(serializeOne, results[index], minimal)
      if ('why' in one) {
        const key = keyIn(results[index], contract.key, isKey) ?? keyAt(index)
        onInvalid(index, key, one.why)
        json += serializeFailure(contract.fail(key, toFailure(invalidResult())))
        failed++
      } else {
        json += one.json
        if (one.failed) failed++
      }
    }
    return { json: json + ']}', succeeded: results.length - failed, failed }
  }
}

function trySerialize (serializeOne: SerializeOne, result: unknown, minimal: boolean): ReturnType<SerializeOne> {
  try {
    return serializeOne(result, minimal)
  } catch (error) {
    return { why: `it cannot be read: ${messageOf(error)}` }
  }
}

/** A getter can throw anything, also what cannot be looked at. */
function messageOf (error: unknown): string {
  try {
    return String((error as Error).message)
  } catch {
    return typeof error
  }
}

interface Branch {
  readonly failed: boolean
  readonly members: string[]
  /** The members of which the schema leaves open what they are. */
  readonly open: string[]
  check (result: unknown): boolean
  serialize (result: unknown): string
  /** Serializes no more than what `Prefer: return=minimal` asks for. */
  serializeMinimal (result: unknown): string
}

function compileContract (contract: AnyContract, shared: SharedSchemas): SerializeOne {
  const { successes, failure } = contract.schemas
  const branches = new Map<unknown, Branch>(successes.map((schema, index) =>
    [contract.successWords[index], compileSuccess(schema, contract.key, shared)]))
  branches.set(contract.failureWord, compileFailure(failure, shared))

  return (result, minimal) => {
    if (result === null || typeof result !== 'object') return { why: 'it is no object' }
    const { status, toJSON } = result as { status?: unknown, toJSON?: unknown }
    if (typeof toJSON === 'function') return { why: 'it has a toJSON of its own' }
    const branch = branches.get(status)
    if (branch === undefined) return { why: `its status is none of ${[...branches.keys()].join(', ')}` }
    const isPlain = plain.has(result) || branch.open.every(name => isPrimitive((result as Record<string, unknown>)[name]))
    if (isPlain && branch.check(result)) return write(branch, result, minimal)
    return serializeAsJson(branch, result, minimal)
  }
}

function write (branch: Branch, result: unknown, minimal: boolean): ReturnType<SerializeOne> {
  return { json: minimal ? branch.serializeMinimal(result) : branch.serialize(result), failed: branch.failed }
}

/**
 * For a result that fits once it is JSON, as with a Date where the contract says string; and for one that the contract
 * leaves open, in which there can be what is no JSON at all, as a function.
 */
function serializeAsJson (branch: Branch, result: object, minimal: boolean): ReturnType<SerializeOne> {
  const declared = Object.fromEntries(branch.members.map(name => [name, (result as Record<string, unknown>)[name]]))
  const plain: unknown = JSON.parse(JSON.stringify(declared))
  if (!branch.check(plain)) return { why: 'its members do not fit the contract' }
  return write(branch, plain, minimal)
}

function isPrimitive (value: unknown): boolean {
  return value === null || !['object', 'function', 'symbol'].includes(typeof value)
}

function compileSuccess (schema: TSchema, key: string, shared: SharedSchemas): Branch {
  const { [key]: keySchema, status } = schema.properties as Record<string, TSchema>
  const minimal = { type: 'object', properties: { [key]: keySchema, status }, required: [key, 'status'] }
  return { ...compileBranch(schema, shared), failed: false, serializeMinimal: compileJson(minimal, shared) }
}

function compileFailure (schema: TSchema, shared: SharedSchemas): Branch {
  const branch = compileBranch(schema, shared)
  return { ...branch, failed: true, serializeMinimal: branch.serialize }
}

function compileBranch (schema: TSchema, shared: SharedSchemas) {
  const members = schema.properties as Record<string, SchemaLike>
  return {
    members: Object.keys(members),
    open: Object.keys(members).filter(name => isOpen(members[name]!)),
    check: compileCheck(schema, shared),
    serialize: compileJson(schema, shared)
  }
}

function compileJson (schema: object, shared: SharedSchemas): (value: unknown) => string {
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
function compileCheck (schema: TSchema, shared: SharedSchemas): (value: unknown) => boolean {
  const compile = AjvCompiler()(shared as Record<string, object>, {
    customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, validateFormats: false, strict: false, strictNumbers: true }
  })
  return compile({ schema } as never) as unknown as (value: unknown) => boolean
}

function keyIn (result: unknown, name: string, isKey: (value: unknown) => boolean): Key | null {
  try {
    const key = (result as Record<string, unknown>)[name]
    return (typeof key === 'string' || typeof key === 'number') && isKey(key) ? key : null
  } catch {
    return null
  }
}

const FAILURE_WORDS = new Set<unknown>(['error', 'failed'])

/** Without a contract: what JSON.stringify makes of it, as long as that is an object. */
const serializeAnything = createSerializer(generic, result => {
  const json = JSON.stringify(result) as string | undefined
  if (json === undefined || json[0] !== '{') return { why: 'it is no object' }
  const { status } = result as { status?: unknown }
  return { json, failed: FAILURE_WORDS.has(status) || (typeof status === 'number' && status >= 400) }
}, {})
