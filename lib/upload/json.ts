// Reads the files of a JSON body, {"files": [...]}, as the same file parts as those of a form.
import { FileObject } from '../../schemas/index.js'
import { createCompiler, typeOf } from '../core/items/validator.js'
import { BatchEmpty, BatchTooLarge, BodyNotBatch, invalidItem } from '../errors.js'
import type { FilePart } from './file-part.js'
import { SURPLUS_FILES } from './checks/limits.js'
import { UNKNOWN_TYPE } from './checks/type.js'
import { readMediaType } from './multipart/part-header.js'

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

const validateObject = createCompiler()(FileObject)

/**
 * @param body the parsed body
 * @param maxFiles the most files that are allowed; {@link SURPLUS_FILES} more are read, so that each gets its own result
 * @throws FST_MULTI_STATUS_BODY_NOT_BATCH or _BATCH_EMPTY when it has no files, _BATCH_TOO_LARGE when far too many
 */
export function readEntries (body: unknown, maxFiles: number): FilePart[] {
  const files = typeOf(body) === 'object' ? (body as Record<string, unknown>).files : undefined
  if (!Array.isArray(files)) throw new BodyNotBatch('a form with files, or {"files": [...]}', body === undefined ? 'no body' : `${typeOf(body)} without a "files" array`)
  if (files.length === 0) throw new BatchEmpty('"files"')
  if (files.length > maxFiles + SURPLUS_FILES) throw new BatchTooLarge(maxFiles, files.length)
  return files.map(readEntry)
}

function readEntry (entry: unknown): FilePart {
  if (typeof entry === 'string') return { name: entry, type: UNKNOWN_TYPE, content: [] }
  if (typeOf(entry) !== 'object') return refuse(entry, '#', `must be string or object; received ${typeOf(entry)}`)
  const problems = validateObject(entry)
  if (problems !== undefined) return refuse(entry, problems[0]!.pointer, problems[0]!.detail)

  const { file, content, type: declared, sha256 } = entry as FileObject
  const type = readMediaType(declared) ?? UNKNOWN_TYPE
  if (content.length % 4 !== 0 || !BASE64.test(content)) return refuse(entry, '#/content', 'must be base64')
  return { name: file, type, sha256, content: [Buffer.from(content, 'base64')] }
}

function refuse (entry: unknown, pointer: string, detail: string): FilePart {
  const { file } = Object(entry) as { file?: unknown }
  return { name: typeof file === 'string' ? file : null, type: UNKNOWN_TYPE, content: [], refused: invalidItem([{ pointer, detail }]) }
}
