// The generic contract, for batches of anything with an id.
import type { Static } from '@sinclair/typebox'
import { defineContract } from './contract.js'

/** `{"results":[{"id":1,"status":"success"},{"id":2,"status":"error","message":"Invalid data"}]}` */
export const generic = defineContract({
  name: 'Item', key: 'id', success: 'success', failure: 'error', reason: 'message'
})

export type GenericResult = Static<typeof generic.schemas.result>
