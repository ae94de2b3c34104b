// The package as it is published: installed into apps of three kinds that have nothing but Fastify, and held against
// the tools that know what goes wrong in packages.
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint } from 'publint'
import t from 'tap'
import { createApp, install, measure, pack, run, runTool } from './fixtures/package.js'
import { root } from './fixtures/root.js'

const { peerDependencies, devDependencies, ...manifest } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

// Outside the project, whose own packages would be found from inside.
const dir = await mkdtemp(join(await realpath(tmpdir()), 'fastify-multi-status-'))
t.teardown(() => rm(dir, { recursive: true }))
const { tarball, files } = await pack(dir)
const home = join(dir, 'home')
const withVersion = (names: string[]) => names.map(name => `${name}@${devDependencies[name]}`)

await install(home, withVersion(['fastify', '@types/node']))
const before = await measure(home)
await install(home, [tarball])
const after = await measure(home)
await install(home, withVersion(['@fastify/type-provider-typebox']))

t.test('the tarball has what runs and its types, and nothing else', async t => {
  const others = files.filter(path => !/^dist\/(esm|cjs)\/(lib|schemas)\/.+\.(js|d\.ts)$/.test(path)).sort()

  t.strictSame(others, ['LICENSE', 'README.md', 'dist/cjs/package.json', 'package.json'])
})

t.test('publint finds nothing', async t => {
  const { buffer } = new Uint8Array(await readFile(tarball))
  const { messages } = await publint({ pack: { tarball: buffer }, strict: true })

  t.strictSame(messages, [])
})

t.test('the types resolve for everyone, by import and by require', async t => {
  await t.resolves(runTool('@arethetypeswrong/cli/dist/index.js', [tarball, '--no-color', '--format', 'ascii']))
})

t.test('every entry point gives import and require the same', async t => {
  const entries = Object.keys(manifest.exports).filter(entry => entry !== './package.json')
  const code = `Promise.all(${JSON.stringify(entries)}.map(async entry => {
    const name = 'fastify-multi-status' + entry.slice(1)
    const names = value => Object.keys(value).filter(name => !['default', 'module.exports', '__esModule'].includes(name)).sort()
    return [entry, names(await import(name)), names(require(name))]
  })).then(all => console.log(JSON.stringify(all)))`
  const all = JSON.parse(await run(process.execPath, ['--input-type=commonjs', '-e', code])) as [string, string[], string[]][]

  for (const [entry, imported, required] of all) {
    t.ok(imported.length > 0, entry)
    t.strictSame(imported, required, entry)
  }
})

const answers = '207 ada@example.org Invalid data,Too long\n'.repeat(2)

for (const [kind, type, options] of [
  ['an ES module', 'module', { module: 'nodenext' }],
  ['an ES module with moduleResolution bundler', 'module', { module: 'es2022', moduleResolution: 'bundler' }],
  ['CommonJS with moduleResolution node16', 'commonjs', { module: 'node16' }],
  ['CommonJS with moduleResolution bundler', 'commonjs', { module: 'commonjs', moduleResolution: 'bundler' }]
] as const) {
  t.test(`an app in TypeScript as ${kind} compiles under strict, libraries checked as well, and answers 207`, async t => {
    const app = await createApp(join(home, kind.replaceAll(' ', '-')), type, 'app.ts', options)
    await runTool('typescript/bin/tsc', ['-p', '.'], app)

    t.equal(await run(process.execPath, ['out/app.js'], app), answers)
  })
}

t.test('an app in plain CommonJS needs no optional peer, and is told which one an entry point wants', async t => {
  const app = await createApp(join(home, 'plain'), 'commonjs', 'plain.cjs')
  const told = await run(process.execPath, ['plain.cjs'], app)

  t.strictSame(told.trim().split('\n'), [
    '/items 207 total=1, succeeded=1, failed=0',
    '/tasks 207 total=2, succeeded=1, failed=1',
    '/upload 207 total=2, succeeded=1, failed=1',
    'files 1 documentation 200',
    'client loads loads',
    'redis-idempotency loads loads',
    'storage-suite loads loads',
    'engine-suite loads loads',
    'idempotency-suite loads loads',
    's3 MODULE_NOT_FOUND @aws-sdk/client-s3 ERR_MODULE_NOT_FOUND @aws-sdk/client-s3',
    'bullmq MODULE_NOT_FOUND ioredis ERR_MODULE_NOT_FOUND ioredis'
  ])
})

t.test('every peer but Fastify is optional', async t => {
  const { fastify, ...others } = peerDependencies

  t.ok(fastify)
  t.strictSame(manifest.peerDependenciesMeta, Object.fromEntries(Object.keys(others).map(name => [name, { optional: true }])))
})

t.test('what it adds to an app is what the README says', async t => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const [, packages, megabytes] = /adds fewer than (\d+) packages and (\d+) MB/.exec(readme)!.map(Number) as [unknown, number, number]
  const added = { packages: after.packages - before.packages, megabytes: (after.bytes - before.bytes) / 1e6 }
  t.comment(added)

  // Others than ours grow by themselves; what is said is a bound, and not far off.
  t.ok(added.packages < packages && added.packages > packages * 0.6, `${added.packages} packages`)
  t.ok(added.megabytes < megabytes && added.megabytes > megabytes * 0.6, `${added.megabytes} MB`)
})
