// Defines contracts: the words for the results of a batch, their schemas, and the functions that make results.
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import { failureMemberNames, failureMembers, type FailureDetail } from './failure.js'
import { checkVocabulary, dataFor, membersOf, type Vocabulary } from './vocabulary.js'

export type { Vocabulary } from './vocabulary.js'

/** The value that correlates a result with its item. */
export type Key = string | number

/** A JSON schema whose TypeScript type is T. */
export interface Schema<T> extends TSchema { static: T }

type KeyOf<V extends Vocabulary> = V['keyType'] extends TSchema ? V['keyType']['static'] : Key
type WordOf<V extends Vocabulary> = V['success'] extends readonly (infer S extends string)[] ? S : V['success'] & string
type FirstWordOf<V extends Vocabulary> = V['success'] extends readonly [infer S extends string, ...unknown[]] ? S : WordOf<V>
type DataOf<V extends Vocabulary, W extends string> =
  V['data'] extends TObject ? V['data']['static']
    : V['data'] extends { readonly [word in W]: infer D extends TObject } ? D['static'] : unknown

type FailureDataOf<V extends Vocabulary> = V['failureData'] extends TObject ? Partial<V['failureData']['static']> : unknown

/** The result of an item that succeeded. */
export type Success<V extends Vocabulary> = {
  [W in WordOf<V>]: { [key in V['key']]: KeyOf<V> } & { status: W } & DataOf<V, W>
}[WordOf<V>]

/** The result of an item that failed. Its key is null if the item had no valid key. */
export type Failure<V extends Vocabulary> =
  { [key in V['key']]: KeyOf<V> | null } & { status: V['failure'] } & { [reason in V['reason']]: string } &
  Omit<FailureDetail, 'message'> & FailureDataOf<V>

/** One result; `status` discriminates the union. */
export type Result<V extends Vocabulary> = Success<V> | Failure<V>

/** The whole 207 body. */
export type Body<V extends Vocabulary> =
  { [envelope in V['envelope'] extends string ? V['envelope'] : 'results']: Result<V>[] }

/** The data of a success. It may set the `status`, and must if that is not the first success word; it may set the key. */
export type SuccessData<V extends Vocabulary> = {
  [W in WordOf<V>]: { [key in V['key']]?: KeyOf<V> } & (W extends FirstWordOf<V> ? { status?: W } : { status: W }) & DataOf<V, W>
}[WordOf<V>]

/** A contract of any vocabulary. */
export interface AnyContract {
  /** The name of one item. */
  readonly name: string
  /** The member of the body that holds the results. */
  readonly envelope: string
  /** The member that correlates a result with its item. */
  readonly key: string
  /** Every `status` that means success. */
  readonly successWords: readonly string[]
  /** The `status` that means failure. */
  readonly failureWord: string
  /** The member that says why an item failed. */
  readonly reason: string
  /** The schemas for validation, serialization and documentation. */
  readonly schemas: {
    /** The schema of a key. */
    readonly key: TSchema
    /** One schema for each success word, in the same order. */
    readonly successes: readonly TObject[]
    readonly failure: TSchema
    /** The union of the successes and the failure. */
    readonly result: TSchema
    /** The whole body: the envelope with its results. */
    readonly body: TSchema
  }
  /** Makes the result of a success. */
  succeed (key: unknown, data?: object): object
  /** Makes the result of a failure. */
  fail (key: unknown, detail: FailureDetail): object
}

/** A vocabulary for the results of a batch, with its schemas and the functions that make results. */
export interface Contract<V extends Vocabulary> extends AnyContract {
  readonly key: V['key']
  readonly schemas: AnyContract['schemas'] & {
    readonly key: Schema<KeyOf<V>>
    readonly failure: Schema<Failure<V>>
    readonly result: Schema<Result<V>>
    readonly body: Schema<Body<V>>
  }
  succeed (key: KeyOf<V>, data?: SuccessData<V>): Success<V>
  fail (key: KeyOf<V> | null, detail: FailureDetail & FailureDataOf<V>): Failure<V>
}

const anyKey = Type.Union([Type.Integer(), Type.String()])

/**
 * Creates a contract from a vocabulary.
 * @throws TypeError when two members or two words are the same, a name is invalid, `data` is neither an object schema nor
 *   one for each success word, or `failureData` is not an object schema
 * @example
 *   const contacts = defineContract({
 *     name: 'Contact', key: 'email', success: 'created', failure: 'rejected', reason: 'message',
 *     data: Type.Object({ contactId: Type.Integer() })
 *   })
 *   contacts.succeed('a@b.org', { contactId: 7 })  // { email: 'a@b.org', status: 'created', contactId: 7 }
 */
export function defineContract<const V extends Vocabulary> (vocabulary: V): Contract<V>
export function defineContract (vocabulary: Vocabulary): AnyContract {
  const { name, envelope = 'results', key, failure, reason, keyType = anyKey, data, failureData, failureExample } = vocabulary
  const successWords = [vocabulary.success].flat()
  checkVocabulary(vocabulary, successWords)

  const success = (word: string) => Type.Object(
    { [key]: keyType, status: Type.Literal(word), ...membersOf(dataFor(data, word)) },
    { title: title(name, word) }
  )
  const moreNames = Object.keys(failureData?.properties ?? {})
  const fail = (id: unknown, detail: FailureDetail) => {
    const result: Record<string, unknown> = { [key]: id ?? null, status: failure, [reason]: detail.message }
    for (const name of failureMemberNames) if (detail[name] !== undefined) result[name] = detail[name]
    for (const name of moreNames) if (name in detail) result[name] = detail[name as keyof FailureDetail]
    return result
  }
  const failed = Type.Object({
    [key]: Type.Union([keyType, Type.Null()], { description: 'null where the item had no key that could be used' }),
    status: Type.Literal(failure),
    [reason]: Type.String(),
    ...failureMembers,
    // Optional, because failures made by the plugin do not have them.
    ...membersOf({ properties: failureData?.properties })
  }, { title: title(name, failure), ...(failureExample !== undefined && { examples: [fail(keyType.examples?.[1] ?? null, failureExample)] }) })
  const successes = successWords.map(success)
  const result = Type.Union([...successes, failed])

  return {
    name,
    envelope,
    key,
    successWords,
    failureWord: failure,
    reason,
    schemas: {
      key: keyType,
      successes,
      failure: failed,
      result,
      body: Type.Object({ [envelope]: Type.Array(result, { description: 'One result per item, in request order' }) })
    },
    succeed: (id, given) => {
      if (given === undefined) return { [key]: id ?? null, status: successWords[0] }
      const { [key]: own = id ?? null, status = successWords[0], ...members } = given as Record<string, unknown>
      return { [key]: own, status, ...members }
    },
    fail
  }
}

/** The name of a schema in OpenAPI, from ASCII letters and digits. */
function title (name: string, word: string): string {
  return name + word.split(/[^a-zA-Z0-9]+/).map(part => part.charAt(0).toUpperCase() + part.slice(1)).join('')
}
