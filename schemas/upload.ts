// Defines the upload contract, and the bodies of an upload request: the form and the JSON.
import { Type, type Static } from '@sinclair/typebox'
import { defineContract } from './contract.js'

/** An example for the documentation. */
const SHA256 = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'

/** `{"results":[{"file":"image1.png","status":"uploaded"},{"file":"image2.png","status":"failed","error":"File too large"}]}` */
export const uploads = defineContract({
  name: 'File',
  key: 'file',
  keyType: Type.String({ description: 'The name that the client gave to the file', examples: ['image1.png', 'image2.png'] }),
  success: 'uploaded',
  failure: 'failed',
  reason: 'error',
  data: Type.Object({
    key: Type.Optional(Type.String({ description: 'What the storage knows the file by', examples: ['6f4e1c1e-7d0b-4c4e-9c39-2f4b6f0f7a11'] })),
    size: Type.Optional(Type.Integer({ minimum: 0, description: 'Bytes', examples: [48213] })),
    type: Type.Optional(Type.String({ description: 'Media type', examples: ['image/png'] })),
    sha256: Type.Optional(Type.String({ description: 'Of the content, in hexadecimal', examples: [SHA256] }))
  }),
  failureExample: { message: 'File too large', code: 'FILE_TOO_LARGE', statusCode: 413, retryable: false }
})

export type UploadResult = Static<typeof uploads.schemas.result>

/** One file in JSON. The content is required even when it is empty, so that a misspelt `content` is found. */
export const FileObject = Type.Object({
  file: Type.String({ description: 'The name of the file', examples: ['a.txt'] }),
  content: Type.String({ contentEncoding: 'base64', description: 'The content, in base64', examples: ['aGVsbG8='] }),
  type: Type.Optional(Type.String({ description: 'Media type', examples: ['text/plain'] })),
  sha256: Type.Optional(Type.String({ description: 'Of the content, in hexadecimal; a file that differs fails' }))
}, { title: 'FileObject' })

export type FileObject = Static<typeof FileObject>

/** One file in JSON, or the bare name of an empty file. */
export const FileEntry = Type.Union([Type.String({ description: 'The name of an empty file' }), FileObject])

export type FileEntry = Static<typeof FileEntry>

/** The JSON form of an upload. */
export const FileEntries = Type.Object({ files: Type.Array(FileEntry, { minItems: 1 }) }, {
  examples: [{ files: [{ file: 'a.txt', content: 'aGVsbG8=' }, 'empty.txt'] }]
})

/** The multipart/form-data form of an upload. */
export const FileForm = Type.Object({
  // Without an example, Swagger UI fills in the word "string", and every file fails.
  sha256: Type.Optional(Type.String({
    description: 'Of the content of the next file, in hexadecimal; a file that differs fails. Nothing where it is empty', examples: ['']
  })),
  files: Type.Array(Type.String({ format: 'binary' }), { description: 'Files under any field name' })
})
