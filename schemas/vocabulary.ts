// The words that a contract is made of.
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import { failureMemberNames, type FailureDetail } from './failure.js'

/** The words of a contract. */
export interface Vocabulary {
  /** What one item is called, in UpperCamelCase: `Contact` names the schemas `ContactCreated` and `ContactRejected`. */
  readonly name: string
  /** The member of the body that holds the results. @default 'results' */
  readonly envelope?: string
  /** The member that correlates a result with its item. */
  readonly key: string
  /** What a key may be. @default an integer or a string */
  readonly keyType?: TSchema
  /** The `status` of a success; or several, of which a success that does not say its own has the first. */
  readonly success: string | readonly [string, ...string[]]
  /** The `status` of a failure. */
  readonly failure: string
  /** The member that says why an item failed. */
  readonly reason: string
  /** What a success carries beside key and status: one object for every success word, or one for each. @default nothing */
  readonly data?: TObject | { readonly [word: string]: TObject }
  /** What a failure may carry beside the members that every failure has. @default nothing */
  readonly failureData?: TObject
  /** A failure to show in the documentation. @default an item that is invalid */
  readonly failureExample?: FailureDetail
}

/** The members of a schema, each as it is required or not: JSON schemas say that beside their members, those of TypeBox also in them. */
export function membersOf ({ properties = {}, required = [] }: Partial<TObject> = {}): Record<string, TSchema> {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, required.includes(name) ? schema : Type.Optional(schema)]))
}

/** What a success with this word carries. */
export function dataFor (data: Vocabulary['data'], word: string): TObject | undefined {
  if (data === undefined || isObjectSchema(data)) return data
  return data[word]
}

function isObjectSchema (data: NonNullable<Vocabulary['data']>): data is TObject {
  return data.type === 'object' && data.properties !== undefined
}

/**
 * Checks that results made of these words can be told apart and read.
 * @throws TypeError when not
 */
export function checkVocabulary ({ name, envelope = 'results', key, failure, reason, data, failureData }: Vocabulary, successWords: string[]): void {
  expectMatch('name', name, /^[A-Z][A-Za-z0-9]*$/, 'an UpperCamelCase word, because it becomes the name of a schema')
  for (const [option, value] of Object.entries({ envelope, key, failure, reason })) expectMember(option, value)
  if (successWords.length === 0) expectMember('success', successWords)
  for (const word of successWords) expectMember('success', word)
  expectData(data, successWords)
  expectFailureData(failureData)
  for (const word of successWords) expectMembersOnly('data', dataFor(data, word))
  expectMembersOnly('failureData', failureData)
  expectDistinct('words', [...successWords, failure])
  expectDistinct('members', [key, 'status', reason, ...failureMemberNames, ...Object.keys(failureData?.properties ?? {})])
  for (const word of successWords) {
    expectDistinct('members', [key, 'status', ...Object.keys(dataFor(data, word)?.properties ?? {})])
  }
}

function expectData (data: Vocabulary['data'], successWords: string[]): void {
  if (data === undefined || isObjectSchema(data)) return
  for (const [word, schema] of Object.entries(data)) {
    if (successWords.includes(word) && isObjectSchema(schema)) continue
    throw new TypeError('defineContract: data must be Type.Object({...}), or an object with one for each success word; ' +
      `received one with the member ${JSON.stringify(word)}`)
  }
}

function expectFailureData (failureData: Vocabulary['failureData']): void {
  if (failureData === undefined || isObjectSchema(failureData)) return
  throw new TypeError(`defineContract: failureData must be Type.Object({...}); received ${JSON.stringify(failureData)}`)
}

/** What a schema of a part of a result could say of the whole, which has more members. */
const OF_THE_WHOLE = [
  'patternProperties', 'minProperties', 'maxProperties', 'propertyNames', 'dependencies', 'allOf', 'anyOf', 'oneOf', 'not', 'if', '$ref'
]

function expectMembersOnly (option: string, schema: TObject | undefined): void {
  if (schema === undefined) return
  const more = OF_THE_WHOLE.find(keyword => keyword in schema) ?? (schema.additionalProperties ? 'additionalProperties' : undefined)
  if (more === undefined) return
  throw new TypeError(`defineContract: ${option} must name its members, with nothing that holds for all of them; received a schema with "${more}"`)
}

function expectMember (option: string, value: unknown): void {
  expectMatch(option, value, /^(?!__proto__$)\S/, 'a word other than "__proto__"')
}

function expectMatch (option: string, value: unknown, pattern: RegExp, expected: string): void {
  if (typeof value === 'string' && pattern.test(value)) return
  throw new TypeError(`defineContract: ${option} must be ${expected}; received ${JSON.stringify(value)}`)
}

function expectDistinct (what: string, names: string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return
  throw new TypeError(`defineContract: the ${what} of a result must differ from each other; received ${JSON.stringify(twice)} twice`)
}
