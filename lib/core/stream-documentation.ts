// What OpenAPI says of a streaming operation. It is one of its own, so that the JSON operation keeps one type.
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import type { AnyContract } from '../../schemas/index.js'
import { errorsEverywhere } from './documented-errors.js'
import { preferenceHeaders } from './documented-results.js'
import { preferOf } from './documentation.js'

/** The last line of a stream; without it the stream has been cut. */
export const Summary = Type.Object({
  summary: Type.Object({ total: Type.Integer(), succeeded: Type.Integer(), failed: Type.Integer() })
}, { title: 'StreamSummary' })

const MEDIA_TYPE = 'application/x-ndjson'

/** @param schema what the route says itself, of its JSON operation */
export function documentStream (schema: FastifySchema, contract: AnyContract, item: object): FastifySchema {
  const { operationId, summary } = schema as { operationId?: string, summary?: string }
  return {
    ...schema,
    ...(operationId !== undefined && { operationId: `${operationId}Stream` }),
    summary: `${summary ?? contract.name} (stream)`,
    description: 'One item per line. Answers one result per line, in the order in which they are done, with the `index` of ' +
      'the item, and last a summary; without it the stream has been cut. Whether two items have one key is not checked.',
    headers: schema.headers ?? Type.Object({ Prefer: preferOf(false) }),
    body: { content: { [MEDIA_TYPE]: { schema: item } } },
    response: {
      207: { description: 'One line per item, and a summary', headers: preferenceHeaders('return=minimal'), content: { [MEDIA_TYPE]: { schema: lineOf(contract) } } },
      ...errorsEverywhere()
    }
  } as FastifySchema
}

function lineOf ({ schemas }: AnyContract): TSchema {
  const results = [...schemas.successes, schemas.failure as TObject].map(({ properties, title }) =>
    Type.Object({ index: Type.Integer({ minimum: 0, description: 'The place of the item in the request' }), ...properties }, { title: `${title}Line` }))
  return Type.Union([...results, Summary], { description: 'One line' })
}
