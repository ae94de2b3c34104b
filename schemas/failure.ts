// The members of a failure that are the same in every contract.
import { Type, type Static } from '@sinclair/typebox'

/** One problem of an invalid item, in the form of the `errors` of RFC 9457. */
export const ItemProblem = Type.Object({
  pointer: Type.String({
    description: 'Where in the item: a JSON Pointer as URI fragment (RFC 6901 section 6), "#" is the item itself'
  }),
  detail: Type.String({ description: 'What was expected there' })
}, { title: 'ItemProblem' })

export type ItemProblem = Static<typeof ItemProblem>

/** The members that the plugin adds to a failure, in this order. */
export const failureMembers = {
  code: Type.Optional(Type.String({ description: 'Stable and machine readable, for example FILE_TOO_LARGE' })),
  statusCode: Type.Optional(Type.Integer({
    minimum: 400,
    maximum: 599,
    description: 'The HTTP status code that this item alone would have had'
  })),
  retryable: Type.Optional(Type.Boolean({ description: 'Whether sending this item again, unchanged, can succeed' })),
  retryAfter: Type.Optional(Type.Number({ minimum: 0, description: 'Seconds to wait before sending it again' })),
  errors: Type.Optional(Type.Array(ItemProblem, { description: 'What exactly was wrong with the item' }))
}

/** The names of these members. A contract cannot use them for its key, its reason or its data. */
export const failureMemberNames = Object.keys(failureMembers) as (keyof typeof failureMembers)[]

/** Why an item failed. A contract makes a result of it. */
export interface FailureDetail {
  /** The text for the client. The contract names the member: `message`, `error` or `reason`. */
  message: string
  /** A stable code for programs, for example `FILE_TOO_LARGE`. */
  code?: string
  /** The HTTP status code that this item alone would have had, 400-599. */
  statusCode?: number
  /** Whether sending the item again, unchanged, can succeed. */
  retryable?: boolean
  /** Seconds to wait before sending it again. */
  retryAfter?: number
  /** The problems of an invalid item. */
  errors?: ItemProblem[]
}
