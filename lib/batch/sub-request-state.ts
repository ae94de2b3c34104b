// What is known of one request of a batch while it travels.
import type { ItemError } from '../errors.js'

/** Goes with the message itself, which no client can make, and with nothing that is written in it. */
export interface Passport {
  /** Whether it is to be validated only. */
  readonly isTrial: boolean
  /** Set once it has reached a route that has opted in. */
  isAdmitted: boolean
  /** Why it may not go on. */
  refusal: ItemError | undefined
  /** What went wrong in the route, before the app's error handler made an answer of it. */
  error: unknown
}
