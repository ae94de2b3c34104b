// What OpenAPI says of the results of a bulk route: the body, its examples and its headers.
import type { AnyContract } from '../../../schemas/index.js'
import { exampleKey, exampleOf, problemsOf } from './examples.js'
import type { Compile } from '../items/validator.js'
import type { StatusPolicy } from '../reply/multi-status.js'
import type { JsonSchema } from '../items/tagged-union.js'

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

const HEADERS = {
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
    headers: HEADERS,
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
  return fail(id, { message: 'Invalid data', code: 'INVALID_ITEM', statusCode: 422, retryable: false, ...(errors !== undefined && { errors }) })
}
