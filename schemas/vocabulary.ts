// The vocabulary of a contract, and its checks.
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import { failureMemberNames, type FailureDetail } from './failure.js'

/** The words of a contract, and the schemas of its data. */
export interface Vocabulary {
  /** The name of one item in UpperCamelCase. `Contact` gives the schemas `ContactCreated` and `ContactRejected`. */
  readonly name: string
  /** The member of the body that holds the results. @default 'results' */
  readonly envelope?: string
  /** The member that correlates a result with its item. */
  readonly key: string
  /** The schema of a key. @default an integer or a string */
  readonly keyType?: TSchema
  /** The `status` of a success, or several. The first one is the default. */
  readonly success: string | readonly [string, ...string[]]
  /** The `status` of a failure. */
  readonly failure: string
  /** The member that says why an item failed. */
  readonly reason: string
  /** The further members of a success: one object schema for every success word, or one for each. @default none */
  readonly data?: TObject | { readonly [word: string]: TObject }
  /** The further members of a failure. @default none */
  readonly failureData?: TObject
  /** An example of a failure for the documentation. @default an invalid item */
  readonly failureExample?: FailureDetail
}

/** The members of an object schema. Those that `required` does not list become `Type.Optional`, also in plain JSON schemas. */
export function membersOf ({ properties = {}, required = [] }: Partial<TObject> = {}): Record<string, TSchema> {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, required.includes(name) ? schema : Type.Optional(schema)]))
}

/** The schema of the further members of a success with this word. */
export function dataFor (data: Vocabulary['data'], word: string): TObject | undefined {
  if (data === undefined || isObjectSchema(data)) return data
  return data[word]
}

function isObjectSchema (data: NonNullable<Vocabulary['data']>): data is TObject {
  return data.type === 'object' && data.properties !== undefined
}

/**
 * Checks a vocabulary: every name is valid, and no two are the same.
 * @throws TypeError for the first problem
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

/** Keywords that hold for the whole object. The schema of a result has more members than `data`, so they cannot be kept. */
const WHOLE_OBJECT_KEYWORDS = [
  'patternProperties', 'minProperties', 'maxProperties', 'propertyNames', 'dependencies', 'allOf', 'anyOf', 'oneOf', 'not', 'if', '$ref'
]

function expectMembersOnly (option: string, schema: TObject | undefined): void {
  if (schema === undefined) return
  const keyword = WHOLE_OBJECT_KEYWORDS.find(name => name in schema) ?? (schema.additionalProperties ? 'additionalProperties' : undefined)
  if (keyword === undefined) return
  throw new TypeError(`defineContract: ${option} must name its members, with nothing that holds for all of them; received a schema with "${keyword}"`)
}

function expectMember (option: string, value: unknown): void {
  expectMatch(option, value, /^(?!__proto__$)\S/, 'a word other than "__proto__"')
}

function expectMatch (option: string, value: unknown, pattern: RegExp, expected: string): void {
  if (typeof value === 'string' && pattern.test(value)) return
  throw new TypeError(`defineContract: ${option} must be ${expected}; received ${JSON.stringify(value)}`)
}

function expectDistinct (what: string, names: string[]): void {
  const duplicate = names.find((name, index) => names.indexOf(name) !== index)
  if (duplicate === undefined) return
  throw new TypeError(`defineContract: the ${what} of a result must differ from each other; received ${JSON.stringify(duplicate)} twice`)
}
