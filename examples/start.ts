// Starts an example if it is the main program, not if a test imports it.
import { pathToFileURL } from 'node:url'
import type { FastifyInstance } from 'fastify'

/** The address of an example: HOST (127.0.0.1), PORT (3000). */
export function whereToListen ({ HOST, PORT }: Record<string, string | undefined>) {
  return { host: HOST || '127.0.0.1', port: Number(PORT || 3000) }
}

/**
 * Listens, prints the welcome, and closes when the process gets a signal to end.
 * @param url the URL of the calling module
 * @param build builds the app
 * @param welcome returns the text to print for an address
 * @returns a function that closes the app; undefined if the module is not the main program
 */
export async function startWhenRun (
  url: string, build: () => Promise<FastifyInstance>, welcome = (address: string) => address
): Promise<(() => Promise<void>) | undefined> {
  if (url !== pathToFileURL(process.argv[1]!).href) return undefined
  const app = await build()
  console.log(welcome(await app.listen(whereToListen(process.env))))
  const close = async () => app.close()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, close)
  return close
}
