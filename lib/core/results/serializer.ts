// Serializes results to JSON. A result that does not fit the contract becomes an INVALID_RESULT failure; the others stay.
import { generic, type AnyContract, type Key } from '../../../schemas/index.js'
import { invalidResult, toFailure } from '../../errors.js'
import { compileBranches, compileCheck, type Branch, type Serialized, type SharedSchemas } from './branch.js'

/** The JSON text before the results and after them. */
export interface Frame {
  readonly head: string
  readonly tail: string
}

/** How to serialize results. */
export interface SerializeContext {
  /** Whether a success is sent with only its key and status. The whole success must fit all the same. */
  readonly minimal?: boolean
  /** The keys of the items, for results without a key. @default only a result's own key is known */
  readonly keys?: readonly (Key | null)[]
  /** Called for each result that does not fit the contract. */
  onInvalid (index: number, key: Key | null, why: string): void
}

/** A body that is serialized piece by piece. */
export interface Serialization {
  /** The number of results. */
  readonly total: number
  /** How many of the results serialized so far are failures. */
  failed (): number
  /** Serializes the next piece, of about so many bytes at most. */
  next (bytes: number): { piece: string, isLast: boolean }
}

/** Serializes results. It never throws, whatever the results are. */
export type SerializeResults = (results: readonly unknown[], frame: Frame, context: SerializeContext) => Serialization

/** How the results of a contract are serialized. */
interface ResultWriter {
  /** The branch of a result that JSON.stringify may send as it is, undefined for any other result. */
  branchOf (result: unknown): Branch | undefined
  /** Serializes one result the slow way. */
  serialize (result: unknown, minimal: boolean): Serialized & { failed?: boolean }
}

/** Serializes one result without an envelope. */
export function serializeAlone (serialize: SerializeResults, result: unknown, context: SerializeContext): { text: string, failed: boolean } {
  const serialization = serialize([result], NO_FRAME, context)
  const { piece } = serialization.next(Infinity)
  return { text: piece, failed: serialization.failed() > 0 }
}

const NO_FRAME: Frame = { head: '', tail: '' }

/** The serializers of contracts without references, which mean the same everywhere. */
const compiled = new WeakMap<AnyContract, SerializeResults>()

/** The serializers of contracts with references, whose schemas differ between the contexts of an app. */
const compiledFor = new WeakMap<SchemaOwner, WeakMap<AnyContract, SerializeResults>>()

/** Has the shared schemas that a contract may refer to, as a context of an app does. */
export interface SchemaOwner { getSchemas (): SharedSchemas }

/**
 * The serializer of a contract, compiled at the first call; without a contract, one that accepts any object.
 * @param owner has the shared schemas; only needed for contracts with references
 */
export function serializerOf (contract: AnyContract | undefined, owner?: SchemaOwner): SerializeResults {
  if (contract === undefined) return serializeAnything
  const hasReferences = owner !== undefined && JSON.stringify(contract.schemas.body).includes('"$ref":')
  return compiled.get(contract) ?? (hasReferences ? compileFor(contract, owner) : compileOnce(compiled, contract, {}))
}

function compileFor (contract: AnyContract, owner: SchemaOwner): SerializeResults {
  const ofOwner = compiledFor.get(owner) ?? new WeakMap<AnyContract, SerializeResults>()
  compiledFor.set(owner, ofOwner)
  return ofOwner.get(contract) ?? compileOnce(ofOwner, contract, owner.getSchemas())
}

function compileOnce (cache: WeakMap<AnyContract, SerializeResults>, contract: AnyContract, shared: SharedSchemas): SerializeResults {
  const serialize = compileSerializer(contract, shared)
  cache.set(contract, serialize)
  return serialize
}

/** Compiles the serializer of a contract. */
export function compileSerializer (contract: AnyContract, shared: SharedSchemas = {}): SerializeResults {
  const branches = compileBranches(contract, shared)
  return createSerializer(contract, shared, {
    branchOf (result) {
      if (typeof result !== 'object' || result === null) return undefined
      const branch = branches.get((result as { status?: unknown }).status)
      return branch?.isClosed(result) ? branch : undefined
    },
    serialize (result, minimal) {
      if (result === null || typeof result !== 'object') return { why: 'it is no object' }
      const { toJSON } = result as { toJSON?: unknown }
      const { status } = (typeof toJSON === 'function' ? toJSON.call(result) ?? {} : result) as { status?: unknown }
      const branch = branches.get(status)
      if (branch === undefined) return { why: `its status is none of ${[...branches.keys()].join(', ')}` }
      return { ...branch.serialize(result, minimal), failed: branch.failed }
    }
  })
}

