// What idempotency asks of a store.

/** Who holds a key while its request runs. */
export interface Claim {
  /** Known to the holder alone. */
  readonly token: string
  /** What was asked under the key, so that something else under it can be refused. */
  readonly fingerprint: string
}

/** An answer as it was given. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** null where the answer was too large to be kept. */
  readonly body: Buffer | null
}

/** What is kept under a key. */
export interface Held {
  readonly fingerprint: string
  /** undefined while the request runs. */
  readonly answer?: Answer
}

/**
 * Where claims and answers are kept. Every method is atomic; what one throws is logged, and nothing runs without a claim.
 * All times are in milliseconds.
 */
export interface IdempotencyStore {
  /** Takes a key that nobody holds for this long. Resolves with undefined when it did, else with what is kept there. */
  claim (key: string, claim: Claim, ttl: number): Promise<Held | undefined>
  /** Prolongs a claim. Resolves with whether the token still holds it. */
  renew (key: string, token: string, ttl: number): Promise<boolean>
  /**
   * Keeps the answer for this long in place of the claim. Resolves with whether it did: a claim that has expired is
   * made good, but never over the claim or the answer of somebody else.
   */
  complete (key: string, claim: Claim, answer: Answer, ttl: number): Promise<boolean>
  /** Gives the key back, if the token holds it and there is no answer. */
  release (key: string, token: string): Promise<void>
}
