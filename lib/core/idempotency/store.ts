// The interface of an idempotency store.

/** The claim of a running request on its key. */
export interface Claim {
  /** A random secret of the holder. */
  readonly token: string
  /** The hash of the request, so that another request under the same key can be refused. */
  readonly fingerprint: string
}

/** An answer as it was sent. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** null if the answer was too large to be stored. */
  readonly body: Buffer | null
}

/** What the store holds under a key. */
export interface Held {
  readonly fingerprint: string
  /** undefined while the request runs. */
  readonly answer?: Answer
}

/**
 * Stores claims and answers. Every method must be atomic. Errors are logged, and no request runs without a claim. All
 * times are in milliseconds.
 */
export interface IdempotencyStore {
  /** Claims a free key for `ttl`. Resolves with undefined if it did, else with what the store holds under the key. */
  claim (key: string, claim: Claim, ttl: number): Promise<Held | undefined>
  /** Extends a claim to `ttl` from now. Resolves with false if the token does not hold it any more. */
  renew (key: string, token: string, ttl: number): Promise<boolean>
  /**
   * Replaces the claim with the answer for `ttl`. Resolves with whether it did: also after the claim has expired, but
   * never over the claim or answer of another request.
   */
  complete (key: string, claim: Claim, answer: Answer, ttl: number): Promise<boolean>
  /** Frees the key if the token holds it and there is no answer. */
  release (key: string, token: string): Promise<void>
}
