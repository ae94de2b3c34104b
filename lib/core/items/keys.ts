// Reads the keys of items, and finds duplicate keys.
import type { AnyContract, Key } from '../../../schemas/index.js'
import { DuplicateKeys } from '../../errors.js'
import { typeOf, type Compile } from './validator.js'
import type { JsonSchema } from './tagged-union.js'

/** The name of the key, and which values are valid keys. */
export interface KeyRules {
  /** The member of an item that is its key. */
  readonly key: string
  readonly isKey: (value: string | number) => boolean
}

/** The most keys that an error message shows. */
const SHOWN = 5

/** Compiles the key schema of a contract. */
export function compileKeyRules ({ key, schemas }: AnyContract, compile: Compile): KeyRules {
  const validate = compile(schemas.key)
  // Texts without Ajv, which makes an error for every one where it may as well be an integer.
  const takesTexts = takesAnyText(schemas.key as JsonSchema)
  return { key, isKey: value => (takesTexts && typeof value === 'string') || validate(value) === undefined }
}

/** What a schema may have beside its branches without saying more of its values. */
const ANNOTATIONS = new Set(['anyOf', 'title', 'description', 'examples', 'default'])

function takesAnyText (schema: JsonSchema): boolean {
  const { anyOf = [] } = schema as { anyOf?: JsonSchema[] }
  return Object.keys(schema).every(name => ANNOTATIONS.has(name)) &&
    anyOf.some(branch => branch.type === 'string' && Object.keys(branch).length === 1)
}

/** Returns the key of an item. A valid item that is not an object is its own key, as the names in `["a.txt", "b.txt"]`. */
export function keyOf (item: unknown, isValid: boolean, { key, isKey }: KeyRules): Key | null {
  const isOwn = isValid && typeOf(item) !== 'object'
  const found = isOwn ? item : (item as Record<string, unknown> | null)?.[key]
  if (typeof found !== 'string' && typeof found !== 'number') return null
  return isKey(found) ? found : null
}

/**
 * Items without a key are not compared; 1 and "1" are two keys.
 * @throws FST_MULTI_STATUS_DUPLICATE_KEYS when two items have the same key
 */
export function expectDistinct (keys: readonly (Key | null)[], name: string): void {
  if (new Set(keys).size === keys.length) return
  const known = keys.filter(key => key !== null)
  const left = new Set(known)
  if (left.size === known.length) return
  const duplicates = [...new Set(known.filter(key => !left.delete(key)))]
  const shown = duplicates.slice(0, SHOWN).map(key => JSON.stringify(key).slice(0, 80)).join(', ')
  throw new DuplicateKeys(name, duplicates.length > SHOWN ? `${shown} and ${duplicates.length - SHOWN} more` : shown)
}
