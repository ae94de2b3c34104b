// The list of errors in the README: it has every error that the source can raise, with its status, and no other.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { ItemError } from '../lib/index.js'
import { root } from './fixtures/root.js'

/** What the source says of an error: by its code, or by its class where it has none. */
const raised = new Map<string, Set<number>>()
for (const dir of ['lib', 'schemas']) {
  for (const file of await readdir(join(root, dir), { recursive: true })) {
    // Checks of engines and storages make errors to see what becomes of them.
    if (!file.endsWith('.ts') || /suite/.test(file)) continue
    collect(ts.createSourceFile(file, await readFile(join(root, dir, file), 'utf8'), ts.ScriptTarget.Latest, true))
  }
}

/** Finds codes that are given to `createError`, to a member `code`, or to a function with a parameter of this name. */
function collect (source: ts.SourceFile): void {
  const places = new Map<string, number>([['createError', 0]])
  walk(source, node => {
    const [name, { parameters }] = namedFunction(node)
    const place = parameters.findIndex(parameter => parameter.name.getText() === 'code')
    if (name !== undefined && place >= 0) places.set(name, place)
  })
  walk(source, node => {
    if (ts.isCallExpression(node) && places.has(node.expression.getText())) {
      note(node.arguments[places.get(node.expression.getText())!], node.arguments)
    }
    if (ts.isPropertyAssignment(node) && node.name.getText() === 'code') note(node.initializer, statusIn(node.parent))
    if (ts.isBinaryExpression(node) && node.left.getText() === 'this.code') {
      note((node.right as ts.BinaryExpression).right, [])
    }
    if (ts.isThrowStatement(node) && ts.isNewExpression(node.expression)) {
      const name = node.expression.expression.getText()
      // Those made by `createError` are known by their codes.
      if (name in globalThis) noteClass(name)
    }
    if (ts.isClassDeclaration(node) && node.heritageClauses?.[0]?.getText() === 'extends Error') noteClass(node.name!.text)
  })
}

function walk (node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node)
  node.forEachChild(child => walk(child, visit))
}

function namedFunction (node: ts.Node): [string | undefined, { parameters: readonly ts.ParameterDeclaration[] }] {
  if (ts.isFunctionDeclaration(node)) return [node.name?.text, node]
  if (ts.isVariableDeclaration(node) && node.initializer !== undefined && ts.isArrowFunction(node.initializer)) return [node.name.getText(), node.initializer]
  return [undefined, { parameters: [] }]
}

function statusIn (object: ts.Node): readonly ts.Expression[] {
  return ts.isObjectLiteralExpression(object)
    ? object.properties.filter(ts.isPropertyAssignment).filter(({ name }) => name.getText() === 'statusCode').map(({ initializer }) => initializer)
    : []
}

function note (code: ts.Expression | undefined, near: readonly ts.Expression[]): void {
  if (code === undefined || !ts.isStringLiteral(code) || code.text === '') return
  const statuses = raised.get(code.text) ?? new Set()
  raised.set(code.text, statuses)
  near.filter(ts.isNumericLiteral).forEach(({ text }) => statuses.add(Number(text)))
}

function noteClass (name: string): void {
  if (name !== ItemError.name) raised.set(name, new Set())
}

const readme = await readFile(join(root, 'README.md'), 'utf8')
const section = /^## Errors$.*?(?=^## )/ms.exec(readme)![0]
const rows = [...section.matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map(([, code, rest]) => ({ code: code!, cells: rest!.split(' | ') }))

t.test('every error is listed once, and every error that is listed exists', async t => {
  const listed = rows.map(({ code }) => code)

  t.ok(raised.size > 60)
  t.strictSame(listed.filter((code, index) => listed.indexOf(code) !== index), [], 'listed twice')
  t.strictSame([...raised.keys()].filter(code => !listed.includes(code)), [], 'raised but not listed')
  t.strictSame(listed.filter(code => !raised.has(code)), [], 'listed but never raised')
})

t.test('the status that is listed is the one that is sent', async t => {
  for (const { code, cells } of rows) {
    const statuses = raised.get(code) ?? new Set()
    const [status] = cells.map(Number).filter(Number.isInteger)
    if (status !== undefined && statuses.size > 0) t.strictSame([...statuses], [status], code)
  }
})

t.test('each has a cause and a cure', async t => {
  for (const { code, cells } of rows) t.ok(cells.slice(-2).every(cell => /^.{5,}\.$/.test(cell.replace(/`$/, '`.'))), code)
})
