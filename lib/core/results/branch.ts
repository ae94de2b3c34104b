// Serializes the results of one branch of a contract: those with one status.
import { AjvCompiler } from '@fastify/ajv-compiler'
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { TSchema } from '@sinclair/typebox'
import type { AnyContract } from '../../../schemas/index.js'
import { pointerTo } from '../items/validator.js'
import { closeSchema, isJsonValue, JSON_VALUE } from './closed-schema.js'

/** Schemas that others may refer to, as from `fastify.getSchemas()`. */
export type SharedSchemas = Record<string, unknown>

/** Results with one status. */
export interface Branch {
  readonly failed: boolean
  /** Whether JSON.stringify sends exactly what the schema declares. May throw, as an accessor can. */
  isClosed (result: object): boolean
  /** Only the key and the status, for `Prefer: return=minimal`. */
  minimize (result: object): object
  /** Serializes any result of the branch with Fastify's own serializer. @throws when the result cannot be read */
  serialize (result: object, minimal: boolean): Serialized
}

/** A result in JSON, or the reason why it does not fit the contract. */
export type Serialized = { json: string } | { why: string }

/** Compiles the branches of a contract, by status. */
export function compileBranches (contract: AnyContract, shared: SharedSchemas): Map<unknown, Branch> {
  const { successes, failure } = contract.schemas
  const branches = new Map<unknown, Branch>(successes.map((schema, index) =>
    [contract.successWords[index], compileBranch(schema, [contract.key, 'status'], false, shared)]))
  return branches.set(contract.failureWord, compileBranch(failure, Object.keys(failure.properties as object), true, shared))
}

/** @param minimal the members that `Prefer: return=minimal` keeps */
function compileBranch (schema: TSchema, minimal: readonly string[], failed: boolean, shared: SharedSchemas): Branch {
  const closed = closeSchema(schema)
  const isClosed = closed === undefined ? () => false : compileCheck(closed, shared)
  const check = compileCheck(schema, shared)
  const stringify = lazily(() => compileStringify(schema, shared))
  const stringifyMinimal = lazily(() => compileStringify({ ...schema, properties: pick(schema.properties as object, minimal), required: minimal }, shared))
  const minimize = (result: object) => failed ? result : pick(result, minimal)

  /** What Fastify sends for this schema, if that says the same as the result. */
  function serializeAsFastify (result: object, isMinimal: boolean): Serialized {
    const json = stringify()(result)
    const sent: unknown = JSON.parse(json)
    if (!check(sent)) return misfit(describe(check.errors![0]!))
    const changed = findChanged(result, sent, '#')
    if (changed !== undefined) return misfit(`${changed} cannot be sent as it is`)
    // Not what was parsed, because the digits of a BigInt are lost there.
    return { json: isMinimal && !failed ? stringifyMinimal()(result) : json }
  }

  /** What JSON.stringify sends, if all of it is declared. */
  function serializeAsJson (result: object, isMinimal: boolean): Serialized {
    const sent = JSON.parse(JSON.stringify(result)) as object
    if (!check(sent)) return misfit(describe(check.errors![0]!))
    if (!isClosed(sent)) return misfit('it has members that are not declared, and cannot be sent without them')
    return { json: JSON.stringify(isMinimal ? minimize(sent) : sent) }
  }

  return {
    failed,
    isClosed,
    minimize,
    serialize (result, isMinimal) {
      const first = unlessThrown(() => serializeAsFastify(result, isMinimal))
      return first !== undefined && 'json' in first ? first : serializeAsJson(result, isMinimal)
    }
  }
}

function misfit (detail: string): Serialized {
  return { why: `its members do not fit the contract: ${detail}` }
}

/** Fastify's serializer throws for values that it cannot write. */
function unlessThrown<T> (run: () => T): T | undefined {
  try {
    return run()
  } catch {
    return undefined
  }
}

/** Most contracts never need the slow way. */
function lazily<T> (make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}

/**
 * Fastify's serializer converts what JSON cannot hold, as a Date or a BigInt. It also coerces: it sends null as 0, an
 * Error as its message, and a default for a missing member. Such a result does not fit.
 * @returns the pointer of the first member that is sent as another value, undefined if there is none
 */
function findChanged (value: unknown, sent: unknown, pointer: string): string | undefined {
  if (typeof value === 'bigint') return undefined
  if (value instanceof Date) return typeof sent === 'string' ? undefined : pointer
  const own = hasToJSON(value) ? value.toJSON() : value
  if (own === null || typeof own !== 'object') return own === sent || own !== value ? undefined : pointer
  if (typeof sent !== 'object' || sent === null) return pointer
  for (const [name, member] of Object.entries(sent)) {
    const changed = findChanged((own as Record<string, unknown>)[name], member, `${pointer}/${name}`)
    if (changed !== undefined) return changed
  }
  return undefined
}

function hasToJSON (value: unknown): value is { toJSON (): unknown } {
  return typeof value === 'object' && value !== null && typeof (value as { toJSON?: unknown }).toJSON === 'function'
}

function pick (result: object, names: readonly string[]): object {
  return Object.fromEntries(names.map(name => [name, (result as Record<string, unknown>)[name]]))
}

function describe ({ instancePath, message }: CheckError): string {
  return `${pointerTo(instancePath, undefined)} ${message}`
}

interface CheckError { readonly instancePath: string, readonly message: string }

/** Tells whether a value fits a schema, and what does not. */
export interface Check {
  (value: unknown): boolean
  readonly errors?: readonly CheckError[] | null
}

/** Compiles a check of values. Formats are not checked: they are annotations in OpenAPI 3.1 and cost more than all else. */
export function compileCheck (schema: object, shared: SharedSchemas): Check {
  const compile = AjvCompiler()(shared as Record<string, object>, {
    customOptions: {
      coerceTypes: false,
      removeAdditional: false,
      useDefaults: false,
      validateFormats: false,
      strict: false,
      strictNumbers: true,
      // Otherwise each object has a member called `constructor`.
      ownProperties: true,
      keywords: [{ keyword: JSON_VALUE, schemaType: 'boolean', errors: false, validate: (_: unknown, value: unknown) => isJsonValue(value) }]
    }
  })
  return compile({ schema } as never) as unknown as Check
}

function compileStringify (schema: object, shared: SharedSchemas): (value: unknown) => string {
  return SerializerSelector()(shared, {})({ schema } as never) as (value: unknown) => string
}
