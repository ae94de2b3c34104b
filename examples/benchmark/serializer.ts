// How fast results become JSON, beside JSON.stringify and other serializers, on three versions of Node:
//   npx tsx examples/benchmark/serializer.ts [--quick]
import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { findNode } from './engines.js'
import { formatTable, median, printReport } from './report.js'
import { serializers, type Timings } from './serializer-run.js'
import { buildServers } from './servers.js'

const VERSIONS = ['20', '24', '26']

/** One Markdown table per engine: speed relative to JSON.stringify, higher is faster. */
export async function measureSerializer (quick = false): Promise<string> {
  const build = await buildServers()
  try {
    const tables = []
    for (const version of VERSIONS) {
      const node = await findNode(version)
      if (node !== undefined) tables.push(await measureOn(node, build, quick))
    }
    return '## Serializing 1,000 results\n\nSpeed relative to JSON.stringify, which checks nothing and sends what is not declared; higher is faster.\n\n' + tables.join('\n')
  } finally {
    await rm(build, { recursive: true })
  }
}

async function measureOn (node: string, build: string, quick: boolean): Promise<string> {
  const rounds = quick ? '20' : '120'
  const { stdout } = await promisify(execFile)(node, [join(build, 'examples/benchmark/serializer-run.js'), rounds])
  const { version, timings } = JSON.parse(stdout) as { version: string, timings: Record<string, Timings> }
  const rows = Object.entries(timings).map(([name, times]) => {
    const base = median(times['JSON.stringify']!)
    return [name, ...serializers.map(one => (base / median(times[one]!)).toFixed(2)), (base * 1000).toFixed(0)]
  })
  return formatTable([`Node ${version}`, ...serializers, 'JSON.stringify, µs'], rows)
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })
  await printReport(await measureSerializer(quick))
}
