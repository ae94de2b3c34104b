// Reads options by their schemas, which hold the type, the limits, the default and the text of the reference.
import { inspect } from 'node:util'
import {
  Kind, OptionalKind, Type, TypeRegistry, type TInteger, type TLiteral, type TObject, type TOptional, type TProperties, type TSchema, type TUnion, type TUnsafe, type Static
} from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import bytes from 'bytes'
import { InvalidOption } from '../errors.js'

/** What an option says of itself beside its type. */
interface About {
  /** What holds where nothing is given. */
  readonly default?: unknown
  /** The default in words, for the reference, where the value says too little. */
  readonly defaultText?: string
  /** The row of the option in the reference. */
  readonly description?: string
  /** What a wrong value should have been, where the type does not say it. */
  readonly expected?: string
}

/** The schema of an option that may be left out. */
export type Option<T extends TSchema, A> = TOptional<T> & A

/** Makes an option that may be left out. */
export function optional<T extends TSchema, A extends About> (schema: T, about: A): Option<T, A> {
  return Object.assign(Type.Optional(schema) as TOptional<T>, about)
}

/** Options in an object, as far as their types matter. */
interface Group { properties: TProperties }

/** The options of a schema with every default in place. */
export type Settings<S extends Group> = { readonly [K in keyof S['properties']]: Setting<S['properties'][K]> }

type Setting<T extends TSchema> = T extends { group: infer O extends Group }
  ? Settings<O> | false
  : T extends Group ? Settings<T> : T extends { default: unknown } ? Static<T> : T extends { [OptionalKind]: 'Optional' } ? Static<T> | undefined : Static<T>

// Types of options.

/** Node fires a longer timer at once. */
const MAX_INTEGER = 2 ** 31 - 1

/** An integer from `minimum` to the longest time that a timer takes. */
export const integer = (minimum: number): TInteger => Type.Integer({ minimum, maximum: MAX_INTEGER })

/** Options, or false for none. */
export const orFalse = <T extends TObject>(group: T): TUnion<[T, TLiteral<false>]> & { group: T } =>
  Object.assign(Type.Union([group, Type.Literal(false)], { expected: 'an object of options, or false' }), { group })

/** The kind of schemas that judge by a function; TypeBox asks for it by this name. */
const CUSTOM = 'fastify-multi-status.custom'
TypeRegistry.Set<{ accepts: (value: unknown) => boolean }>(CUSTOM, ({ accepts }, value) => accepts(value))

/** A type of its own: what is expected, and whether a value is that. */
export const custom = <T>(expected: string, accepts: (value: unknown) => boolean): TUnsafe<T> =>
  Type.Unsafe<T>({ [Kind]: CUSTOM, expected, accepts })

/** A function. */
export const functionOf = <T>(expected = 'a function'): TUnsafe<T> => custom<T>(expected, value => typeof value === 'function')

/** An object with a method, as a storage, an engine or a store is. */
export const withMethod = <T>(method: string, expected: string): TUnsafe<T> =>
  custom<T>(expected, value => typeof Object(value)[method] === 'function')

/** An object, of which nothing more is known here. */
export const objectOf = <T>(expected: string): TUnsafe<T> => custom<T>(expected, isObject)

/** The path of a route. */
export const path = custom<string>('a path as "/bulk"', value => typeof value === 'string' && value.startsWith('/'))

/** Bytes, as a number or as text. */
export const size = custom<number | string>('a number of bytes or text as "10mb"', value => parseSize(value) !== undefined)

/** The number of bytes that a {@link size} says. */
export const bytesOf = (value: number | string): number => parseSize(value)!

function parseSize (value: unknown): number | undefined {
  if (!/^\d+(\.\d+)?\s*([kmgtp]?b)?$/i.test(String(value))) return undefined
  const size = bytes.parse(value as number | string)
  return size !== null && size >= 1 ? Math.floor(size) : undefined
}

/** A contract; known by its members, because each copy of this package makes its own. */
const contract = custom('a contract, as defineContract makes', value => {
  const { schemas, fail } = Object(value) as { schemas?: unknown, fail?: unknown }
  return isObject(schemas) && typeof fail === 'function'
})

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// Reading.

/**
 * Reads options: those that are not given get their defaults.
 * @param name what the error calls the object; empty for the options of the plugin
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is unknown or not what it should be
 */
export function readOptions<S extends TObject> (name: string, schema: S, given: unknown): Settings<S> {
  return readMembers(name, schema, given) as Settings<S>
}

function readMembers (name: string, schema: TObject, given: unknown): Record<string, unknown> {
  if (!isObject(given)) throw new InvalidOption(name || 'the options', expectedOf(schema), show(given))
  const names = Object.keys(schema.properties)
  const unknown = Object.keys(given).find(member => !names.includes(member))
  if (unknown !== undefined) throw new InvalidOption(`an option in ${name || 'the options'}`, oneOf(names), show(unknown))
  const members = Object.entries(schema.properties).map(([member, option]) =>
    [member, readOption(name === '' ? member : `${name}.${member}`, option, given[member])] as const)
  return Object.fromEntries(members.filter(([, value]) => value !== undefined))
}

function readOption (name: string, schema: TSchema, given: unknown): unknown {
  const value = given === undefined ? schema.default : given
  if (schema.properties !== undefined) return readMembers(name, schema as TObject, value)
  if (schema.group !== undefined && isObject(value)) return readMembers(name, schema.group, value)
  checkOption(name, schema, value)
  return value
}

/**
 * Checks the options that a schema knows, where others may be there too, as Fastify's.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first that is not what it should be
 */
export function checkOptions (schema: TObject, given: object): void {
  for (const [name, option] of Object.entries(schema.properties)) checkOption(name, option, (given as Record<string, unknown>)[name])
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is what the schema says, or left out where it may be */
export function checkOption (name: string, schema: TSchema, value: unknown): void {
  if (value === undefined && schema[OptionalKind] !== undefined) return
  if (!Value.Check(schema, value)) throw new InvalidOption(name, expectedOf(schema), show(value))
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is undefined or an integer from `min` */
export function checkInteger (name: string, value: unknown, min: number): void {
  if (value !== undefined) checkOption(name, integer(min), value)
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is a contract */
export function checkContract (name: string, value: unknown): void {
  checkOption(name, contract, value)
}

function expectedOf ({ expected, type, minimum, maximum, anyOf }: TSchema): string {
  if (expected !== undefined) return expected
  if (type === 'integer') return `an integer from ${minimum} to ${maximum}`
  if (type === 'boolean') return 'true or false'
  return anyOf === undefined ? 'an object of options' : oneOf((anyOf as TLiteral[]).map(one => one.const))
}

const oneOf = (values: readonly unknown[]) => `one of ${values.map(show).join(', ')}`

/** Shows a value in an error message: short, and on one line. */
export function show (value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : inspect(value, { depth: 0 }).replace(/\s+/g, ' ')
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}
