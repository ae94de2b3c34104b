// The list of errors: it has every error that the source can raise, each with its status, its cause and its cure.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import * as clientErrors from '../lib/client/errors.js'
import * as errors from '../lib/errors.js'
import { readme } from './fixtures/readme.js'
import { root } from './fixtures/root.js'

const { errorList } = errors
const lib = join(root, 'lib')

t.test('no two errors of a kind share a code, and each has a cause and a cure', async t => {
  t.ok(errorList.length > 60)
  const names = errorList.map(({ kind, code }) => `${kind} ${code}`)
  t.strictSame(names.filter((name, index) => names.indexOf(name) !== index), [])
  for (const { code, cause, cure } of errorList) t.ok([cause, cure].every(text => /^.{5,}[.`]$/.test(text)), code)
})

t.test('every code that another file names is in the list', async t => {
  const listed = new Set(errorList.map(({ code }) => code))
  const files = (await readdir(lib, { recursive: true })).filter(file => file.endsWith('.ts') && !/suite|client|^errors/.test(file))
  for (const file of files) {
    const text = await readFile(join(lib, file), 'utf8')
    for (const [, code] of text.matchAll(/(?:code: '(?!FST_ERR)|'(?=FST_MULTI))([A-Z_]+[A-Z])'/g)) t.ok(listed.has(code!), `${file}: ${code}`)
  }
})

t.test('every error class of the client is in the README', async t => {
  const classes = Object.values(clientErrors).filter(one => typeof one === 'function' && one.prototype instanceof Error)
  t.ok(classes.length > 2)
  for (const { name } of classes) t.match(readme, `| \`${name}\` |`)
})

/** Values that each of these functions can make an error of. */
const VALUES: Record<string, unknown[]> = {
  invalidItem: [[]], invalidItemDetail: [[]], headerNotAllowed: ['te'], methodNotAllowed: ['TRACE'], failedDependency: ['1', true], rateLimited: [1]
}

t.test('every error of an item has the status that is listed, and says whether sending it again helps', async t => {
  const made = Object.entries(errors).filter(([name, make]) => /^[a-z]/.test(name) && typeof make === 'function' && !/^(is|toF)/.test(name))
    .map(([name, make]) => (make as (...values: unknown[]) => errors.ItemError)(...VALUES[name] ?? ['why', 1, 'them']))
  const items = new Map(errorList.filter(({ kind }) => kind === 'item').map(error => [error.code, error]))

  t.ok(made.length > 15)
  for (const { code, statusCode, retryable } of made) {
    const listed = items.get(code)!
    t.equal(statusCode, listed.statusCode, code)
    t.ok(listed.retryable === retryable || listed.retryable === 'as that', code)
  }
})
