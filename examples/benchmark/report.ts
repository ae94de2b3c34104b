// What the benchmarks print.
import { readFile } from 'node:fs/promises'
import { arch, cpus, platform, release, totalmem } from 'node:os'

const PACKAGES = [
  'fastify', 'fast-json-stringify', '@sinclair/typebox', '@fastify/busboy', '@fastify/multipart', 'express', 'hono', '@hono/node-server', 'multer', 'formidable', 'autocannon'
]

export function median (values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}

/** A table in Markdown; the first column is text, the others are figures. */
export function formatTable (head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rule = head.map((_, index) => index === 0 ? '---' : '---:')
  return [head, rule, ...rows].map(line).join('\n') + '\n'
}

/** The machine, the engine and the packages, without which no figure means anything. */
export async function describeMachine (packages: readonly string[] = PACKAGES): Promise<string> {
  const processors = cpus()
  const machine = `${processors.length} x ${processors[0]!.model.trim()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ` +
    `${platform()} ${release()} ${arch()}, Node ${process.version}`
  const versions = await Promise.all(packages.map(async name => `${name} ${await readVersion(name)}`))
  return `${machine}\n${versions.join(', ')}\n`
}

/** From the file itself, as most packages do not export it. */
async function readVersion (name: string): Promise<string> {
  const manifest = new URL(`../../node_modules/${name}/package.json`, import.meta.url)
  return (JSON.parse(await readFile(manifest, 'utf8')) as { version: string }).version
}

/** Prints a report with what it was taken on. */
export async function printReport (report: string): Promise<void> {
  console.log(`${await describeMachine()}\n${report}`)
}
