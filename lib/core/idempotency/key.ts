// The header Idempotency-Key.

/** In one of these forms a key has at most this many characters. */
const MAX_LENGTH = 255

/** A String of RFC 8941 section 3.3.3, as the draft demands. */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/

/** What most clients send instead; a comma would join two headers. */
const BARE = /^[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]+$/

/**
 * Reads a key (draft-ietf-httpapi-idempotency-key-header, section 2.1), with quotes as in the draft or without.
 * @returns undefined when it is malformed, empty or too long
 */
export function parseIdempotencyKey (header: string): string | undefined {
  const key = QUOTED.exec(header)?.[1]?.replace(/\\(.)/g, '$1') ?? BARE.exec(header)?.[0]
  return key !== undefined && key.length > 0 && key.length <= MAX_LENGTH ? key : undefined
}
