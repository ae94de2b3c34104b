// The contract of a batch of requests, and the shape of one request in it.
import { Type, type Static } from '@sinclair/typebox'
import { defineContract } from './contract.js'

/** What a client may call a request of a batch; without `.`, `/` and braces, so that a reference can name it. */
export const RequestId = Type.String({
  pattern: '^[\\w:@-]{1,64}$',
  description: 'Chosen by the client, unique in the batch',
  examples: ['1', '2']
})

const Encoding = Type.Literal('base64', { description: 'The body is bytes, in base64' })

/** The members that an answer has whether it is a success or not. */
const answer = {
  headers: Type.Optional(Type.Record(Type.String(), Type.String(), {
    description: 'Without those of the connection, and without set-cookie, which is set on the whole answer',
    examples: [{ 'content-type': 'application/json; charset=utf-8' }]
  })),
  body: Type.Optional(Type.Unknown({
    description: 'JSON as it is, text as a string, everything else in base64',
    examples: [{ contactId: 7 }]
  })),
  encoding: Type.Optional(Encoding)
}

/**
 * `{"results":[{"id":"1","status":"success","statusCode":201,"headers":{},"body":{}},
 * {"id":"2","status":"error","message":"Email taken","code":"EMAIL_TAKEN","statusCode":409,"retryable":false,"body":{}}]}`
 */
export const batch = defineContract({
  name: 'BatchItem',
  key: 'id',
  keyType: RequestId,
  success: 'success',
  failure: 'error',
  reason: 'message',
  data: Type.Object({
    statusCode: Type.Integer({ minimum: 200, maximum: 399, description: 'The HTTP status code of the answer', examples: [201] }),
    ...answer
  }),
  failureData: Type.Object(answer)
})

export type BatchResult = Static<typeof batch.schemas.result>

/** One request of a batch. */
export const BatchedRequest = Type.Object({
  id: RequestId,
  method: Type.Optional(Type.String({ description: 'GET where it is left out', examples: ['POST'] })),
  url: Type.String({
    maxLength: 8192,
    description: 'A path of this server with its query. `{1.contactId}` stands for a member of the answer of request 1',
    examples: ['/contacts']
  }),
  headers: Type.Optional(Type.Record(Type.String(), Type.String(), {
    description: 'Only those that a request of a batch may have of its own'
  })),
  body: Type.Optional(Type.Unknown({
    description: 'JSON; or text, or base64, where the content-type says so. ' +
      '`{"$from":"1","pointer":"/contactId"}` stands for a member of the answer of request 1, `{"$literal":x}` for x as it is',
    examples: [{ email: 'ada@example.org' }]
  })),
  encoding: Type.Optional(Encoding),
  dependsOn: Type.Optional(Type.Array(RequestId, {
    description: 'Earlier requests that must have succeeded before this one runs; those that it refers to are added'
  }))
}, { title: 'BatchedRequest' })

export type BatchedRequest = Static<typeof BatchedRequest>
