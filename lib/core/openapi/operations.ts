// What OpenAPI says of a bulk route, as far as it follows from the contract.
import { Type, type TSchema } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import type { AnyContract } from '../../../schemas/index.js'
import { documentBody } from './body.js'
import { errorsOf } from './errors.js'
import { documentResults, preferenceHeaders } from './results.js'
import type { ItemArray } from '../items/body-schema.js'
import type { Compile } from '../items/validator.js'
import type { StatusPolicy } from '../reply/multi-status.js'
import type { JsonSchema } from '../items/tagged-union.js'

/** What is to be known of a route beside its schema and its contract. */
export interface RouteFacts {
  readonly status: StatusPolicy
  /** Where the items are; undefined where they are not known before the handler runs, as those of a form. */
  readonly itemArray: ItemArray | undefined
  /** Bytes that the body may have. */
  readonly bodyLimit: number
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
      ...errorsOf(contract, itemArray, preferenceHeaders('handling=strict'), facts.compile),
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
