// Generates the code that checks a value and copies of it what its shape declares, for an engine whose JSON.stringify is
// faster than anything that JavaScript can do. A copy has no toJSON, no getter and nothing that is not declared.
// The code is made of the schema alone, as in shape-writer.ts.
import { guard, type Member, type RecordShape, type Shape, type SingleShape } from './shape.js'

/** Copies a value; undefined of one that may not have the shape. */
export type CopyShape = (value: object) => object | undefined

/** Statements that are left where a value may not have the shape, and the expression that then is the copy. */
export interface Copy { readonly code: string, readonly result: string }

/** Makes the function that copies an object of this shape; that it is an object, and has no toJSON, must be known. */
export function generateCopier (shape: Shape): CopyShape {
  const { code, result } = copyShape(shape, 'value', 'return undefined')
  // eslint-disable-next-line no-new-func
  return new Function('value', `'use strict'\n${code}\nreturn ${result}`) as CopyShape
}

function copyGuarded (shape: Shape, value: string, leave: string): Copy {
  if (shape.kind === 'choice') return copyChoice(shape.options, value, leave)
  const { code, result } = copyShape(shape, value, leave)
  return { code: `if (!(${guard(shape, value)})) ${leave}\n${code}`, result }
}

function copyChoice (options: readonly SingleShape[], value: string, leave: string): Copy {
  const result = `choice_${value}`
  const branches = options.map(option => {
    const copy = copyShape(option, value, leave)
    return `if (${guard(option, value)}) { ${copy.code}\n${result} = ${copy.result} }`
  })
  return { code: `let ${result}\n${branches.join(' else ')} else ${leave}`, result }
}

/** Copies a value that has passed the guard of the shape. */
export function copyShape (shape: Shape, value: string, leave: string): Copy {
  if (shape.kind === 'list') return copyList(shape.items, value, leave)
  if (shape.kind === 'object') return copyMembers(shape.members, value, leave)
  if (shape.kind === 'record') return copyRecord(shape, value, leave)
  return { code: '', result: value }
}

function copyList (items: Shape, list: string, leave: string): Copy {
  const [item, index, result] = [`item_${list}`, `index_${list}`, `list_${list}`]
  const copy = copyGuarded(items, item, leave)
  return {
    code: `const ${result} = []
for (let ${index} = 0; ${index} < ${list}.length; ${index}++) {
  const ${item} = ${list}[${index}]
  ${copy.code}
  ${result}.push(${copy.result})
}`,
    result
  }
}

/** A copy cannot have a member of the name __proto__. */
function copyRecord ({ names, values }: RecordShape, record: string, leave: string): Copy {
  const [name, value, result] = [`name_${record}`, `value_${record}`, `record_${record}`]
  const copy = copyGuarded(values, value, leave)
  return {
    code: `const ${result} = {}
for (const ${name} of Object.keys(${record})) {
  if (${name} === '__proto__' || !(${guard(names, name)})) ${leave}
  const ${value} = ${record}[${name}]
  ${copy.code}
  ${result}[${name}] = ${copy.result}
}`,
    result
  }
}

function copyMembers (members: readonly Member[], object: string, leave: string): Copy {
  const copies = members.map(({ name, required, shape }, index) => {
    const value = `${object}_${index}`
    const { code, result } = copyGuarded(shape, value, leave)
    const read = `const ${value} = ${object}[${JSON.stringify(name)}]\n`
    if (required) return { name, code: read + code, result }
    // What is undefined is no member in JSON.
    return { name, code: `${read}let maybe_${value}\nif (${value} !== undefined) { ${code}\nmaybe_${value} = ${result} }`, result: `maybe_${value}` }
  })
  // Not where it is used, as that may be in several objects of which one is made.
  const copy = `copy_${object}`
  const made = makeObject(copies, members.findLastIndex(({ required }) => required))
  return { code: [...copies.map(({ code }) => code), `const ${copy} = ${made}`].join('\n'), result: copy }
}

/** From so many on, members at the end that may be missing are written as undefined. */
const MANY_MAYBES = 8

/** An expression for an object that ends with the last member that it has, because each that is undefined takes time to be left out. */
function makeObject (copies: readonly { name: string, result: string }[], lastRequired: number): string {
  const certain = copies.length - lastRequired - 1 < MANY_MAYBES ? lastRequired + 1 : copies.length
  const literal = (count: number) => `{ ${copies.slice(0, count).map(({ name, result }) => `${JSON.stringify(name)}: ${result}`).join(', ')} }`
  let made = literal(certain)
  for (let count = certain + 1; count <= copies.length; count++) made = `${copies[count - 1]!.result} !== undefined ? ${literal(count)} : ${made}`
  return made
}
