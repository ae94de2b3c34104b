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
  /** The key of the item at this place, for a result that cannot be trusted to know it. */
  keyAt (index: number): Key | null
  /** Called for every result that does not fit the contract. */
  onInvalid (index: number, key: Key | null, why: string): void
}

/** Serializes results into the contract's envelope. It never throws, whatever the results are. */
export type SerializeResults = (results: readonly unknown[], envelope: string, context: SerializeContext) => SerializedResults

/** One result in JSON; or, where it does not fit, why. */
type SerializeOne = (result: unknown) => { json: string, failed: boolean } | { why: string }

const compiled = new WeakMap<AnyContract, SerializeResults>()

/** The serializer of a contract, compiled when first asked for; without a contract, one that takes any object. */
export function serializerOf (contract: AnyContract | undefined): SerializeResults {
  if (contract === undefined) return serializeAnything
  let serialize = compiled.get(contract)
  if (serialize === undefined) {
    serialize = createSerializer(contract, compileContract(contract))
    compiled.set(contract, serialize)
  }
  return serialize
}

function createSerializer (contract: AnyContract, serializeOne: SerializeOne): SerializeResults {
  const serializeFailure = compileStringify(contract.schemas.failure as unknown as JsonSchema)
  const isKey = compileCheck(contract.schemas.key)

  return (results, envelope, { keyAt, onInvalid }) => {
    let json = `{${JSON.stringify(envelope)}:[`
    let failed = 0
    for (let index = 0; index < results.length; index++) {
      if (index > 0) json += ','
      const one = trySerialize(serializeOne, results[index])
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

function trySerialize (serializeOne: SerializeOne, result: unknown): ReturnType<SerializeOne> {
  try {
    return serializeOne(result)
  } catch (error) {
    return { why: error instanceof Error ? error.message : 'it cannot be read' }
  }
}

interface Branch {
  readonly failed: boolean
  readonly members: string[]
  check (result: unknown): boolean
  serialize (result: unknown): string
}

function compileContract (contract: AnyContract): SerializeOne {
  const { successes, failure } = contract.schemas
  const branches = new Map<unknown, Branch>(successes.map((schema, index) =>
    [contract.successWords[index], compileBranch(schema, false)]))
  branches.set(contract.failureWord, compileBranch(failure, true))

  return result => {
    if (result === null || typeof result !== 'object') return { why: 'it is no object' }
    const { status, toJSON } = result as { status?: unknown, toJSON?: unknown }
    if (typeof toJSON === 'function') return { why: 'it has a toJSON of its own' }
    const branch = branches.get(status)
    if (branch === undefined) return { why: `its status is none of ${[...branches.keys()].join(', ')}` }
    if (branch.check(result)) return { json: branch.serialize(result), failed: branch.failed }
    return serializeAsJson(branch, result)
  }
}

/** Second chance for a result that fits once it is JSON, as with a Date where the contract says string. */
function serializeAsJson (branch: Branch, result: object): ReturnType<SerializeOne> {
  const declared = Object.fromEntries(branch.members.map(name => [name, (result as Record<string, unknown>)[name]]))
  const plain: unknown = JSON.parse(JSON.stringify(declared))
  if (!branch.check(plain)) return { why: 'its members do not fit the contract' }
  return { json: branch.serialize(plain), failed: branch.failed }
}

function compileBranch (schema: TSchema, failed: boolean): Branch {
  return {
    failed,
    members: Object.keys(schema.properties as object),
    check: compileCheck(schema),
    serialize: compileStringify(schema as unknown as JsonSchema)
  }
}

/** Types are checked, formats are not: they are annotations in OpenAPI 3.1, and checking them costs more than all else. */
function compileCheck (schema: TSchema): (value: unknown) => boolean {
  const compile = AjvCompiler()({}, {
    customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, validateFormats: false, strict: false }
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
})
