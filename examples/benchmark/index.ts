// Runs every benchmark and writes results.md: npm run bench [-- --quick]
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { parseArgs, promisify } from 'node:util'
import { describeMachine } from './report.js'

const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })
const RESULTS = new URL('results.md', import.meta.url)

/** Each is a program of its own. */
const benchmarks = ['upload', 'serializer', 'validation', 'http', 'growth', 'tasks', 'batch']

const machine = await describeMachine()
const reports: string[] = []
for (const name of benchmarks) {
  console.error(`${name} ...`)
  const { stdout } = await promisify(execFile)('npx', ['tsx', `${import.meta.dirname}/${name}.ts`, ...quick ? ['--quick'] : []], { maxBuffer: 2 ** 26 })
  // Each says by itself what it was taken on.
  reports.push(stdout.replace(machine, '').trim())
}
const date = new Date().toISOString().slice(0, 10)
const report = `# Benchmarks\n\n${date}${quick ? ', a quick try' : ''}. Repeat them with \`npm run bench\`.\n\n${machine}\n${reports.join('\n\n')}\n\n![Growth](growth.svg)\n`
await writeFile(RESULTS, report)
console.log(report)
