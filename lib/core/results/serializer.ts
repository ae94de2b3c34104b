// Serializes results, one branch of the contract per status. A result that does not fit becomes a failure; the rest survive.
import { generic, type AnyContract, type Key } from '../../../schemas/index.js'
import { invalidResult, toFailure } from '../../errors.js'
import { compileBranches, compileCheck, hasToJson, isPlain, type Branch, type SharedSchemas } from './branch.js'

/** What the serializer needs to know about the results beside themselves. */
export interface SerializeContext {
  /** Whether a success is to have only its key and status, although it must be right as a whole. */
  readonly minimal?: boolean
  /** The keys of the items, for results that may not know theirs. @default a result's own is all that is known */
  readonly keys?: readonly (Key | null)[]
  /** Called for every result that does not fit the contract. */
  onInvalid (index: number, key: Key | null, why: string): void
}

/** Results that become JSON, slice by slice. */
export interface Serialization {
  /** How many results there are. */
  readonly total: number
  /** How many of those that have been serialized are failures. */
  failed (): number
  /** The next part of the results as an array in JSON: about so many characters, and at least one result. */
  next (length: number): { text: string, isLast: boolean }
}

/** Serializes results. It never throws, whatever the results are. */
export type SerializeResults = (results: readonly unknown[], context: SerializeContext) => Serialization

/** Serializes one result by itself. */
export function serializeAlone (serialize: SerializeResults, result: unknown, context: SerializeContext): { text: string, failed: boolean } {
  const serialization = serialize([result], context)
  const { text } = serialization.next(Infinity)
  return { text: text.slice(1, -1), failed: serialization.failed() > 0 }
}

/** What gives the schemas that a contract may refer to, as a context of an app does. */
export interface SchemaOwner { getSchemas (): SharedSchemas }

/** Contracts that refer to no other schema mean the same everywhere. */
const ANYWHERE: SchemaOwner = { getSchemas: () => ({}) }

/** By contract and by owner, because every context of an app may have shared schemas of its own. */
const compiled = new WeakMap<AnyContract, WeakMap<SchemaOwner, SerializeResults>>()

/**
 * The serializer of a contract, compiled when first asked for; without a contract, one that takes any object.
 * @param owner of the schemas that the contract may refer to; not needed for one that refers to none
 */
export function serializerOf (contract: AnyContract | undefined, owner = ANYWHERE): SerializeResults {
  if (contract === undefined) return serializeAnything
  const owners = compiled.get(contract)
  return owners?.get(ANYWHERE) ?? owners?.get(owner) ?? compileFor(contract, owner)
}

function compileFor (contract: AnyContract, owner: SchemaOwner): SerializeResults {
  // Whose schemas refer to nothing is not to suffer from what else the app has.
  const needed = JSON.stringify(contract.schemas.body).includes('"$ref":') ? owner : ANYWHERE
  const serialize = compileSerializer(contract, needed.getSchemas())
  const owners = compiled.get(contract) ?? new WeakMap<SchemaOwner, SerializeResults>()
  compiled.set(contract, owners.set(needed, serialize))
  return serialize
}

/** Compiles the serializer of a contract. */
export function compileSerializer (contract: AnyContract, shared: SharedSchemas = {}): SerializeResults {
  const branches = compileBranches(contract, shared)
  const isKey = compileCheck(contract.schemas.key, shared)
  return createSerializer({
    contract,
    isKey,
    find: result => branches.get(result.status),
    expected: `its status is none of ${[...branches.keys()].join(', ')}`
  })
}

/** How results are serialized. */
interface Rules {
  /** Says in its words that a result does not fit. */
  readonly contract: AnyContract
  isKey (value: unknown): boolean
  /** The branch that a result belongs to. */
  find (result: { status?: unknown }): Branch | undefined
  /** What to say of a result that belongs to none. */
  readonly expected: string
}

/** How many results tell about how long one is, and how many are serialized at a time at most. */
const SAMPLE = 16
const MOST = 1000

/** A result that takes the slow way counts for as many characters, for the time that it takes. */
const SLOW_LENGTH = 2048

function createSerializer (rules: Rules): SerializeResults {
  return (results, context) => {
    const total = results.length
    let index = 0
    let failed = 0
    let average = estimateLength(results)

    return {
      total,
      failed: () => failed,
      next (length) {
        const start = index
        const texts: string[] = []
        for (let spent = 0; index < total && spent < length;) {
          const end = Math.min(index + Math.min(Math.ceil((length - spent) / average), MOST), total)
          const slice = serializeSlice(rules, results, index, end, context)
          texts.push(slice.text)
          failed += slice.failed
          const cost = slice.text.length + slice.slow * SLOW_LENGTH
          average = cost / (end - index)
          spent += cost
          index = end
        }
        // As it is if it is all, because to cut a long text costs a copy of it.
        if (start === 0 && index === total && texts.length === 1) return { text: texts[0]!, isLast: true }
        const text = texts.map(one => one.slice(1, -1)).join(',')
        return { text: `${start === 0 ? '[' : ','}${text}${index === total ? ']' : ''}`, isLast: index === total }
      }
    }
  }
}

