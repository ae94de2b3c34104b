// Compiles one branch of a contract: the check of results that JSON.stringify may write, and the slow way of the others.
import { AjvCompiler } from '@fastify/ajv-compiler'
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import { Kind, type TSchema } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { AnyContract } from '../../../schemas/index.js'
import { pointerTo } from '../items/validator.js'
import { closeSchema } from './closed-schema.js'

/** Results with one status. */
export interface Branch {
  readonly failed: boolean
  /** Tells whether JSON.stringify writes of this result what the contract declares, and nothing else. May throw. */
  fits (result: object): boolean
  /** What is left of a result for `Prefer: return=minimal`. */
  minimize (result: object): object
  /** Writes any other result, as Fastify's own serializer does, and holds it against the contract. May throw. */
  serializeSlowly (result: object, minimal: boolean): Serialized
}

/** One result in JSON; or, where it does not fit, why. */
export type Serialized = { json: string } | { why: string }

/** Schemas that others may refer to, as from `fastify.getSchemas()`. */
export type SharedSchemas = Record<string, unknown>

/** The branches of a contract, by status. */
export function compileBranches (contract: AnyContract, shared: SharedSchemas): Map<unknown, Branch> {
  const { key, successWords, failureWord, schemas: { successes, failure } } = contract
  const branches = new Map<unknown, Branch>(successes.map((schema, index) => [successWords[index], compileBranch(schema, key, false, shared)]))
  return branches.set(failureWord, compileBranch(failure, key, true, shared))
}

function compileBranch (schema: TSchema, key: string, failed: boolean, shared: SharedSchemas): Branch {
  const check = compileCheck(schema, shared)
  const minimize = (result: object) => failed ? result : pick(result, [key, 'status'])
  const slow = new SlowWay(schema, key, check, shared)
  return {
    failed,
    fits: compileFits(schema),
    minimize,
    serializeSlowly (result, minimal) {
      const written = slow.writeAsFastify(result) ?? slow.writePlain(result)
      if (!minimal || failed || !('json' in written)) return written
      return { json: slow.writerFor(result, true)(result) }
    }
  }
}

function compileFits (schema: TSchema): Branch['fits'] {
  const closed = closeSchema(schema)
  const check = TypeCompiler.Compile(closed)
  // Whatever can be an object or a function is looked into.
  const nested = Object.entries(closed.properties as Record<string, TSchema> | undefined ?? {})
    .filter(([, member]) => mayBeObject(member))
    .map(([name]) => name)
  return result => isPlain(result) && check.Check(result) &&
    (nested.length === 0 || nested.every(name => isPlainJson((result as Record<string, unknown>)[name])))
}

/** Whether a value that fits a closed schema can be an object, or one of the values that JSON cannot hold. */
function mayBeObject ({ [Kind]: kind, anyOf = [] }: TSchema): boolean {
  return kind === 'Union' ? (anyOf as TSchema[]).some(mayBeObject) : !['Null', 'Boolean', 'String', 'RegExp', 'Number', 'Integer', 'Literal', 'Never'].includes(kind)
}

/** The way of results that have undeclared members, a toJSON, accessors, dates or BigInts, or an intricate schema. */
class SlowWay {
  readonly #schema: TSchema
  readonly #key: string
  readonly #check: Check
  readonly #shared: SharedSchemas
  /** Compiled when they are needed, as most never are. */
  readonly #writers = new Map<string, Write>()

  constructor (schema: TSchema, key: string, check: Check, shared: SharedSchemas) {
    this.#schema = schema
    this.#key = key
    this.#check = check
    this.#shared = shared
  }

