// The shape that a schema gives to JSON, as far as code can be generated for it.
import type { TSchema } from '@sinclair/typebox'

/** One member of an object. */
export interface Member {
  readonly name: string
  readonly required: boolean
  readonly shape: Shape
}

/** An object with members of any name, or of any that matches the pattern of the names. */
export interface RecordShape {
  readonly kind: 'record'
  readonly names: SingleShape & { readonly kind: 'text' }
  readonly values: Shape
}

/** What a value looks like in JSON. */
export type Shape = SingleShape | { readonly kind: 'choice', readonly options: readonly SingleShape[] }

/** One of the things that a value can look like. `open` takes whatever is JSON. */
export type SingleShape =
  { readonly kind: 'text', readonly min: number, readonly max: number, readonly pattern: string | undefined } |
  { readonly kind: 'number', readonly integer: boolean, readonly bounds: readonly string[] } |
  { readonly kind: 'constant', readonly value: string | number | boolean | null } |
  { readonly kind: 'boolean' } |
  { readonly kind: 'open' } |
  { readonly kind: 'list', readonly items: Shape, readonly min: number, readonly max: number } |
  { readonly kind: 'object', readonly members: readonly Member[] } |
  RecordShape

type Keywords = Record<string, unknown>

/** Keywords that say nothing of what a value may be. Formats are annotations in OpenAPI 3.1. */
const ANNOTATIONS = ['title', 'description', 'examples', 'example', 'format', 'contentEncoding', 'contentMediaType', 'deprecated', '$comment']

const BOUNDS: Record<string, string> = { minimum: '>=', maximum: '<=', exclusiveMinimum: '>', exclusiveMaximum: '<' }

/** @returns undefined when the schema says more than a shape can */
export function shapeOf (schema: TSchema | Keywords): Shape | undefined {
  const said = Object.fromEntries(Object.entries(schema).filter(([keyword]) => !ANNOTATIONS.includes(keyword)))
  const { type, anyOf, enum: values, const: value } = said as { type?: unknown, anyOf?: Keywords[], enum?: unknown[], const?: unknown }
  const keywords = Object.keys(said).filter(keyword => keyword !== 'type')

  if (keywords.length === 0 && type === undefined) return { kind: 'open' }
  if (saysOnly(keywords, ['const'])) return constant(value, type)
  if (saysOnly(keywords, ['enum']) && Array.isArray(values)) return choice(values.map(one => constant(one, type)))
  if (saysOnly(keywords, ['anyOf']) && type === undefined) return choice(anyOf!.map(shapeOf))
  if (Array.isArray(type)) return choice(type.map(one => shapeOf({ ...said, type: one })))
  return typeof type === 'string' ? ofType(type, keywords, said) : undefined
}

function ofType (type: string, keywords: string[], said: Keywords): Shape | undefined {
  if (type === 'string') return text(keywords, said)
  if (type === 'number' || type === 'integer') return number(type === 'integer', keywords, said)
  if (type === 'array') return list(keywords, said)
  if (type === 'object') return record(keywords, said) ?? object(keywords, said)
  if (keywords.length > 0) return undefined
  // There is no type but these two left.
  return type === 'boolean' ? { kind: 'boolean' } : { kind: 'constant', value: null }
}

function saysOnly (keywords: readonly string[], known: readonly string[]): boolean {
  return keywords.length > 0 && keywords.every(keyword => known.includes(keyword))
}

function constant (value: unknown, type: unknown): Shape | undefined {
  const isScalar = value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)
  if (!isScalar || ![undefined, typeof value, value === null ? 'null' : undefined].includes(type as string)) return undefined
  return { kind: 'constant', value: value as string }
}

function text (keywords: string[], { minLength = 0, maxLength = Infinity, pattern }: Keywords): Shape | undefined {
  if (keywords.some(keyword => !['minLength', 'maxLength', 'pattern'].includes(keyword))) return undefined
  return { kind: 'text', min: Number(minLength), max: Number(maxLength), pattern: pattern as string | undefined }
}

function number (integer: boolean, keywords: string[], said: Keywords): Shape | undefined {
  if (keywords.some(keyword => !(keyword in BOUNDS))) return undefined
  return { kind: 'number', integer, bounds: keywords.map(keyword => `${BOUNDS[keyword]} ${Number(said[keyword])}`) }
}