/** About how many characters a result has. */
function estimateLength (results: readonly unknown[]): number {
  try {
    const sample = Array.from(results.slice(0, SAMPLE))
    return JSON.stringify(sample).length / Math.max(sample.length, 1)
  } catch {
    return SLOW_LENGTH
  }
}

/** Some results as an array in JSON. */
interface Slice {
  text: string
  /** How many of them are failures. */
  failed: number
  /** How many of them have taken the slow way. */
  slow: number
}

function serializeSlice (rules: Rules, results: readonly unknown[], start: number, end: number, context: SerializeContext): Slice {
  const slice: Slice = { text: '', failed: 0, slow: 0 }
  const texts: string[] = []
  const addSlowly = (from: number, to: number) => {
    for (let index = from; index < to; index++) {
      const { json, failed } = serializeSlowly(rules, results[index], index, context)
      texts.push(json)
      slice.slow++
      if (failed) slice.failed++
    }
  }
  for (let next = start; next < end;) {
    const run = takeRun(rules, results, next, end)
    const json = tryStringify(rules, run, context.minimal)
    if (json !== undefined) slice.failed += run.failed
    if (json !== undefined && run.results.length === end - start) return { ...slice, text: json }
    if (json === undefined) addSlowly(next, run.end)
    else if (run.results.length > 0) texts.push(json.slice(1, -1))
    next = run.end
    if (next < end) addSlowly(next, ++next)
  }
  return { ...slice, text: `[${texts.join(',')}]` }
}

/** Results that follow each other, all of which JSON.stringify may write. */
interface Run {
  readonly results: object[]
  readonly end: number
  readonly failed: number
}

function takeRun ({ find }: Rules, results: readonly unknown[], start: number, end: number): Run {
  const run = { results: [] as object[], end: start, failed: 0 }
  try {
    for (; run.end < end; run.end++) {
      const result = results[run.end]
      if (typeof result !== 'object' || result === null) return run
      const branch = find(result)
      if (branch === undefined || !branch.fits(result)) return run
      run.results.push(result)
      if (branch.failed) run.failed++
    }
  } catch {
    // The slow way says why this one cannot be read.
  }
  return run
}

/** @returns undefined where there is something in an open member that JSON cannot hold, as a BigInt */
function tryStringify ({ find }: Rules, { results }: Run, minimal = false): string | undefined {
  try {
    const json = JSON.stringify(results)
    return minimal ? JSON.stringify(results.map(result => find(result)!.minimize(result))) : json
  } catch {
    return undefined
  }
}

function serializeSlowly (
  rules: Rules, result: unknown, index: number, { minimal = false, keys, onInvalid }: SerializeContext
): { json: string, failed: boolean } {
  const one = trySerialize(rules, result, minimal)
  if ('json' in one) return one
  const key = keyIn(result, rules.contract.key, rules.isKey) ?? keys?.[index] ?? null
  onInvalid(index, key, one.why)
  return { json: JSON.stringify(rules.contract.fail(key, toFailure(invalidResult()))), failed: true }
}

type Attempt = { json: string, failed: boolean } | { why: string }

function trySerialize ({ find, expected }: Rules, result: unknown, minimal: boolean): Attempt {
  try {
    const value = hasToJson(result) ? result.toJSON() : result
    if (value === null || typeof value !== 'object') return { why: 'it is no object' }
    const branch = find(value)
    return branch === undefined ? { why: expected } : { ...branch.serializeSlowly(value, minimal), failed: branch.failed }
  } catch (error) {
    return { why: `it cannot be read: ${messageOf(error)}` }
  }
}

/** A getter can throw anything, also what cannot be looked at. */
function messageOf (error: unknown): string {
  try {
    return String((error as Error).message)
  } catch {
    return typeof error
  }
}

function keyIn (result: unknown, name: string, isKey: (value: unknown) => boolean): Key | null {
  try {
    const key = (result as Record<string, unknown>)[name]
    return (typeof key === 'string' || typeof key === 'number') && isKey(key) ? key : null
  } catch {
    return null
  }
}

const FAILURE_WORDS = new Set<unknown>(['error', 'failed'])

/** Whether a result with this status, of which no contract says anything, counts as a failure. */
export function isFailureWord (status: unknown): boolean {
  return FAILURE_WORDS.has(status) || (typeof status === 'number' && status >= 400)
}

/** Without a contract: what JSON.stringify makes of a result, as long as that is an object. */
const anything: Omit<Branch, 'failed'> = {
  fits: result => !Array.isArray(result) && isPlain(result),
  minimize: result => result,
  serializeSlowly (result) {
    const json = JSON.stringify(result)
    return json.startsWith('{') ? { json } : { why: 'it is no object' }
  }
}
const [success, failure] = [{ ...anything, failed: false }, { ...anything, failed: true }]

const serializeAnything = createSerializer({
  contract: generic,
  isKey: compileCheck(generic.schemas.key, {}),
  find: ({ status }) => isFailureWord(status) ? failure : success,
  expected: ''
})
