// The members that every failed result has, whatever its contract calls the rest.
import { Type, type Static } from '@sinclair/typebox'

/** One broken rule of one item, in the shape of RFC 9457's `errors` extension. */
export const ItemProblem = Type.Object({
  pointer: Type.String({
    description: 'Where in the item: a JSON Pointer as URI fragment (RFC 6901 section 6), "#" is the item itself'
  }),
  detail: Type.String({ description: 'What was expected there' })
}, { title: 'ItemProblem' })

export type ItemProblem = Static<typeof ItemProblem>

/** The members that a failure made by the plugin carries beside the contract's own, in this order on the wire. */
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

/** Names that a contract cannot give to its key, its reason or its data, because every failure has them. */
export const failureMemberNames = Object.keys(failureMembers)

/** Why an item failed, before a contract words it. */
export interface FailureDetail {
  /** Shown to the client under the contract's name for it (`message`, `error`, `reason`). */
  message: string
  /** Stable and machine readable, for example `FILE_TOO_LARGE`. */
  code?: string
  /** 400-599: the HTTP status code that this item alone would have had. */
  statusCode?: number
  /** Whether sending the item again, unchanged, can succeed. */
  retryable?: boolean
  /** Seconds to wait before sending it again. */
  retryAfter?: number
  /** What exactly was wrong with the item. */
  errors?: ItemProblem[]
}