function list (keywords: string[], { items, minItems = 0, maxItems = Infinity }: Keywords): Shape | undefined {
  if (keywords.some(keyword => !['items', 'minItems', 'maxItems'].includes(keyword)) || Array.isArray(items)) return undefined
  const shape = shapeOf((items ?? {}) as Keywords)
  return shape && { kind: 'list', items: shape, min: Number(minItems), max: Number(maxItems) }
}

/** As `Type.Record` makes it, or with nothing but `additionalProperties`. */
function record (keywords: string[], { patternProperties, additionalProperties }: Keywords): Shape | undefined {
  if (saysOnly(keywords, ['additionalProperties'])) return recordOf(undefined, additionalProperties)
  const patterns = Object.entries(patternProperties ?? {})
  return saysOnly(keywords, ['patternProperties']) && patterns.length === 1 ? recordOf(...patterns[0]!) : undefined
}

function recordOf (pattern: string | undefined, schema: unknown): Shape | undefined {
  const values = schema === false ? undefined : shapeOf(schema === true ? {} : schema as Keywords)
  return values && { kind: 'record', names: { kind: 'text', min: 0, max: Infinity, pattern }, values }
}

function object (keywords: string[], { properties = {}, required = [] }: Keywords): Shape | undefined {
  if (keywords.some(keyword => !['properties', 'required'].includes(keyword))) return undefined
  const names = Object.keys(properties as Keywords)
  const needed = required as string[]
  if (names.includes('__proto__') || needed.some(name => !names.includes(name))) return undefined
  const members = Object.entries(properties as Record<string, Keywords>).map(([name, schema]) =>
    ({ name, required: needed.includes(name), shape: shapeOf(schema) }))
  return members.every((member): member is Member => member.shape !== undefined) ? { kind: 'object', members } : undefined
}

/** Of several objects or lists it would matter which one is meant. */
function choice (options: (Shape | undefined)[]): Shape | undefined {
  const known = options.filter(option => option !== undefined)
  const flat = known.flatMap(option => option.kind === 'choice' ? option.options : [option])
  const compound = flat.filter(({ kind }) => ['object', 'record', 'list'].includes(kind))
  const isClear = new Set(compound.map(({ kind }) => kind === 'list')).size === compound.length
  if (known.length < options.length || flat.some(({ kind }) => kind === 'open') || !isClear) return undefined
  return { kind: 'choice', options: flat }
}

/** Whether anything in a shape fulfils the condition. */
export function hasShape (shape: Shape, condition: (shape: Shape) => boolean): boolean {
  return condition(shape) || partsOf(shape).some(part => hasShape(part, condition))
}

function partsOf (shape: Shape): readonly Shape[] {
  if (shape.kind === 'list') return [shape.items]
  if (shape.kind === 'record') return [shape.values]
  if (shape.kind === 'object') return shape.members.map(member => member.shape)
  return shape.kind === 'choice' ? shape.options : []
}

/**
 * The condition, in JavaScript, that a value fulfils which may have this shape; of what is inside it, it says nothing.
 * It may refuse what has the shape, as text of whose length in characters only an estimate is made.
 */
export function guard (shape: SingleShape, value: string): string {
  if (shape.kind === 'constant') return `${value} === ${JSON.stringify(shape.value)}`
  if (shape.kind === 'boolean') return `typeof ${value} === 'boolean'`
  if (shape.kind === 'text') return guardText(shape, value)
  if (shape.kind === 'number') return guardNumber(shape, value)
  if (shape.kind === 'list') return `Array.isArray(${value}) && typeof ${value}.toJSON !== 'function'${between(shape, `${value}.length`)}`
  if (shape.kind === 'object' || shape.kind === 'record') return `typeof ${value} === 'object' && ${value} !== null && !Array.isArray(${value}) && typeof ${value}.toJSON !== 'function'`
  return `${value} !== undefined`
}

/** A character is one or two units of a string's length. */
function guardText ({ min, max, pattern }: Shape & { kind: 'text' }, value: string): string {
  const matches = pattern === undefined ? '' : ` && ${String(new RegExp(pattern, 'u'))}.test(${value})`
  return `typeof ${value} === 'string'${between({ min: min > 1 ? min * 2 : min, max }, `${value}.length`)}${matches}`
}

function guardNumber ({ integer, bounds }: Shape & { kind: 'number' }, value: string): string {
  return [`Number.is${integer ? 'Integer' : 'Finite'}(${value})`, ...bounds.map(bound => `${value} ${bound}`)].join(' && ')
}

function between ({ min, max }: { min: number, max: number }, length: string): string {
  return (min > 0 ? ` && ${length} >= ${min}` : '') + (max < Infinity ? ` && ${length} <= ${max}` : '')
}
