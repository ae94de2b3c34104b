// Describes the body of an upload in OpenAPI: the form and the JSON, with the limits.
import { FileEntries, FileForm } from '../../schemas/index.js'
import { BODY_TOO_LARGE, documentError } from '../core/openapi/errors.js'
import { BatchTooLarge, UploadTooLarge } from '../errors.js'
import { SURPLUS_FILES, type Limits } from './checks/limits.js'

/** @param limits the limits of a file's name, of a file and of a request */
export function documentFiles ({ files, fileSize, nameBytes }: Limits): object {
  const count = { minItems: 1, maxItems: files }
  const { files: parts, ...fields } = FileForm.properties
  const binary = { ...parts.items, maxLength: fileSize }
  return {
    content: {
      'multipart/form-data': { schema: { ...FileForm, properties: { ...fields, files: { ...parts, ...count, items: binary } } } },
      'application/json': { schema: { ...FileEntries, properties: { files: { ...FileEntries.properties.files, ...count, items: documentEntry(fileSize, nameBytes) } } } }
    }
  }
}

/** Describes the answer to an upload that is refused as a whole because of its limits. */
export function documentTooLarge ({ files, total }: Limits): object {
  return documentError(413, 'Too many files or too many bytes; the message says the limit. Nothing ran.', {
    items: new BatchTooLarge(files, files + SURPLUS_FILES + 1),
    bytes: BODY_TOO_LARGE,
    total: new UploadTooLarge(total, total + 1)
  })
}

/** The characters of so many bytes in base64. */
const lengthInBase64 = (bytes: number) => Math.ceil(bytes / 3) * 4

function documentEntry (fileSize: number, nameBytes: number): object {
  const [name, object] = FileEntries.properties.files.items.anyOf
  const { file, content, ...rest } = object.properties
  return {
    anyOf: [
      { ...name, maxLength: nameBytes },
      {
        ...object,
        properties: {
          file: { ...file, maxLength: nameBytes },
          content: { ...content, maxLength: lengthInBase64(fileSize) },
          ...rest
        }
      }
    ]
  }
}
