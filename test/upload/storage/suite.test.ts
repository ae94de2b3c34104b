// Runs the checks for storages against the disk and S3.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, GetObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { disk } from '../../../lib/upload/storage/disk.js'
import { s3 } from '../../../lib/upload/storage/s3.js'
import { storageChecks, type StorageUnderTest } from '../../../lib/upload/storage/suite.js'
import { hasS3Server, startS3Server } from '../../fixtures/s3-server.js'
import { skipUnless } from '../../fixtures/skip.js'

for (const sync of [true, false]) {
  t.test(`disk, ${sync ? 'synced' : 'not synced'}`, async t => {
    const dir = await mkdtemp(join(tmpdir(), 'disk-'))
    t.teardown(() => rm(dir, { recursive: true }))
    const names = () => readdir(dir)
    await checkAll(t, {
      storage: disk({ dir, sync }),
      read: key => readFile(join(dir, key)),
      keys: async () => (await names()).filter(name => !name.startsWith('.')),
      leftovers: async () => (await names()).filter(name => name.startsWith('.'))
    })
  })
}

t.test('s3', { skip: skipUnless(await hasS3Server(), 'an S3 API (swift-proxy-server)') }, async t => {
  const server = await startS3Server()
  t.teardown(() => server.close())
  const client = server.client()
  await client.send(new CreateBucketCommand({ Bucket: 'uploads' }))
  await checkAll(t, {
    storage: s3({ client, bucket: 'uploads', prefix: 'incoming/' }),
    read: async key => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: 'uploads', Key: key }))
      return Buffer.from(await Body!.transformToByteArray())
    },
    keys: async () => {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: 'uploads' }))
      return Contents.map(({ Key }) => Key!)
    },
    leftovers: async () => (await client.send(new ListMultipartUploadsCommand({ Bucket: 'uploads' }))).Uploads ?? []
  })
})

async function checkAll (t: Test, subject: StorageUnderTest): Promise<void> {
  await subject.storage.start?.()
  for (const { name, run } of storageChecks) await t.test(name, () => run(subject))
}
