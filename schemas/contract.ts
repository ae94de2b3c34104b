// A contract: one vocabulary for the results of a batch, and everything that follows from it.
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import { failureMembers, type FailureDetail } from './failure.js'
import { checkVocabulary, dataFor, membersOf, type Vocabulary } from './vocabulary.js'
import { addData, addDetail, startResult, wordBare } from './format.js'

export type { Vocabulary } from './vocabulary.js'

/** What correlates a result with its item. */
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

/** One result of an item that worked. */
export type Success<V extends Vocabulary> = {
  [W in WordOf<V>]: { [key in V['key']]: KeyOf<V> } & { status: W } & DataOf<V, W>
}[WordOf<V>]

/** One result of an item that did not; its key is null where the item had none that could be used. */
export type Failure<V extends Vocabulary> =
  { [key in V['key']]: KeyOf<V> | null } & { status: V['failure'] } & { [reason in V['reason']]: string } &
  Omit<FailureDetail, 'message'> & FailureDataOf<V>

/** One result, told apart by `status`. */
export type Result<V extends Vocabulary> = Success<V> | Failure<V>

/** The whole 207 body. */
export type Body<V extends Vocabulary> =
  { [envelope in V['envelope'] extends string ? V['envelope'] : 'results']: Result<V>[] }

/** What makes a success of an item: its data, the word if it is not the first of several, and the key where the item does not give it. */
export type SuccessData<V extends Vocabulary> = {
  [W in WordOf<V>]: { [key in V['key']]?: KeyOf<V> } & (W extends FirstWordOf<V> ? { status?: W } : { status: W }) & DataOf<V, W>
}[WordOf<V>]

/** A contract of which nothing but the shape is known. */
export interface AnyContract {
  /** What one item is called. */
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
  /** The schemas to validate, to serialize and to document with. */
  readonly schemas: {
    /** What a key may be. */
    readonly key: TSchema
    /** One schema per success word, in order. */
    readonly successes: readonly TObject[]
    readonly failure: TSchema
    /** The union of all of them. */
    readonly result: TSchema
    /** The envelope with the results in it. */
    readonly body: TSchema
  }
  /** Words a success. */
  succeed (key: unknown, data?: object): object
  /** Words a failure. */
  fail (key: unknown, detail: FailureDetail): object
}

/** One vocabulary for the results of a batch: its schemas, and the functions that word a result. */
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
 * Makes a contract of a vocabulary.
 * @throws TypeError when two members or two words of the vocabulary are the same, a name cannot be used, `data` is neither
 *   an object schema nor one for each success word, or `failureData` is no object schema
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
    const result = startResult(key, id ?? null, failure)
    result[reason] = detail.message
    addDetail(result, detail)
    for (const name of moreNames) if (name in detail) result[name] = detail[name as keyof FailureDetail]
    return result
  }
  const failed = Type.Object({
    [key]: Type.Union([keyType, Type.Null()], { description: 'null where the item had no key that could be used' }),
    status: Type.Literal(failure),
    [reason]: Type.String(),
    ...failureMembers,
    // Whoever fails an item, as with an invalid one, may know nothing of them.
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
      if (given === undefined) return wordBare(key, id ?? null, successWords[0])
      const { [key]: own = id ?? null, status = successWords[0] } = given as Record<string, unknown>
      return addData(startResult(key, own, status), given, key)
    },
    fail
  }
}

/** The name of a component in OpenAPI, which takes only ASCII letters and digits. */
function title (name: string, word: string): string {
  return name + word.split(/[^a-zA-Z0-9]+/).map(part => part.charAt(0).toUpperCase() + part.slice(1)).join('')
}
