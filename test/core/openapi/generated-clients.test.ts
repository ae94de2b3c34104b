// Clients that are generated from the document: they compile under strict, tell the results apart and know nothing of
// `any`; one of them drives the server.
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createClient } from '@hey-api/openapi-ts'
import openapiTS, { astToString } from 'openapi-typescript'
import { generate } from 'orval'
import t from 'tap'
import ts from 'typescript'
import { build } from '../../../examples/server.js'
import { root } from '../../fixtures/root.js'

// Inside the package, so that what is generated finds what it imports.
const dir = join(root, '.tap', 'clients')
const input = join(dir, 'openapi.json')

const app = await build({ UPLOAD_DIR: t.testdir(), FILE_SIZE_LIMIT: '1kb' })
t.teardown(() => app.close())
await app.listen({ host: '127.0.0.1', port: 0 })
const document = (await app.inject('/documentation/json')).json()

await rm(dir, { recursive: true, force: true })
await mkdir(dir, { recursive: true })
await cp(join(root, 'test', 'fixtures', 'clients'), dir, { recursive: true })
await writeFile(input, JSON.stringify(document))

/** Compiles what uses a client, with the client, and says what is wrong. */
function compile (file: string): string[] {
  const program = ts.createProgram([join(dir, file)], {
    strict: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    types: [],
    rootDir: dir,
    outDir: join(dir, 'out')
  })
  program.emit()
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) =>
    `${file?.fileName}:${(file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
}

t.test('openapi-typescript and openapi-fetch compile, narrow, and drive the server', async t => {
  await writeFile(join(dir, 'openapi-typescript.ts'), astToString(await openapiTS(structuredClone(document))))

  t.strictSame(compile('use-openapi-fetch.ts'), [])

  await writeFile(join(dir, 'out', 'package.json'), '{"type":"module"}')
  const { drive } = await import(pathToFileURL(join(dir, 'out', 'use-openapi-fetch.js')).href) as { drive (baseUrl: string): Promise<string[]> }
  const { port } = app.server.address() as AddressInfo
  t.strictSame(await drive(`http://127.0.0.1:${port}`), [
    'a.txt has 5 bytes',
    'b.txt: File too large',
    'c.txt has 0 bytes',
    'd.txt has 5 bytes',
    '1: "hi"',
    'two: No such image',
    '3: Invalid data',
    'ada@example.org is 1',
    'nonsense: Invalid data (#/email)',
    '422 FST_MULTI_STATUS_INVALID_ITEMS #/0/email',
    'total=2, succeeded=1, failed=1'
  ])
})

t.test('@hey-api/openapi-ts compiles and narrows', async t => {
  await createClient({ input, output: join(dir, 'hey-api'), logs: { level: 'silent', file: false } })

  t.strictSame(compile('use-hey-api.ts'), [])
})

t.test('orval compiles and narrows', async t => {
  await generate({ input: { target: input }, output: { target: join(dir, 'orval.ts'), client: 'fetch', mode: 'single' } }, dir)

  t.strictSame(compile('use-orval.ts'), [])
})
