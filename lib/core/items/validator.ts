// Compiles the schema of an item into a function that returns the problems of an item.
import { AjvCompiler } from '@fastify/ajv-compiler'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { ItemProblem } from '../../../schemas/index.js'
import { InvalidOption } from '../../errors.js'
import { besideBranches, definitionsOf, findTaggedUnion, hasIndependentBranches, type JsonSchema, type TaggedUnion } from './tagged-union.js'

/** Returns the problems of a value, or undefined if it is valid. */
export type Validate = (value: unknown) => ItemProblem[] | undefined

/** Compiles a schema, which may refer to the shared schemas of the app. */
export type Compile = (schema: object) => Validate

interface ValidationError {
  instancePath: string
  keyword: string
  message?: string
  params: Record<string, unknown>
  data?: unknown
}

interface CompiledSchema {
  (value: unknown): unknown
  $async?: boolean
  errors?: ValidationError[] | null
}

/**
 * Creates a compiler with the Ajv options of the app, except that items are never coerced and no member is removed.
 * Fastify's own compiler cannot be used, because it does both by default.
 * @param app its shared schemas, keywords and formats can be used in schemas
 * @param options of Ajv, to compile schemas that are not strictly valid
 */
export function createCompiler (app?: FastifyInstance, options: { strict?: false, logger?: false } = {}): Compile {
  const { customOptions, plugins, onCreate } = ajvOptionsOf(app)
  const compileWith = (pool: Pool) => pool((app?.getSchemas() ?? {}) as Record<string, object>, {
    ...(plugins !== undefined && { plugins }),
    ...(onCreate !== undefined && { onCreate }),
    customOptions: {
      useDefaults: true,
      allErrors: false,
      ...customOptions,
      coerceTypes: false,
      removeAdditional: false,
      verbose: true,
      ...options,
      // So that a recursive schema with an `$id` can refer to itself.
      addUsedSchema: true
    }
  })
  const pool = poolOf(app)
  const compileOne = (schema: object): Validate => {
    const compile = compileWith(hasName(schema) ? AjvCompiler() : pool)
    const check = compile({ schema } as never) as unknown as CompiledSchema
    // An asynchronous check returns a promise, which would count as valid.
    if (check.$async === true) throw new InvalidOption('the schema of an item', 'one that is checked at once', 'one with "$async": true')
    return value => isValid(check, value) ? undefined : check.errors?.map(toProblem) ?? [TOO_DEEP]
  }
  return schema => {
    const union = hasIndependentBranches(schema as JsonSchema) ? findTaggedUnion(schema as JsonSchema) : undefined
    if (union === undefined) return compileOne(schema)
    const definitions = definitionsOf(schema as JsonSchema)
    const validateBranch = compileUnion(union, branch => compileOne({ ...definitions, ...branch }))
    const beside = besideBranches(schema as JsonSchema)
    if (beside === undefined) return validateBranch
    const validateBeside = compileOne(beside)
    return value => validateBranch(value) ?? validateBeside(value)
  }
}

/** The problem of a value that is nested so deeply that the check of a recursive schema overflows the stack. */
const TOO_DEEP: ItemProblem = { pointer: '#', detail: 'must not be so deep' }

function isValid (check: CompiledSchema, value: unknown): unknown {
  try {
    return check(value)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    check.errors = null
    return false
  }
}

/** Creates a compiler to check the examples in the documentation. Without documentation, it accepts everything. */
export function createExampleCompiler (app?: FastifyInstance): Compile {
  if (app !== undefined && !app.hasDecorator('swagger')) return () => () => undefined
  return createCompiler(app, { strict: false, logger: false })
}

/** Returns the same compiler for the same shared schemas and options. */
type Pool = ReturnType<typeof AjvCompiler>

/** The pool of each server. All contexts of an app have the same server, and the same Ajv keywords and formats. */
const pools = new WeakMap<object, Pool>()

/** Returns the pool of an app. Creating an Ajv takes longer than compiling a schema with it. */
function poolOf (app: FastifyInstance | undefined): Pool {
  if (app === undefined) return AjvCompiler()
  const pool = pools.get(app.server) ?? AjvCompiler()
  pools.set(app.server, pool)
  return pool
}

/** Whether a schema contains an `$id`. An Ajv knows one schema per `$id`, but two routes may use it for different ones. */
function hasName (schema: object): boolean {
  return JSON.stringify(schema).includes('"$id"')
}

/** The `ajv` option of the app. Fastify offers no public way to read it, so this finds it under Fastify's own symbol. */
function ajvOptionsOf (app: FastifyInstance | undefined): NonNullable<FastifyServerOptions['ajv']> {
  for (let one: object | null = app ?? null; one !== null; one = Object.getPrototypeOf(one)) {
    const name = Object.getOwnPropertySymbols(one).find(({ description }) => description === 'fastify.options')
    if (name !== undefined) return (one as Record<symbol, FastifyServerOptions>)[name]!.ajv!
  }
  return {}
}

/** Checks only the branch that the tag selects, so that the problems are about the branch that the client meant. */
function compileUnion ({ tag, branches }: TaggedUnion, compileOne: (branch: JsonSchema) => Validate): Validate {
  const validators = new Map([...branches].map(([constant, branch]) => [constant, compileOne(branch)]))
  const expected = `must be ${listOf([...branches.keys()])}`
  return value => {
    if (typeOf(value) !== 'object') return [{ pointer: '#', detail: `must be object; received ${typeOf(value)}` }]
    const validate = validators.get((value as Record<string, string>)[tag]!)
    return validate === undefined ? [{ pointer: pointerTo('', tag), detail: expected }] : validate(value)
  }
}

function toProblem ({ instancePath, keyword, message = 'must be valid', params, data }: ValidationError): ItemProblem {
  const member = params.missingProperty ?? params.additionalProperty
  return { pointer: pointerTo(instancePath, member), detail: describe(keyword, message, params, data) }
}

function describe (keyword: string, message: string, params: Record<string, unknown>, data: unknown): string {
  if (keyword === 'type') return `${message}; received ${typeOf(data)}`
  if (keyword === 'enum') return `must be ${listOf(params.allowedValues as unknown[])}`
  if (keyword === 'const') return `must be ${JSON.stringify(params.allowedValue)}`
  return message
}

/** Pointers that need no escaping in a URI fragment. */
const UNESCAPED = /^[\w/~.-]*$/

/**
 * Formats a JSON Pointer as URI fragment (RFC 6901 section 6).
 * @param path a pointer, for example from Ajv
 * @param member the name of a member to append, if it is a string
 */
export function pointerTo (path: string, member: unknown): string {
  const last = typeof member === 'string' ? `/${member.replaceAll('~', '~0').replaceAll('/', '~1')}` : ''
  const pointer = path + last
  if (UNESCAPED.test(pointer)) return `#${pointer}`
  return '#' + encodeURI(pointer.toWellFormed()).replaceAll('#', '%23').replaceAll('?', '%3F')
}

function listOf (values: unknown[]): string {
  if (values.length === 1) return JSON.stringify(values[0])
  return `one of ${values.map(value => JSON.stringify(value)).join(', ')}`
}

/** The JSON type of a value. */
export function typeOf (value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}
