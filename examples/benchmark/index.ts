// Runs every benchmark and writes results.md: npm run bench [-- --quick]
import { execFile } from 'node:child_process'
import { readdir, writeFile } from 'node:fs/promises'
import { parseArgs, promisify } from 'node:util'
import { describeMachine } from './report.js'

const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })
const RESULTS = new URL('results.md', import.meta.url)

/** What the others use, and what is started by them. */
const PARTS = ['index', 'report', 'engines', 'form', 'plot', 'peer', 'peers', 'server', 'servers', 'serializer-run']

const files = await readdir(import.meta.dirname)
const benchmarks = files.filter(file => file.endsWith('.ts')).map(file => file.slice(0, -3)).filter(name => !PARTS.includes(name))
const machine = await describeMachine()
const reports: string[] = []
for (const name of benchmarks.sort()) {
  console.error(`${name} ...`)
  const { stdout } = await promisify(execFile)('npx', ['tsx', `${import.meta.dirname}/${name}.ts`, ...quick ? ['--quick'] : []], { maxBuffer: 2 ** 26 })
  // Each says by itself what it was taken on.
  reports.push(stdout.replace(machine, '').trim())
}
const date = new Date().toISOString().slice(0, 10)
const report = `# Benchmarks\n\n${date}${quick ? ', a quick try' : ''}. Repeat them with \`npm run bench\`.\n\n${machine}\n${reports.join('\n\n')}\n\n![Growth](growth.svg)\n`
await writeFile(RESULTS, report)
console.log(report)
