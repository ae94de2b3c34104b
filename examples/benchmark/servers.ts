// The servers that are compared, each started in a process of its own.
import { execFile, fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Form } from './form.js'
import type { Usage } from './server.js'

/** The first is what all others are measured against. */
export const names = [
  'raw busboy', 'raw busboy + sha256', 'raw busboy + sha256, temporary file, link', 'multi-status', 'multi-status, sync: false', '@fastify/multipart + pipeline', 'multer on express', 'formidable'
]

/** One server, in a process of its own, with a directory of its own. */
export interface RunningServer {
  readonly name: string
  readonly port: number
  /** Asks for its figures; the peak is that since it was last asked. */
  usage (): Promise<Usage>
  /** Empties what it stored since the last time, which must be the files of this form. */
  empty (form: Form): Promise<void>
  stop (): Promise<void>
}

const root = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Compiles the servers, because what tsx makes of functions on the fly costs time in some of them and not in others.
 * @returns a new directory with the servers and, later, what they store; to be removed in the end
 */
export async function buildServers (): Promise<string> {
  const build = await mkdtemp(join(tmpdir(), 'benchmark-'))
  await writeFile(join(build, 'package.json'), '{ "type": "module" }')
  await symlink(join(root, 'node_modules'), join(build, 'node_modules'))
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  await promisify(execFile)(process.execPath, [compiler, '-p', join(root, 'examples/benchmark'), '--outDir', build])
  return build
}

/** @param build what `buildServers` made */
export async function startServer (build: string, name: string): Promise<RunningServer> {
  const dir = await mkdtemp(join(build, 'stored-'))
  const stored = new Set<string>()
  const child = fork(join(build, 'examples/benchmark/server.js'), [name, dir], { execArgv: [] })
  const port = await ask<number>(child)
  return {
    name,
    port,
    usage () {
      child.send('usage')
      return ask<Usage>(child)
    },
    empty: form => empty(dir, form, stored),
    async stop () {
      child.kill()
      await once(child, 'exit')
    }
  }
}

/** The next thing that the server says, unless it ends before it says anything. */
async function ask<T> (child: ChildProcess): Promise<T> {
  const ended = new AbortController()
  const [message] = await Promise.race([
    once(child, 'message', { signal: ended.signal }),
    once(child, 'exit', { signal: ended.signal }).then(([code]) => { throw new Error(`the server ended with ${code}`) })
  ]).finally(() => ended.abort())
  return message as T
}

/**
 * Files are emptied and not removed, because ext4 takes its time (0.7 instead of 0.01 ms were seen) to make a file
 * while others have been removed just before.
 * @param stored the files that have been there before
 */
async function empty (dir: string, { title, files, content }: Form, stored: Set<string>): Promise<void> {
  const paths = (await readdir(dir)).map(name => join(dir, name)).filter(path => !stored.has(path))
  const sizes = await Promise.all(paths.map(async path => (await stat(path)).size))
  const size = sizes.reduce((sum, one) => sum + one, 0)
  if (paths.length !== files || size !== content) throw new Error(`${title}: ${paths.length} files of ${size} bytes were stored`)
  for (const path of paths) {
    await truncate(path)
    stored.add(path)
  }
}
