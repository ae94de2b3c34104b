// Checks that a storage does what it must; any test runner can run them. An entry point of its own.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Sink, Storage } from './interface.js'

/** A storage, and how to look into it. */
export interface StorageUnderTest {
  readonly storage: Storage
  /** The content of a published file. */
  read (key: string): Promise<Buffer>
  /** The keys of all published files. */
  keys (): Promise<string[]>
  /** Whatever is kept of files that are not published, as temporary files or parts. */
  leftovers (): Promise<unknown[]>
}

/** One thing that a storage must do. */
export interface StorageCheck {
  readonly name: string
  /** Rejects with an AssertionError when the storage does not do it. */
  run (subject: StorageUnderTest): Promise<void>
}

const MEGABYTE = 1024 * 1024
const FILE = { name: 'photo.png', type: 'image/png' }

/**
 * The checks. Run each on a storage that is started.
 * @example for (const { name, run } of storageChecks) test(name, () => run(subject))
 */
export const storageChecks: readonly StorageCheck[] = [
  { name: 'a published file is what was written', run: subject => publishesWhatWasWritten(subject, 1000, 3) },
  { name: 'a file of many megabytes is what was written', run: subject => publishesWhatWasWritten(subject, MEGABYTE, 12) },
  { name: 'a file may be empty', run: subject => publishesWhatWasWritten(subject, 0, 0) },
  { name: 'a file is invisible until it is published', run: isInvisibleUntilPublished },
  { name: 'a discarded file leaves nothing', run: subject => leavesNothing(subject, 12) },
  { name: 'a file that was discarded before its content leaves nothing', run: subject => leavesNothing(subject, 0) },
  { name: 'discarding twice is the same as once', run: discardsTwice },
  { name: 'two files of one name are two files', run: keepsBothOfOneName },
  { name: 'the name of a file is never a path', run: makesItsOwnKeys },
  { name: 'many files at once do not mix', run: keepsManyApart }
]

async function publishesWhatWasWritten (subject: StorageUnderTest, size: number, chunks: number): Promise<void> {
  const content = randomBytes(size * chunks)
  const { key } = await store(subject.storage, content, size)
  assert.ok(content.equals(await subject.read(key)), 'the content differs')
  assert.deepEqual(await subject.leftovers(), [])
}

async function isInvisibleUntilPublished (subject: StorageUnderTest): Promise<void> {
  const before = await sortedKeys(subject)
  const sink = await subject.storage.open(FILE)
  await sink.write(randomBytes(1000))
  assert.deepEqual(await sortedKeys(subject), before)
  const { key } = await sink.publish()
  assert.deepEqual(await sortedKeys(subject), [...before, key].sort())
}

async function leavesNothing (subject: StorageUnderTest, chunks: number): Promise<void> {
  const before = await sortedKeys(subject)
  const sink = await subject.storage.open(FILE)
  await writeAll(sink, randomBytes(chunks * MEGABYTE), MEGABYTE)
  await sink.discard()
  assert.deepEqual(await sortedKeys(subject), before)
  assert.deepEqual(await subject.leftovers(), [])
}

async function discardsTwice (subject: StorageUnderTest): Promise<void> {
  const sink = await subject.storage.open(FILE)
  await sink.write(randomBytes(10))
  await sink.discard()
  await sink.discard()
  assert.deepEqual(await subject.leftovers(), [])
}

async function keepsBothOfOneName (subject: StorageUnderTest): Promise<void> {
  const contents = [randomBytes(100), randomBytes(100)]
  const stored = await Promise.all(contents.map(content => store(subject.storage, content, 10)))
  for (const [index, { key }] of stored.entries()) assert.ok(contents[index]!.equals(await subject.read(key)))
}

async function makesItsOwnKeys (subject: StorageUnderTest): Promise<void> {
  for (const name of ['../../escaped', '/escaped', '..\\escaped', 'con', 'a\u0000b', '']) {
    const { key } = await store(subject.storage, Buffer.from('x'), 1, name)
    assert.match(key, /^[A-Za-z0-9][A-Za-z0-9/_-]*$/)
    assert.ok(!key.includes('escaped'))
  }
}

async function keepsManyApart (subject: StorageUnderTest): Promise<void> {
  const contents = Array.from({ length: 20 }, (_, index) => Buffer.alloc(10_000, index))
  const stored = await Promise.all(contents.map(content => store(subject.storage, content, 1000)))
  assert.equal(new Set(stored.map(({ key }) => key)).size, contents.length)
  for (const [index, { key }] of stored.entries()) assert.ok(contents[index]!.equals(await subject.read(key)))
}

async function store (storage: Storage, content: Buffer, size: number, name = FILE.name): Promise<{ key: string }> {
  const sink = await storage.open({ ...FILE, name })
  await writeAll(sink, content, size)
  return sink.publish()
}

async function writeAll (sink: Sink, content: Buffer, size: number): Promise<void> {
  for (let offset = 0; offset < content.length; offset += size) await sink.write(content.subarray(offset, offset + size))
}

async function sortedKeys (subject: StorageUnderTest): Promise<string[]> {
  return (await subject.keys()).sort()
}
