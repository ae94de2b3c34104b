// One branch of a contract: results with one status, and what becomes of them.
import { AjvCompiler } from '@fastify/ajv-compiler'
import type { TSchema } from '@sinclair/typebox'
import type { AnyContract } from '../../../schemas/index.js'
import { compileDeclared, type SharedSchemas } from './declared.js'
import { pointerTo } from '../items/validator.js'
import { shapeOf } from './shape.js'
import type { SheetBranch } from './sheet-fill.js'

/** Results with one status. */
export interface Branch extends SheetBranch {
  /** @throws when the result cannot be read */
  serialize (result: object, minimal: boolean): Serialized
}

/** One result in JSON; or, where it does not fit, why. */
export type Serialized = { json: string } | { why: string }

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
  const check = compileCheck(schema, shared)
  const keepDeclared = compileDeclared(schema, shared, createChecker)
  return {
    failed,
    shape: shapeOf(schema),
    minimalShape: shapeOf(minimal),
    /** Held against the contract as what the client gets, as a Date or a function becomes something else on the way. */
    serialize (result, isMinimal) {
      const plain: unknown = JSON.parse(JSON.stringify(pick(schema, result)))
      if (!check(plain)) return { why: `its members do not fit the contract: ${describe(check.errors![0]!)}` }
      const declared = keepDeclared(plain) as object
      return { json: JSON.stringify(isMinimal ? pick(minimal, declared) : declared) }
    }
  }
}

/** The members that a schema names, also those that a class gives to its instances, but not those that every object has. */
function pick ({ properties }: TSchema, object: object): object {
  const has = (name: string) => Object.hasOwn(object, name) || !(name in Object.prototype)
  return Object.fromEntries(Object.keys(properties as object).filter(has).map(name => [name, (object as Record<string, unknown>)[name]]))
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

/** Makes a function that tells whether a value fits a schema. */
export function compileCheck (schema: object, shared: SharedSchemas): Check {
  return createChecker(shared)(schema)
}

/** Types are checked, formats are not: they are annotations in OpenAPI 3.1, and checking them costs more than all else. */
function createChecker (shared: SharedSchemas): (schema: object) => Check {
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
  return schema => compile({ schema } as never) as unknown as Check
}
