// Compiles the schema of an item into a function that says what is wrong with one item.
import { AjvCompiler } from '@fastify/ajv-compiler'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { ItemProblem } from '../../../schemas/index.js'
import { InvalidOption } from '../../errors.js'
import { besideBranches, definitionsOf, findTaggedUnion, standAlone, type JsonSchema, type TaggedUnion } from './tagged-union.js'

/** Says what is wrong with a value: undefined when nothing is. */
export type Validate = (value: unknown) => ItemProblem[] | undefined

/** Compiles schemas that may refer to each other. */
export type Compile = (schema: object) => Validate

interface ValidationError {
  instancePath: string
  keyword: string
  message?: string
  params: Record<string, unknown>
  data?: unknown
}

interface CompiledSchema {
  (value: unknown, at: object): unknown
  $async?: boolean
  errors?: ValidationError[] | null
}

/**
 * Makes a compiler. Nothing is coerced and nothing removed: an item is what was sent, or it is invalid.
 * @param app whose shared schemas `$ref` can refer to, and whose keywords and formats schemas can use
 * @param options Ajv's own, for schemas that are not to be judged
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
      // So that a schema with an `$id` finds itself, as a recursive one has to.
      addUsedSchema: true
    }
  })
  const pool = poolOf(app)
  const compileOne = (schema: object): Validate => {
    const compile = compileWith(hasName(schema) ? AjvCompiler() : pool)
    const check = compile({ schema } as never) as unknown as CompiledSchema
    // Its answer would come too late, and count as a yes.
    if (check.$async === true) throw new InvalidOption('the schema of an item', 'one that is checked at once', 'one with "$async": true')
    return value => fits(check, value) ? undefined : check.errors?.map(toProblem) ?? [TOO_DEEP]
  }
  return schema => {
    const union = standAlone(schema as JsonSchema) ? findTaggedUnion(schema as JsonSchema) : undefined
    if (union === undefined) return compileOne(schema)
    const definitions = definitionsOf(schema as JsonSchema)
    const validateBranch = compileUnion(union, branch => compileOne({ ...definitions, ...branch }))
    const beside = besideBranches(schema as JsonSchema)
    if (beside === undefined) return validateBranch
    const validateBeside = compileOne(beside)
    return value => validateBranch(value) ?? validateBeside(value)
  }
}

/** Of a value that a schema which refers to itself cannot be held against, because no stack is so deep. */
const TOO_DEEP: ItemProblem = { pointer: '#', detail: 'must not be so deep' }

/** Where a value is: nowhere else. Ajv would make one for every value. */
const ROOT = Object.freeze({})

function fits (check: CompiledSchema, value: unknown): unknown {
  try {
    return check(value, ROOT)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    check.errors = null
    return false
  }
}

/** Makes a compiler for what documentation shows; where there is none, what it would show is right. */
export function createExampleCompiler (app?: FastifyInstance): Compile {
  if (app !== undefined && !app.hasDecorator('swagger')) return () => () => undefined
  return createCompiler(app, { strict: false, logger: false })
}

/** Gives compilers, the same for the same shared schemas and options. */
type Pool = ReturnType<typeof AjvCompiler>

/** By server, which every context of an app has in common, as it has the keywords and formats of Ajv. */
const pools = new WeakMap<object, Pool>()

/** The pool of an app, because to make an Ajv takes longer than to compile a schema with it. */
function poolOf (app: FastifyInstance | undefined): Pool {
  if (app === undefined) return AjvCompiler()
  const pool = pools.get(app.server) ?? AjvCompiler()
  pools.set(app.server, pool)
  return pool
}

/** Whether there is an `$id` in it, of which an Ajv knows only one schema: two routes may have different ones. */
function hasName (schema: object): boolean {
  return JSON.stringify(schema).includes('"$id"')
}

/** Fastify's `ajv` option of an app, which Fastify itself keeps under a symbol and shows to nobody. */
function ajvOptionsOf (app: FastifyInstance | undefined): NonNullable<FastifyServerOptions['ajv']> {
  for (let one: object | null = app ?? null; one !== null; one = Object.getPrototypeOf(one)) {
    const name = Object.getOwnPropertySymbols(one).find(({ description }) => description === 'fastify.options')
    if (name !== undefined) return (one as Record<symbol, FastifyServerOptions>)[name]!.ajv!
  }
  return {}
}

/** Checks only the branch that the tag names, so that the errors are about what was meant. */
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

/** What stands for itself in a URI fragment, as most names do. */
const PLAIN = /^[\w/~.-]*$/

/** RFC 6901 section 6: a JSON Pointer as URI fragment. Ajv's path is escaped as a pointer already, a member is not. */
export function pointerTo (path: string, member: unknown): string {
  const last = typeof member === 'string' ? `/${member.replaceAll('~', '~0').replaceAll('/', '~1')}` : ''
  const pointer = path + last
  if (PLAIN.test(pointer)) return `#${pointer}`
  return '#' + encodeURI(pointer.toWellFormed()).replaceAll('#', '%23').replaceAll('?', '%3F')
}

function listOf (values: unknown[]): string {
  if (values.length === 1) return JSON.stringify(values[0])
  return `one of ${values.map(value => JSON.stringify(value)).join(', ')}`
}

/** What JSON calls the type of a value. */
export function typeOf (value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}
