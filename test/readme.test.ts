// The README: every snippet is type-checked, what it shows is what happens, and its tables come from the source.
import { execFile } from 'node:child_process'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import ts from 'typescript'
import { blocks, readme, runSnippet } from './fixtures/readme.js'
import { root } from './fixtures/root.js'
import { withReference } from './fixtures/reference.js'

t.test('every snippet type-checks under strict', async t => {
  const snippets = Object.fromEntries(blocks('ts').map((code, index) => [`snippet-${index}.ts`, code]))
  const dir = t.testdir(snippets)
  const files = Object.keys(snippets).map(name => join(dir, name))
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

  t.ok(files.length > 15)
  t.strictSame(problems, [])
})

/** Sends the commands of a section to its app; each is answered with what is printed below it. */
async function checkAnswers (t: Test, heading: string): Promise<void> {
  const app = await runSnippet(t, heading, code => code.replace('./uploads', join(t.testdirName, 'uploads')))
  const address = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  const answers = blocks('http', heading)
  for (const [index, command] of blocks('sh', heading).entries()) {
    const { stdout } = await promisify(execFile)('sh', ['-c', command.replace('localhost:3000', address.host)])
    const [head, body] = stdout.split('\r\n\r\n') as [string, string]
    const [shown, expected] = answers[index]!.split('\n\n') as [string, string]
    const lines = head.split('\r\n')
    t.strictSame(shown.split('\n').filter(line => !lines.includes(line)), [], lines[0]!)
    t.equal(body, expected.trim())
  }
}

t.test('plain Fastify answers 400 for all, and 500 after the work, as the README says', async t => {
  t.equal(blocks('sh', '## The problem').length, 2)
  await checkAnswers(t, '## The problem')
})

t.test('after that 500 the work has been done', async t => {
  const app = await runSnippet(t, '## The problem', code => `${code}\napp.get('/saved', async () => [...saved])`)
  const post = (...emails: string[]) => app.inject({ method: 'POST', url: '/contacts', payload: emails.map(email => ({ email, name: 'Name' })) })
  const saved = async () => (await app.inject('/saved')).json()

  t.equal((await post('bob@example.org', 'nonsense')).statusCode, 400)
  t.strictSame(await saved(), ['ada@example.org'])
  t.equal((await post('bob@example.org', 'ada@example.org')).statusCode, 500)
  t.strictSame(await saved(), ['ada@example.org', 'bob@example.org'])
})

t.test('the same route with the plugin answers as the README says', async t => {
  t.equal(blocks('sh', '## The same route').length, 1)
  await checkAnswers(t, '## The same route')
})

t.test('tasks are answered as the README says', async t => {
  t.equal(blocks('sh', '## Uploads').length, 1)
  await checkAnswers(t, '## Uploads')
})

t.test('a stream is answered as the README says', async t => {
  const app = await runSnippet(t, '## A whole bulk route')
  const address = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  const [command, ...expected] = blocks('sh', 'Batches larger than memory')[0]!.trim().split('\n')
  const { stdout } = await promisify(execFile)('sh', ['-c', command!.replace('localhost:3000', address.host)])

  // In the order in which they are done, which need not be the same again.
  t.equal(stdout.trim().split('\n').length, 3)
  for (const line of expected) t.match(stdout, line.replace('...}', ''))
})

t.test('every file that the README links to is there', async t => {
  const links = [...readme.matchAll(/(?<!!)\[[^\]]*\]\((?!https?:)([^)#]+)\)/g)].map(match => match[1]!)

  t.ok(links.length > 1)
  for (const link of links) await t.resolves(access(join(root, link)), link)
})

t.test('the tables of options and errors are up to date; `npx tsx test/fixtures/reference.ts` writes them', async t => {
  t.match(readme, '| `upload.limits.fileSize` | `\'10mb\'` |')
  t.equal(readme, withReference(readme))
})
