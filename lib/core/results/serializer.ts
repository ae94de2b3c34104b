// Results -> JSON, one branch of the contract per status. A result that does not fit becomes a failure; the rest survive.
import { generic, type AnyContract, type Key } from '../../../schemas/index.js'
import { invalidResult, toFailure } from '../../errors.js'
import { compileBranches, compileCheck, type Branch, type Serialized } from './branch.js'
import type { SharedSchemas } from './declared.js'
import { createPairMap } from '../pair-map.js'
import { chooseSheet, minimalSheet, type Frame, type NewSheet } from './sheet.js'

/** What the serializer needs to know about the results beside themselves. */
export interface SerializeContext {
  /** Whether a success is to have only its key and status, although it must be right as a whole. */
  readonly minimal?: boolean
  /** The keys of the items, for results that may not know theirs. @default a result's own is all that is known */
  readonly keys?: readonly (Key | null)[]
  /** Called for every result that does not fit the contract. */
  onInvalid (index: number, key: Key | null, why: string): void
}

/** A body in the making. */
export interface Serialization {
  /** How many results there are. */
  readonly total: number
  /** How many of those that have been serialized are failures. */
  failed (): number
  /** The next piece of the body: all that is left of it if that is no more than about so many bytes. Text, if it is the whole. */
  next (bytes: number): { piece: string | Buffer, isLast: boolean }
}

/** Serializes results piece by piece. It never throws, whatever the results are. */
export type SerializeResults = (results: readonly unknown[], frame: Frame, context: SerializeContext) => Serialization

/** The way of one result that the sheet does not take; a result whose JSON is known as a success or failure, or why it is neither. */
type SerializeOne = (result: unknown, minimal: boolean) => Serialized & { failed?: boolean }

/** How results are put together: by the sheet, and one by one where it cannot take them. */
interface Plan {
  readonly newSheet: NewSheet
  readonly newMinimalSheet: NewSheet
  readonly serializeOne: SerializeOne
}

/** Serializes one result by itself, without an envelope. */
export function serializeAlone (serialize: SerializeResults, result: unknown, context: SerializeContext): { text: string, failed: boolean } {
  const serialization = serialize([result], NO_FRAME, context)
  const { piece } = serialization.next(Infinity)
  return { text: piece as string, failed: serialization.failed() > 0 }
}

const NO_FRAME: Frame = { head: '', tail: '' }

/** Of contracts that refer to nothing, which mean the same everywhere. */
const compiled = new WeakMap<AnyContract, SerializeResults>()

/** Of contracts that refer to shared schemas, of which every context of an app may have its own. */
const compiledFor = createPairMap<AnyContract, SchemaOwner, SerializeResults>()

/** What gives the schemas that a contract may refer to, as a context of an app does. */
export interface SchemaOwner { getSchemas (): SharedSchemas }

/**
 * The serializer of a contract, compiled when first asked for; without a contract, one that takes any object.
 * @param owner of the schemas that the contract may refer to; not needed for one that refers to none
 */
export function serializerOf (contract: AnyContract | undefined, owner?: SchemaOwner): SerializeResults {
  if (contract === undefined) return serializeAnything
  return compiled.get(contract) ?? (owner && compiledFor.get(contract, owner)) ?? compileFor(contract, owner)
}

function compileFor (contract: AnyContract, owner: SchemaOwner | undefined): SerializeResults {
  if (JSON.stringify(contract.schemas.body).includes('"$ref":')) {
    const serialize = compileSerializer(contract, owner!.getSchemas())
    compiledFor.set(contract, owner!, serialize)
    return serialize
  }
  // Whose schemas refer to nothing is not to suffer from what else the app has.
  const serialize = compileSerializer(contract)
  compiled.set(contract, serialize)
  return serialize
}

/**
 * Compiles the serializer of a contract.
 * @param prefersCopies see {@link chooseSheet}
 */
export function compileSerializer (contract: AnyContract, shared: SharedSchemas = {}, prefersCopies?: boolean): SerializeResults {
  const branches = compileBranches(contract, shared)
  return createSerializer(contract, {
    newSheet: chooseSheet(branches, prefersCopies),
    newMinimalSheet: minimalSheet(branches),
    serializeOne: serializeBranches(branches)
  }, shared)
}

function serializeBranches (branches: ReadonlyMap<unknown, Branch>): SerializeOne {
  return (result, minimal) => {
    if (result === null || typeof result !== 'object') return { why: 'it is no object' }
    const { status, toJSON } = result as { status?: unknown, toJSON?: unknown }
    if (typeof toJSON === 'function') return { why: 'it has a toJSON of its own' }
    const branch = branches.get(status)
    if (branch === undefined) return { why: `its status is none of ${[...branches.keys()].join(', ')}` }
    return { ...branch.serialize(result, minimal), failed: branch.failed }
  }
}

/** A result that is slow to serialize counts for as many bytes, for the time that it takes. */
const SLOW_BYTES = 2048

function createSerializer (contract: AnyContract, plan: Plan, shared: SharedSchemas): SerializeResults {
  const isKey = compileCheck(contract.schemas.key, shared)

  return (results, frame, { minimal = false, keys, onInvalid }) => {
    const sheet = (minimal ? plan.newMinimalSheet : plan.newSheet)(frame)
    const total = results.length
    let failedSlowly = 0
    let index = 0

    function addSlowly (result: unknown): void {
      const one = trySerialize(plan.serializeOne, result, minimal)
      if (!('json' in one) || one.failed) failedSlowly++
      sheet.addJson('json' in one ? one.json : refuse(result, one.why))
      index++
    }

    function refuse (result: unknown, why: string): string {
      const key = keyIn(result, contract.key, isKey) ?? keys?.[index] ?? null
      onInvalid(index, key, why)
      return JSON.stringify(contract.fail(key, toFailure(invalidResult())))
    }

    return {
      total,
      failed: () => sheet.failed() + failedSlowly,
      next (bytes) {
        const isFull = () => index === total || sheet.size() + slow >= bytes
        let slow = 0
        do {
          index = sheet.fill(results, index, bytes - slow)
          if (isFull()) break
          addSlowly(results[index])
          slow += SLOW_BYTES
        } while (!isFull())
        return { piece: sheet.take(index === total), isLast: index === total }
      }
    }
  }
}

function trySerialize (serializeOne: SerializeOne, result: unknown, minimal: boolean): ReturnType<SerializeOne> {
  try {
    return serializeOne(result, minimal)
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

/** Without a contract: what JSON.stringify makes of it, as long as that is an object. */
const serializeAnything = createSerializer(generic, {
  newSheet: chooseSheet(new Map()),
  newMinimalSheet: minimalSheet(new Map()),
  serializeOne: result => {
    const json = JSON.stringify(result) as string | undefined
    if (json === undefined || json[0] !== '{') return { why: 'it is no object' }
    const { status } = result as { status?: unknown }
    return { json, failed: isFailureWord(status) }
  }
}, {})
