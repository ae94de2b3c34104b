// The type that the content of a file proves.
import { FileTypeParser } from 'file-type'
import { learnSignatures } from './known-signatures.js'
import { giveBack, ownsItsMemory } from '../release.js'

/** Bytes at the beginning of a file that tell its type. */
export const HEAD_SIZE = 4100

let mayHaveSignature: ((content: Uint8Array) => boolean) | undefined

/** Makes it fast to find the type of content that has none; to be called before the first is asked for. */
export async function prepareTypes (): Promise<void> {
  mayHaveSignature ??= await learnSignatures(HEAD_SIZE)
}

/**
 * @param head the first {@link HEAD_SIZE} bytes of a file, or more, or all of a smaller one
 * @returns its media type; undefined when it has no signature that is known
 */
export async function findType (head: Uint8Array): Promise<string | undefined> {
  if (head.length >= HEAD_SIZE && mayHaveSignature?.(head) === false) return undefined
  const parser = new FrugalParser()
  try {
    return (await parser.fromBuffer(head))?.mime
  } finally {
    for (const used of parser.used) if (used.buffer !== head.buffer && ownsItsMemory(used)) giveBack(used.buffer)
  }
}

/** Tells the memory that it has used, some thousand bytes for each file, which V8 would collect the whole heap for. */
class FrugalParser extends FileTypeParser {
  readonly used: Uint8Array[] = []
  #buffer: Uint8Array = new Uint8Array()

  get buffer (): Uint8Array {
    return this.#buffer
  }

  set buffer (next) {
    this.#buffer = next
    this.used.push(next)
  }
}
