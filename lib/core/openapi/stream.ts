// What OpenAPI says of a streaming operation. It is one of its own, so that the JSON operation keeps one type.
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import type { AnyContract } from '../../../schemas/index.js'
import { errorsEverywhere } from './errors.js'
import { isValid, preferenceHeaders } from './results.js'
import { preferOf } from './operations.js'
import { exampleOf } from './examples.js'
import type { Compile } from '../items/validator.js'
import type { JsonSchema } from '../items/tagged-union.js'

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
  /** Says what is wrong with an example; one that is wrong is left out. */
  readonly compile: Compile
}

/** @param schema what the route says itself, of its JSON operation */
export function documentStream (schema: FastifySchema, contract: AnyContract, { item, maxLineBytes, compile }: StreamFacts): FastifySchema {
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
    body: { content: { [MEDIA_TYPE]: { schema: item, ...examplesOf({ item }, compile) } } },
    response: {
      207: {
        description: 'One line per item, and a summary',
        headers: preferenceHeaders('return=minimal'),
        content: { [MEDIA_TYPE]: { schema: Type.Union(Object.values(lines), { description: 'One line' }), ...examplesOf(lines, compile) } }
      },
      ...errorsEverywhere()
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

function examplesOf (schemas: Record<string, object>, compile: Compile): { examples: object } {
  const examples = Object.entries(schemas).map(([name, schema]) => [name, { value: exampleOf(schema as JsonSchema) }] as const)
  return { examples: Object.fromEntries(examples.filter(([name, { value }]) => isValid(value, schemas[name]!, compile))) }
}
