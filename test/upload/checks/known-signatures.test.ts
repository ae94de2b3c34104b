// Content without any signature is told at once, and never content with one.
import { randomBytes } from 'node:crypto'
import { fileTypeFromBuffer, FileTypeParser } from 'file-type'
import t from 'tap'
import { learnSignatures } from '../../../lib/upload/checks/known-signatures.js'

const SIZE = 4100
const contents = (count: number) => Array.from({ length: count }, () => randomBytes(SIZE))

/** Content with bytes or text at an offset. */
function make (offset: number, bytes: string | readonly number[], background = randomBytes(SIZE)): Buffer {
  const content = Buffer.from(background)
  content.set(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, offset)
  return content
}

t.test('most content without a signature is told', async t => {
  const mayHave = await learnSignatures(SIZE)
  const unknown = contents(2000).filter(content => !mayHave(content))
  t.ok(unknown.length > 1900, `${unknown.length} of 2000`)
  t.notOk(mayHave(Buffer.alloc(SIZE, 'Ordinary text has no signature. ')))
})

/** Signatures that do not stand at the beginning, or are not all that has to be there. */
const samples: Record<string, Buffer> = {
  'video/mp4': make(4, 'ftypisom', Buffer.alloc(SIZE)),
  'image/avif': make(4, 'ftypavif', Buffer.alloc(SIZE)),
  'image/jp2': make(0, [0, 0, 0, 12, 0x6a, 0x50, 0x20, 0x20, 0x0d, 0x0a, 0x87, 0x0a, 0, 0, 0, 20, 0x66, 0x74, 0x79, 0x70, 0x6a, 0x70, 0x32, 0x20]),
  'image/webp': make(0, 'RIFF\x24\x00\x00\x00WEBPVP8 '),
  'application/x-tar': make(257, 'ustar\x0000', Buffer.alloc(SIZE, 'x')),
  'application/vnd.iccprofile': make(36, 'acsp', Buffer.alloc(SIZE, 'z')),
  'application/x-blender': make(0, 'BLENDER-v293'),
  'audio/mpeg': make(0, [0xff, 0xfb, 0x90, 0x64]),
  'audio/aac': make(0, [0xff, 0xf1, 0x50, 0x80]),
  'application/x-shockwave-flash': make(0, 'CWS\x0a'),
  'application/pdf': make(0, '%PDF-1.7\n'),
  'font/woff2': make(0, 'wOF2\x00\x01\x00\x00'),
  'application/x-mobipocket-ebook': make(60, 'BOOKMOBI', Buffer.alloc(SIZE, 'q'))
}

t.test('content with a signature is never taken for such', async t => {
  const mayHave = await learnSignatures(SIZE)
  for (const [mime, content] of Object.entries(samples)) {
    t.equal((await fileTypeFromBuffer(content))?.mime, mime)
    t.ok(mayHave(content), mime)
  }
})

t.test('of all pairs of bytes at the beginning, none that makes a type is missed', async t => {
  const mayHave = await learnSignatures(SIZE)
  const missed: string[] = []
  for (const background of [Buffer.alloc(SIZE), randomBytes(SIZE)]) {
    for (let pair = 0; pair < 65536; pair++) {
      background.writeUInt16BE(pair)
      if (mayHave(background)) continue
      const type = await fileTypeFromBuffer(background)
      if (type !== undefined) missed.push(`${pair.toString(16)}: ${type.mime}`)
    }
  }
  t.strictSame(missed, [])
})

/** What a parser looks at its content with. */
interface Private {
  buffer: Uint8Array
  check (bytes: number[], options?: { offset?: number, mask?: number[] }): boolean
}

interface Tokenizer { peekBuffer (target: Uint8Array, options: { length: number }): Promise<number> }

/** A parser that looks at its content in a way of its own. */
function searchingBy (look: (parser: Private, tokenizer: Tokenizer) => unknown): typeof FileTypeParser {
  return class extends FileTypeParser {
    constructor () {
      super()
      const parser = this as unknown as Private
      const detect = async (tokenizer: unknown) => {
        parser.buffer = new Uint8Array(SIZE)
        await (tokenizer as Tokenizer).peekBuffer(parser.buffer, { length: 32 })
        parser.check([1, 2, 3])
        await look(parser, tokenizer as Tokenizer)
        return undefined
      }
      this.detectors = [{ id: 'own', detect }]
    }
  } as typeof FileTypeParser
}

const unclear: Record<string, (parser: Private, tokenizer: Tokenizer) => unknown> = {
  'looks at two bytes': ({ buffer }) => buffer[0] === 1 || buffer[1] === 2,
  'takes what it has read for something else': ({ buffer }) => buffer.subarray(0, 4),
  'looks at a byte that it has not read': ({ buffer }) => buffer[100] === 0,
  'looks for what it has not read': parser => parser.check([0, 0], { offset: 100 }),
  'looks where there may be nothing': async (parser, tokenizer) => {
    await tokenizer.peekBuffer(parser.buffer, { length: SIZE })
    parser.check([7], { offset: SIZE - 1 })
  },
  'reads into memory of its own': (_, tokenizer) => tokenizer.peekBuffer(new Uint8Array(10), { length: 10 }),
  'needs more than is known of': () => { throw new Error('no content') }
}

for (const [name, look] of Object.entries(unclear)) {
  t.test(`no content is told where file-type ${name}`, async t => {
    const mayHave = await learnSignatures(SIZE, searchingBy(look))
    t.ok(contents(100).every(mayHave))
  })
}

t.test('nor where it looks for nothing that is known of', async t => {
  class Silent extends FileTypeParser {
    constructor () {
      super()
      this.detectors = [{ id: 'own', detect: async () => undefined }]
    }
  }
  const mayHave = await learnSignatures(SIZE, Silent)
  t.ok(contents(100).every(mayHave))
})

t.test('a signature is what it is under its mask, after a byte that decides what is looked for, and no byte is above 255', async t => {
  const mayHave = await learnSignatures(SIZE, searchingBy(parser => {
    parser.check([300])
    parser.check([1, 300])
    parser.check([0x10], { offset: 8, mask: [0xf0] })
    if (parser.buffer[4] === 0x55) parser.check([9, 9], { offset: 5 })
  }))
  const nothing = Buffer.alloc(SIZE, 0xee)
  t.notOk(mayHave(nothing))
  t.ok(mayHave(make(0, [1, 2], nothing)))
  t.notOk(mayHave(make(0, [1, 3], nothing)))
  t.ok(mayHave(make(8, [0x1b], nothing)))
  t.ok(mayHave(make(5, [9, 9], nothing)))
})
