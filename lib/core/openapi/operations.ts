// Describes a bulk route in OpenAPI, as far as it follows from the contract: body, results, errors and streaming operation.
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import type { AnyContract } from '../../../schemas/index.js'
import { invalidItemDetail } from '../../errors.js'
import type { ItemArray } from '../items/body-schema.js'
import type { JsonSchema } from '../items/tagged-union.js'
import type { Compile } from '../items/validator.js'
import type { StatusPolicy } from '../reply/multi-status.js'
import { errorsEverywhere, errorsOf } from './errors.js'
import { exampleKey, exampleOf, problemsOf } from './examples.js'

/** What is to be known of a route beside its schema and its contract. */
export interface RouteFacts {
  readonly status: StatusPolicy
  /** Where the items are; undefined where they are not known before the handler runs, as those of a form. */
  readonly itemArray: ItemArray | undefined
  /** Bytes that the body may have. */
  readonly bodyLimit: number
  /** The plugin's `maxInFlight`. */
  readonly maxInFlight: number
  /** Says what is wrong with an example; one that is wrong is left out. */
  readonly compile: Compile
}

/** What `Prefer` can ask of a bulk route, for its documentation. */
export const MINIMAL = '`return=minimal`: a success carries only its key and status.'
export const STRICT = '`handling=strict`: refuse the whole batch if any item is invalid.'

/** The schema of a bulk route with everything that its contract implies; what the route says itself wins. */
export function documentRoute (schema: FastifySchema, contract: AnyContract, facts: RouteFacts): FastifySchema {
  const { itemArray } = facts
  const given = (schema.response ?? {}) as Record<string, unknown>
  // That the route names the body of its contract says no more than what is said here.
  const own = Object.entries(given).filter(([, response]) => response !== contract.schemas.body)
  const isCollapsed = facts.status === 'collapse' || given[200] === contract.schemas.body
  return {
    ...schema,
    ...(itemArray !== undefined && isPlain(schema.body as JsonSchema) && {
      body: documentBody(schema.body as JsonSchema, itemArray, contract, facts)
    }),
    headers: schema.headers ?? Type.Object({ Prefer: preferOf(itemArray !== undefined) }),
    response: {
      ...documentResults(contract, isCollapsed ? 'collapse' : 'multi-status', facts.compile, itemArray?.items),
      ...errorsOf(contract, itemArray, preferenceHeaders('handling=strict'), facts),
      ...Object.fromEntries(own)
    }
  }
}

/** A schema that the app shares, or has given with its media type, stays as the app has written it. */
function isPlain (body: JsonSchema): boolean {
  return body.$ref === undefined && body.content === undefined
}

/** The `Prefer` header of a route that has items. */
export function preferOf (isStrict: boolean): TSchema {
  return documentPrefer(isStrict ? [STRICT, MINIMAL] : [MINIMAL])
}

/** The `Prefer` header, by what a route makes of it; without an example, which Swagger UI would send unasked. */
export function documentPrefer (preferences: readonly string[]): TSchema {
  return Type.Optional(Type.String({ description: ['RFC 7240.', ...preferences].join(' ') }))
}

// The body.

/** The schema of a body with the limits that hold also where the route does not name them, and with an example. */
export function documentBody (
  body: JsonSchema, itemArray: ItemArray, contract: AnyContract, { bodyLimit, compile }: { bodyLimit: number, compile: Compile }
): JsonSchema {
  const { array, items, maxItems, member } = itemArray
  const limited: JsonSchema = { ...array, items, minItems: Math.max(1, Number(array.minItems ?? 1)), maxItems }
  const schema = member === undefined ? limited : withArray(body, member, limited)
  const description = [body.description, `At most ${maxItems} items and ${bodyLimit} bytes.`].filter(Boolean).join(' ')
  const examples = (body.examples as unknown[] | undefined) ?? [exampleBody(schema, items, contract, member)]
  const right = examples.filter(example => isValid(example, schema, compile))
  return { ...schema, description, ...(right.length > 0 && { examples: right }) }
}

function withArray (body: JsonSchema, member: string, array: JsonSchema): JsonSchema {
  const required = [...new Set([...body.required ?? [], member])]
  return { ...body, required, properties: { ...body.properties, [member]: array } }
}

