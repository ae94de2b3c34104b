// Starts an example when it is run, and not when a test imports it.
import { pathToFileURL } from 'node:url'
import type { FastifyInstance } from 'fastify'

/** Where an example listens: HOST (127.0.0.1), PORT (3000). */
export function whereToListen ({ HOST, PORT }: Record<string, string | undefined>) {
  return { host: HOST || '127.0.0.1', port: Number(PORT || 3000) }
}

/**
 * Listens, says so, and closes when the process is asked to end.
 * @param url of the module that may be the program itself
 * @param build makes the app
 * @param welcome what to print, given the address
 * @returns what closes the app; undefined when the module is not the program
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