/** The first run is short, because the size of the results is not known yet. */
const FIRST_RUN = 64
/** The most results of one run. */
const LONGEST_RUN = 4096

function createSerializer (contract: AnyContract, shared: SharedSchemas, writer: ResultWriter): SerializeResults {
  const isKey = compileCheck(contract.schemas.key, shared)
  return (results, frame, context) => {
    const body = new SerializedBody(results, contract, writer, context, isKey)
    return {
      total: results.length,
      failed: () => body.failures,
      next (bytes) {
        const start = body.index === 0 ? frame.head : ''
        const text = body.write(bytes)
        const isLast = body.index === results.length
        return { piece: start + text + (isLast ? frame.tail : ''), isLast }
      }
    }
  }
}

/** The results of one body, serialized from the first to the last. */
class SerializedBody {
  index = 0
  failures = 0
  #bytes = 0

  constructor (
    readonly results: readonly unknown[], readonly contract: AnyContract, readonly writer: ResultWriter,
    readonly context: SerializeContext, readonly isKey: (value: unknown) => boolean
  ) {}

  /** Serializes results until there are about so many bytes. */
  write (bytes: number): string {
    let text = ''
    while (this.index < this.results.length && text.length < bytes) {
      const separator = this.index === 0 ? '' : ','
      text += separator + this.#writeRun(Math.min(this.results.length, this.index + this.#runLength(bytes - text.length)))
    }
    this.#bytes += text.length
    return text
  }

  /** As many results as probably fill these bytes, by the average so far. */
  #runLength (bytes: number): number {
    if (this.#bytes === 0 || this.index === 0) return FIRST_RUN
    return Math.max(1, Math.min(LONGEST_RUN, Math.floor(bytes / (this.#bytes / this.index))))
  }

  /** Serializes the closed results from here together, or one other result alone. */
  #writeRun (end: number): string {
    const { results, context: { minimal = false } } = this
    const start = this.index
    const branches: Branch[] = []
    for (let index = start; index < end; index++) {
      const branch = this.#branchOf(results[index])
      if (branch === undefined) break
      branches.push(branch)
    }
    const run = results.slice(start, start + branches.length)
    const text = run.length === 0 ? undefined : stringifyRun(run)
    if (text === undefined) return this.#writeEach(results.slice(start, start + Math.max(1, run.length)))
    this.index += run.length
    for (const branch of branches) if (branch.failed) this.failures++
    return minimal ? stringifyRun(run.map((result, place) => branches[place]!.minimize(result as object)))! : text
  }

  #writeEach (run: readonly unknown[]): string {
    return run.map(result => this.#writeSlowly(result)).join(',')
  }

  #branchOf (result: unknown): Branch | undefined {
    try {
      return this.writer.branchOf(result)
    } catch {
      return undefined
    }
  }

  #writeSlowly (result: unknown): string {
    const { writer, context: { minimal = false } } = this
    const one = tryToSerialize(writer, result, minimal)
    const json = 'json' in one ? one.json : this.#refuse(result, one.why)
    if (!('json' in one) || one.failed) this.failures++
    this.index++
    return json
  }

  #refuse (result: unknown, why: string): string {
    const { contract, context: { keys, onInvalid }, index } = this
    const key = keyIn(result, contract.key, this.isKey) ?? keys?.[index] ?? null
    onInvalid(index, key, why)
    return JSON.stringify(contract.fail(key, toFailure(invalidResult())))
  }
}

/** @returns undefined when one of them cannot be written, as a cycle or a BigInt in a member that may be anything */
function stringifyRun (run: readonly unknown[]): string | undefined {
  try {
    return JSON.stringify(run).slice(1, -1)
  } catch {
    return undefined
  }
}

function tryToSerialize (writer: ResultWriter, result: unknown, minimal: boolean): ReturnType<ResultWriter['serialize']> {
  try {
    return writer.serialize(result, minimal)
  } catch (error) {
    return { why: `it cannot be read: ${messageOf(error)}` }
  }
}

/** The message of anything thrown, also of what throws when it is read. */
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

/** Whether a result with this status counts as a failure, where there is no contract. */
export function isFailureWord (status: unknown): boolean {
  return FAILURE_WORDS.has(status) || (typeof status === 'number' && status >= 400)
}

/** Without a contract, a result is sent as JSON.stringify writes it, if that is an object. */
const serializeAnything = createSerializer(generic, {}, {
  branchOf: () => undefined,
  serialize (result) {
    const json = JSON.stringify(result) as string | undefined
    if (json === undefined || json[0] !== '{') return { why: 'it is no object' }
    return { json, failed: isFailureWord((result as { status?: unknown }).status) }
  }
})