/** One item of each kind, each with a key of its own. */
function exampleBody (schema: JsonSchema, items: JsonSchema, contract: AnyContract, member: string | undefined): unknown {
  const kinds = items.anyOf ?? items.oneOf ?? [items]
  const examples = kinds.map((kind, index) => withKey(exampleOf(kind), contract, index))
  return member === undefined ? examples : { ...exampleOf(schema) as object, [member]: examples }
}

function withKey (item: unknown, contract: AnyContract, index: number): unknown {
  if (index === 0 || item === null || typeof item !== 'object' || !(contract.key in item)) return item
  return { ...item, [contract.key]: exampleKey(contract.schemas.key as JsonSchema, index) }
}

// The results.

/** The headers of an answer that depends on `Prefer`. */
export function preferenceHeaders (example: string): Record<string, object> {
  return {
    'Preference-Applied': {
      type: 'string',
      description: 'The preferences that were honoured (RFC 7240)',
      pattern: '^[a-z-]+(=[^,;\\s]+)?(, [a-z-]+(=[^,;\\s]+)?)*$',
      examples: [example]
    },
    Vary: { type: 'string', description: 'The request headers that the answer depends on (RFC 9110)', examples: ['Prefer'] }
  }
}

const RESULT_HEADERS = {
  'Multi-Status': {
    type: 'string',
    description: 'How many items there were and what became of them: an RFC 9651 dictionary',
    pattern: '^total=\\d+, succeeded=\\d+, failed=\\d+$',
    examples: ['total=2, succeeded=1, failed=1']
  },
  ...preferenceHeaders('return=minimal')
}

/**
 * The answers of a contract when items have results.
 * @param compile says whether an example is right
 * @param item the schema of an item, where it is known before the handler runs
 */
export function documentResults (
  contract: AnyContract, status: StatusPolicy, compile: Compile, item?: JsonSchema
): Record<string, object> {
  const examples = examplesOf(contract, item, compile)
  const { mixed: _, failed: __, ...succeeded } = examples
  return {
    207: answerOf('One result per item, in request order', contract, examples, compile),
    ...(status === 'collapse' && { 200: answerOf('Every item succeeded', contract, succeeded, compile) })
  }
}

function answerOf (description: string, contract: AnyContract, examples: Examples, compile: Compile): object {
  const right = Object.entries(examples).filter(([, { value }]) => isValid(value, contract.schemas.body, compile))
  const schema = publishedBody(contract)
  return {
    description,
    headers: RESULT_HEADERS,
    content: { 'application/json': { schema, ...(right.length > 0 && { examples: Object.fromEntries(right) }) } }
  }
}

/** @param example stays as it is, although a schema may have defaults */
export function isValid (example: unknown, schema: object, compile: Compile): boolean {
  return compile(schema)(structuredClone(example)) === undefined
}

/**
 * The body with successes of which no more than key and status is certain, because a client can have just these two.
 * The serializer is held to the contract itself, where the other members are required.
 */
function publishedBody (contract: AnyContract): JsonSchema {
  const { body, result, successes, failure } = contract.schemas
  const required = [contract.key, 'status']
  const description = `With \`Prefer: return=minimal\` only \`${contract.key}\` and \`status\``
  const anyOf = successes.map(success => hasMore(success, required) ? { ...success, required, description } : success)
  const results = (body.properties as Record<string, JsonSchema>)[contract.envelope]!
  return {
    ...body,
    properties: { [contract.envelope]: { ...results, items: { ...result, anyOf: [...anyOf, failure] } } }
  } as JsonSchema
}

function hasMore (success: JsonSchema, required: string[]): boolean {
  return Object.keys(success.properties!).length > required.length
}

type Examples = Record<string, { summary: string, value: unknown }>

