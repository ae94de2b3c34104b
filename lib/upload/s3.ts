// Stores files in S3-compatible object storage. An entry point of its own, because the AWS SDK is an optional peer.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { AbortMultipartUploadCommand, type S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { ItemError } from '../errors.js'
import { keepTrying, type Patience } from './keep-trying.js'
import type { FileInfo, Sink, Storage } from './storage.js'

/** Which bucket, and how to reach it. */
export interface S3Options {
  /** The app's own client. `requestChecksumCalculation: 'WHEN_REQUIRED'` helps with servers that are not Amazon's. */
  client: S3Client
  bucket: string
  /** Before the keys of all files, for example `'uploads/'`. @default '' */
  prefix?: string
}

/** Bytes of one part, the least that S3 takes; two are under way at a time, so that a file takes about 15 MB of memory. */
const PART_SIZE = 5 * 1024 * 1024
const PARTS_UNDER_WAY = 2

/** How long the parts of an upload are tried to be removed, as when the server is gone; then they are left to the lifecycle rule of the bucket. */
const PATIENCE: Patience = { firstDelay: 500, longestDelay: 30_000, giveUpAfter: 60 * 60 * 1000 }

/**
 * Makes a storage that streams each file into an object under a key of its own making. An object appears when all of it
 * has arrived; the parts of one that does not are removed.
 * @example s3({ client: new S3Client({ region: 'eu-central-1' }), bucket: 'my-uploads', prefix: 'incoming/' })
 */
export function s3 ({ client, bucket, prefix = '' }: S3Options): Storage {
  return {
    open: async file => createSink(client, bucket, prefix + randomUUID(), file)
  }
}

function createSink (client: S3Client, bucket: string, key: string, { type }: FileInfo): Sink {
  const body = new PassThrough({ highWaterMark: PART_SIZE })
  const upload = new Upload({
    client,
    params: { Bucket: bucket, Key: key, Body: body, ContentType: type },
    partSize: PART_SIZE,
    queueSize: PARTS_UNDER_WAY,
    leavePartsOnError: true
  })
  // Destroying the body is what ends an upload: abort() would return while parts are still on their way.
  const done = upload.done().catch((cause: unknown) => {
    body.destroy()
    throw failed(cause)
  })
  body.on('error', () => {})
  done.catch(() => {})

  return {
    async write (chunk) {
      if (body.destroyed) await done
      // An error of the body says only that the upload has failed; why is what `done` knows.
      if (!body.write(chunk)) await Promise.race([once(body, 'drain').catch(() => done), done])
    },
    async publish () {
      body.end()
      await done
      return { key }
    },
    async discard () {
      body.destroy(new Error('Not to be stored'))
      await done.catch(() => {})
      if (upload.uploadId !== undefined) await removeParts(client, { Bucket: bucket, Key: key, UploadId: upload.uploadId })
    }
  }
}

type Parts = { Bucket: string, Key: string, UploadId: string }

/** Waits for the first try only; a server that is gone is asked again while the next files go on. */
async function removeParts (client: S3Client, parts: Parts): Promise<void> {
  if (await tryRemove(client, parts)) return
  keepTrying(() => tryRemove(client, parts), PATIENCE)
}

async function tryRemove (client: S3Client, parts: Parts): Promise<boolean> {
  try {
    await client.send(new AbortMultipartUploadCommand(parts))
    return true
  } catch (error) {
    return (error as Error).name === 'NoSuchUpload'
  }
}

function failed (cause: unknown): ItemError {
  return new ItemError('Storage failed', { code: 'STORAGE_FAILED', statusCode: 500, retryable: true, cause })
}
