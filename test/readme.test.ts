// The README: every snippet is type-checked, and the first one answers its curl with what is printed below it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import t from 'tap'
import ts from 'typescript'

const root = resolve(import.meta.dirname, '..')
// Inside the package, so that `fastify-multi-status` is the package itself.
const dir = join(root, '.tap', 'readme')
const readme = await readFile(join(root, 'README.md'), 'utf8')

await rm(dir, { recursive: true, force: true })
await mkdir(dir, { recursive: true })
const files = await Promise.all(blocks('ts').map(async (code, index) => {
  const file = join(dir, `snippet-${index}.ts`)
  await writeFile(file, code)
  return file
}))

t.test('every snippet type-checks under strict', async t => {
  const program = ts.createProgram(files, {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node']
  })
  const problems = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) =>
    `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)

  t.ok(files.length > 3)
  t.strictSame(problems, [])
})

t.test('the first snippet answers as the README says', async t => {
  const port = await freePort()
  const server = spawn('npx', ['tsx', files[0]!], { cwd: root, env: { PATH: process.env.PATH, PORT: String(port), _TAPJS_PROCESSINFO_COVERAGE_: '0' }, detached: true, stdio: 'inherit' })
  t.teardown(async () => {
    process.kill(-server.pid!)
    await once(server, 'exit')
  })
  await listening(port)

  const [command] = blocks('sh')
  const [, payload] = /-d '(.+)'/.exec(command!)!
  const response = await fetch(`http://localhost:${port}/contacts`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: payload!
  })
  const [head, body] = blocks('http')[0]!.split('\n\n') as [string, string]

  t.equal(`HTTP/1.1 ${response.status} ${response.statusText}`, head.split('\n')[0])
  t.equal(`multi-status: ${response.headers.get('multi-status')}`, head.split('\n')[1])
  t.equal(await response.text(), body.trim())
})

function blocks (language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(match => match[1]!)
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function listening (port: number): Promise<void> {
  for (let left = 300; left > 0; left--) {
    try {
      await fetch(`http://localhost:${port}/`)
      return
    } catch {
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
  throw new Error(`Nothing listens at port ${port}`)
}
