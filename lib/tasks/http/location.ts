// Where a client can ask for what it has asked for.
import type { FastifyRequest } from 'fastify'

/**
 * The path that the client has asked for, whatever a prefix or a proxy has made of it, without a slash at its end. It
 * has one slash at its beginning and no host, because `//host/path` would lead elsewhere (RFC 3986 section 4.2).
 */
export function pathOf ({ originalUrl }: FastifyRequest): string {
  const path = originalUrl.split('?', 1)[0]!
  return path.replace(/^(?:https?:\/\/[^/]*)?\/*/i, '/').replace(/\/$/, '')
}
