// Stores files in S3-compatible object storage. An entry point of its own, because the AWS SDK is an optional peer.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { AbortMultipartUploadCommand, DeleteObjectCommand, type PutObjectCommandInput, type S3Client, type S3ServiceException } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { storageFailed, type ItemError } from '../../errors.js'
import type { FileInfo, Sink, Storage } from './interface.js'

/** The options of `s3()`. */
export interface S3Options {
  /** The app's own client. `requestChecksumCalculation: 'WHEN_REQUIRED'` helps with servers that are not Amazon's. */
  client: S3Client
  bucket: string
  /** Before the keys of all files, for example `'uploads/'`. @default '' */
  prefix?: string
}

/** Bytes of one part, the least that S3 allows. Two are under way at a time, so that a file takes about 15 MB of memory. */
const PART_SIZE = 5 * 1024 * 1024
const PARTS_UNDER_WAY = 2

/**
 * Milliseconds between the attempts to remove what is left of an upload, as when the server is gone: the delay doubles from
 * the first to the longest. After the last attempt, the lifecycle rule of the bucket has to remove the parts.
 */
const FIRST_DELAY = 500
const LONGEST_DELAY = 30_000
const LAST_ATTEMPT = 60 * 60 * 1000

/**
 * Makes a storage that streams each file into an object under a key of its own making. An object appears when all of it
 * has arrived; the parts of one that does not are removed. So is the object of a file that is answered as failed, as one
 * that S3 was too slow to store: the client must be allowed to delete objects.
 * @example s3({ client: new S3Client({ region: 'eu-central-1' }), bucket: 'my-uploads', prefix: 'incoming/' })
 */
export function s3 ({ client, bucket, prefix = '' }: S3Options): Storage {
  return {
    open: async file => createSink(client, bucket, prefix + randomUUID(), file)
  }
}

function createSink (client: S3Client, bucket: string, key: string, { type }: FileInfo): Sink {
  const body = new PassThrough({ highWaterMark: PART_SIZE })
  const target = { Bucket: bucket, Key: key }
  const upload = createUpload(client, { ...target, Body: body, ContentType: type })
  // Destroying the body is what ends an upload: abort() would return while parts are still on their way.
  const done = upload.done().catch((cause: unknown) => {
    body.destroy()
    throw storageFailed(cause)
  })
  body.on('error', () => {})
  done.catch(() => {})
  let stage: 'writing' | 'publishing' | 'over' = 'writing'
  let removal: Promise<void> | undefined

  const remove = async (isWhole: boolean) => {
    body.destroy(new Error('Not to be stored'))
    const isStored = await done.then(() => true, ({ cause }: ItemError) => isWhole && mayBeStored(cause))
    await removeForSure(client, target, upload.uploadId, isStored)
  }

  return {
    async write (chunk) {
      if (body.destroyed) await done
      // An error of the body says only that the upload has failed; why is what `done` knows.
      if (!body.write(chunk)) await Promise.race([once(body, 'drain').catch(() => done), done])
    },
    async publish () {
      stage = 'publishing'
      body.end()
      await done.finally(() => { stage = 'over' })
      return { key }
    },
    async discard () {
      removal ??= remove(stage !== 'writing')
      // While S3 is still storing the file, the caller has run out of time, and does not wait.
      if (stage !== 'publishing') await removal
    }
  }
}

function createUpload (client: S3Client, params: PutObjectCommandInput): Upload {
  return new Upload({ client, params, partSize: PART_SIZE, queueSize: PARTS_UNDER_WAY, leavePartsOnError: true })
}

/** Whether the object of a failed upload may exist, because the answer was lost. It does not when S3 has refused the only request for it. */
function mayBeStored (cause: unknown): boolean {
  const { attempts, httpStatusCode = 500 } = Object((cause as Partial<S3ServiceException>).$metadata) as Partial<S3ServiceException['$metadata']>
  return attempts !== 1 || httpStatusCode < 400 || httpStatusCode >= 500
}

interface Target { Bucket: string, Key: string }

/** Waits for the first attempt only; a server that is gone is asked again in the background. */
async function removeForSure (client: S3Client, target: Target, uploadId: string | undefined, isStored: boolean): Promise<void> {
  const attempt = async () => {
    // First the parts, without which the object cannot come any more.
    if (uploadId !== undefined && !await succeeds(client.send(new AbortMultipartUploadCommand({ ...target, UploadId: uploadId })))) return false
    return !isStored || succeeds(client.send(new DeleteObjectCommand(target)))
  }
  if (!await attempt()) retry(attempt)
}

/** Retries with a growing delay. The timers keep no process alive. */
async function retry (attempt: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + LAST_ATTEMPT
  let delay = FIRST_DELAY
  do {
    await setTimeout(delay, undefined, { ref: false })
    delay = Math.min(delay * 2, LONGEST_DELAY)
  } while (performance.now() < end && !await attempt())
}

/** Whether the parts or the object are removed, or did not exist. */
function succeeds (removal: Promise<unknown>): Promise<boolean> {
  return removal.then(() => true, ({ name }: Error) => name === 'NoSuchUpload')
}