  /** What Fastify's serializer writes, where that fits the contract and says the same as the result. */
  writeAsFastify (result: object): Serialized | undefined {
    try {
      const json = this.writerFor(result, false)(result)
      const written: unknown = JSON.parse(json)
      if (this.#check(written) && saysTheSame(written, result)) return { json }
    } catch {
      // Then the other way makes sense of it, or says what is wrong.
    }
  }

  /** The same of what JSON.stringify makes of the result: it finds a toJSON everywhere, and leaves functions out. */
  writePlain (result: object): Serialized {
    // Without prototypes, whose methods Fastify's serializer would take for members.
    const plain = JSON.parse(JSON.stringify(result), (_, value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.setPrototypeOf(value, null) as unknown
      : value) as object
    if (!this.#check(plain)) return { why: `its members do not fit the contract: ${describe(this.#check.errors![0]!)}` }
    return this.writeAsFastify(plain) ?? { why: "Fastify's serializer cannot write what the contract says of it" }
  }

  /** Of a key that may be more than an integer, Fastify's serializer does not write a BigInt. */
  writerFor (result: object, minimal: boolean): Write {
    const isBig = typeof (result as Record<string, unknown>)[this.#key] === 'bigint'
    const name = `${minimal} ${isBig}`
    const known = this.#writers.get(name)
    if (known !== undefined) return known
    const { properties, required } = this.#schema as TSchema & { properties: Record<string, TSchema>, required: string[] }
    const members = isBig ? { ...properties, [this.#key]: { type: 'integer' } } : properties
    const both = [this.#key, 'status']
    const write = compileWriter({
      ...this.#schema,
      properties: minimal ? pick(members, both) : members,
      required: minimal ? both : required
    }, this.#shared)
    this.#writers.set(name, write)
    return write
  }
}

type Write = (value: unknown) => string

function compileWriter (schema: object, shared: SharedSchemas): Write {
  const compile = SerializerSelector()(mapValues(shared, withoutDefaults), { ajv: { validateFormats: false, strict: false } })
  return compile({ schema: withoutDefaults(schema), method: '', url: '', httpStatus: '' } as never) as Write
}

/** Keywords whose value is data, and keywords whose value has schemas by name. */
const DATA = ['const', 'enum', 'examples']
const BY_NAME = ['properties', 'patternProperties', 'definitions', '$defs', 'dependencies']

/**
 * A schema for Fastify's serializer. Without defaults, because it would send them for members that the result does not
 * have. Without `additionalItems` behind a tuple, because it would send undeclared members there; so it refuses such items.
 */
function withoutDefaults (schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDefaults)
  if (typeof schema !== 'object' || schema === null) return schema
  const isTuple = Array.isArray((schema as { items?: unknown }).items)
  const kept = Object.entries(schema).filter(([keyword]) => keyword !== 'default' && !(isTuple && keyword === 'additionalItems'))
  return Object.fromEntries(kept.map(([keyword, value]) => {
    if (DATA.includes(keyword)) return [keyword, value]
    return [keyword, BY_NAME.includes(keyword) ? mapValues(value as object, withoutDefaults) : withoutDefaults(value)]
  }))
}

function mapValues (object: object, map: (value: unknown) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, map(value)]))
}

/**
 * Tells whether JSON says the same as the value that Fastify's serializer has made it of, which would also make a text of
 * an Error and a number of a text.
 */
function saysTheSame (written: unknown, value: unknown): boolean {
  // In the format that the schema names.
  if (value instanceof Date) return typeof written === 'string'
  if (typeof value === 'bigint') return String(value) === written || Number(value) === written
  if (hasToJson(value)) return saysTheSame(written, value.toJSON())
  if (typeof written !== 'object') return written === value
  if (written === null) return value === null || (typeof value === 'number' && !Number.isFinite(value))
  if (typeof value !== 'object' || value === null || Array.isArray(written) !== Array.isArray(value)) return false
  return Object.keys(written).every(name => saysTheSame((written as Record<string, unknown>)[name], (value as Record<string, unknown>)[name]))
}

/** Whether a value says itself what it is in JSON. */
export function hasToJson (value: unknown): value is { toJSON (): unknown } {
  return typeof value === 'object' && value !== null && typeof (value as { toJSON?: unknown }).toJSON === 'function'
}

function pick (object: object, names: readonly string[]): object {
  return Object.fromEntries(names.map(name => [name, (object as Record<string, unknown>)[name]]))
}

function describe ({ instancePath, message }: CheckError): string {
  return `${pointerTo(instancePath, undefined)} ${message}`
}

interface CheckError { readonly instancePath: string, readonly message: string }

/** Tells whether a value fits a schema, and what did not. */
export interface Check {
  (value: unknown): boolean
  readonly errors?: readonly CheckError[] | null
}

/**
 * Makes a function that tells whether a value fits a schema. Types are checked, formats are not: they are annotations in
 * OpenAPI 3.1, and checking them costs more than all else.
 */
export function compileCheck (schema: object, shared: SharedSchemas): Check {
  const compile = AjvCompiler()(shared as Record<string, object>, {
    customOptions: {
      coerceTypes: false,
      removeAdditional: false,
      useDefaults: false,
      validateFormats: false,
      strict: false,
      strictNumbers: true,
      // So that a member called `constructor` is not there unless it is.
      ownProperties: true
    }
  })
  return compile({ schema } as never) as unknown as Check
}

/** Whether an object or array is in JSON what it has itself: it has no toJSON, and no members from a class. */
export function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === Array.prototype || prototype === null) && typeof (value as { toJSON?: unknown }).toJSON !== 'function'
}

/** The same at every depth, with nothing in it that JSON cannot hold. A loop, because JSON may be deeper than the stack. */
function isPlainJson (value: unknown): boolean {
  const left = [value]
  const seen = new Set<unknown>()
  while (left.length > 0) {
    const one = left.pop()
    if (['function', 'symbol', 'bigint'].includes(typeof one)) return false
    if (typeof one !== 'object' || one === null || seen.has(one)) continue
    if (!isPlain(one)) return false
    seen.add(one)
    for (const member of Object.values(one)) left.push(member)
  }
  return true
}