function examplesOf (contract: AnyContract, item: JsonSchema | undefined, compile: Compile): Examples {
  const successes = contract.schemas.successes.map(schema => exampleOf(schema as JsonSchema) as Record<string, unknown>)
  const [first] = successes as [Record<string, unknown>]
  const failure = failureOf(contract, item, compile)
  const body = (...results: unknown[]) => ({ [contract.envelope]: results })
  return {
    mixed: { summary: 'Some worked, some did not', value: body(first, failure) },
    succeeded: { summary: 'All worked', value: body(first) },
    failed: { summary: 'None worked', value: body(failure) },
    ...Object.fromEntries(successes.slice(1).map(success =>
      [success.status, { summary: `One is ${String(success.status)}`, value: body(success) }]))
  }
}

/** The contract's own example of a failure; else what the plugin says of an item that breaks a rule. */
function failureOf ({ schemas: { key: keySchema, failure }, key, fail }: AnyContract, item: JsonSchema = {}, compile: Compile): object {
  const second = exampleKey(keySchema as JsonSchema, 1)
  const id = isValid(second, keySchema, compile) ? second : null
  const [own] = (failure.examples ?? []) as object[]
  if (own !== undefined) return { ...own, [key]: id }
  const errors = problemsOf(item, key, compile)
  return fail(id, invalidItemDetail(errors))
}

// The streaming operation. It is one of its own, so that the JSON operation keeps one type.

/** The last line of a stream; without it the stream has been cut. */
export const Summary = Type.Object({
  summary: Type.Object({ total: Type.Integer(), succeeded: Type.Integer(), failed: Type.Integer() })
}, { title: 'StreamSummary' })

const MEDIA_TYPE = 'application/x-ndjson'

/** What is to be known of a streaming operation beside its schema and its contract. */
export interface StreamFacts {
  /** The schema of one item. */
  readonly item: object
  /** Bytes that a line may have. */
  readonly maxLineBytes: number
  /** The plugin's `maxInFlight`. */
  readonly maxInFlight: number
  /** Says what is wrong with an example; one that is wrong is left out. */
  readonly compile: Compile
}

/** @param schema what the route says itself, of its JSON operation */
export function documentStream (schema: FastifySchema, contract: AnyContract, { item, maxLineBytes, maxInFlight, compile }: StreamFacts): FastifySchema {
  const { operationId, summary } = schema as { operationId?: string, summary?: string }
  const lines = linesOf(contract)
  return {
    ...schema,
    ...(operationId !== undefined && { operationId: `${operationId}Stream` }),
    summary: `${summary ?? contract.name} (stream)`,
    description: `One item per line of at most ${maxLineBytes} bytes. Answers one result per line, in the order in which they ` +
      'are done, with the `index` of the item, and last a summary; without it the stream has been cut. Whether two items ' +
      'have one key is not checked.',
    headers: schema.headers ?? Type.Object({ Prefer: preferOf(false) }),
    body: { content: { [MEDIA_TYPE]: { schema: item, ...lineExamplesOf({ item }, compile) } } },
    response: {
      207: {
        description: 'One line per item, and a summary',
        headers: preferenceHeaders('return=minimal'),
        content: { [MEDIA_TYPE]: { schema: Type.Union(Object.values(lines), { description: 'One line' }), ...lineExamplesOf(lines, compile) } }
      },
      ...errorsEverywhere(maxInFlight)
    }
  } as FastifySchema
}

/** The kinds of line by name. Of a success no more than key and status is certain, because a client can have just these two. */
function linesOf ({ key, successWords, failureWord, schemas }: AnyContract): Record<string, TSchema> {
  const lineOf = ({ properties, title }: TObject) =>
    Type.Object({ index: Type.Integer({ minimum: 0, description: 'The place of the item in the request' }), ...properties }, { title: `${title}Line` })
  const successes = schemas.successes.map((schema, index) =>
    [successWords[index]!, { ...lineOf(schema), required: ['index', key, 'status'] } as TSchema])
  return { ...Object.fromEntries(successes), [failureWord]: lineOf(schemas.failure as TObject), summary: Summary }
}

function lineExamplesOf (schemas: Record<string, object>, compile: Compile): { examples: object } {
  const examples = Object.entries(schemas).map(([name, schema]) => [name, { value: exampleOf(schema as JsonSchema) }] as const)
  return { examples: Object.fromEntries(examples.filter(([name, { value }]) => isValid(value, schemas[name]!, compile))) }
}
