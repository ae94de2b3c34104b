// What it costs to validate items one by one, beside Fastify's own validation of the whole array:
//   npx tsx examples/benchmark/validation.ts [--quick]
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { AjvCompiler } from '@fastify/ajv-compiler'
import { Type, type TSchema } from '@sinclair/typebox'
import { findItemArray } from '../../lib/core/items/body-schema.js'
import { compileKeyRules } from '../../lib/core/items/keys.js'
import { createCompiler } from '../../lib/core/items/validator.js'
import { readBatch, type ItemRules } from '../../lib/core/items/batch.js'
import { defineContract } from '../../lib/index.js'
import { formatTable, median, printReport } from './report.js'

const ITEMS = 1000
const TIMES = 10

const Contact = Type.Object({ email: Type.String({ format: 'email', maxLength: 254 }), name: Type.String({ minLength: 1, maxLength: 100 }) })
const Address = Type.Object({ street: Type.String(), city: Type.String({ minLength: 1 }), zip: Type.String({ pattern: '^[0-9]{5}$' }) })
const Customer = Type.Object({
  email: Type.String({ format: 'email' }),
  name: Type.String({ minLength: 1, maxLength: 100 }),
  since: Type.String({ format: 'date-time' }),
  tags: Type.Array(Type.String(), { maxItems: 10 }),
  address: Address
})

const contract = defineContract({ name: 'Row', key: 'email', keyType: Type.String(), success: 'done', failure: 'failed', reason: 'message' })

const batches: Record<string, [item: TSchema, items: unknown[]]> = {
  contacts: [Contact, make(index => ({ email: `ada${index}@example.org`, name: `Ada ${index}` }))],
  customers: [Customer, make(index => ({
    email: `ada${index}@example.org`,
    name: `Ada ${index}`,
    since: '2026-11-25T12:00:00Z',
    tags: ['a', 'b'],
    address: { street: 'Main Street 1', city: 'London', zip: '12345' }
  }))]
}

function make (item: (index: number) => unknown): unknown[] {
  return JSON.parse(JSON.stringify(Array.from({ length: ITEMS }, (_, index) => item(index)))) as unknown[]
}

/** One Markdown table: microseconds for 1,000 valid items, and relative to Fastify. */
export function measureValidation (quick = false): string {
  const rows = Object.entries(batches).map(([name, [item, items]]) => {
    const { fastify, each, batch } = measure(item, items, quick ? 30 : 200)
    const [base, alone, whole] = [median(fastify), median(each), median(batch)]
    return [name, base.toFixed(0), alone.toFixed(0), (alone / base).toFixed(2), whole.toFixed(0), (whole / base).toFixed(2)]
  })
  return '## Validating 1,000 valid items\n\nCost relative to Fastify, which answers 400 for all when one is invalid; lower is faster.\n\n' +
    formatTable(['', 'whole array, as Fastify, µs', 'one by one, µs', 'relative', 'the same with keys, and distinct, µs', 'relative'], rows)
}

function measure (item: TSchema, items: unknown[], rounds: number): Record<'fastify' | 'each' | 'batch', number[]> {
  const array = Type.Array(item)
  const { array: bare, items: schema, maxItems } = findItemArray(array as never, () => undefined)!
  const compile = createCompiler()
  const rules: ItemRules = {
    member: undefined, maxItems, ...compileKeyRules(contract, compile), validateArray: compile(bare), validateItem: compile(schema)
  }
  const check = AjvCompiler()({}, { customOptions: {} })({ schema: array } as never) as unknown as (value: unknown) => boolean
  const runs = {
    fastify: () => check(items),
    each: () => items.every(one => rules.validateItem(one) === undefined),
    batch: () => readBatch(items, rules).items.length === items.length
  }
  const timings: Record<keyof typeof runs, number[]> = { fastify: [], each: [], batch: [] }
  for (let round = -rounds; round < rounds; round++) {
    for (const [name, run] of Object.entries(runs)) {
      const start = performance.now()
      for (let time = 0; time < TIMES; time++) if (!run()) throw new Error('an item is invalid')
      if (round >= 0) timings[name as keyof typeof runs].push((performance.now() - start) / TIMES * 1000)
    }
  }
  return timings
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const { values: { quick } } = parseArgs({ options: { quick: { type: 'boolean' } } })
  await printReport(measureValidation(quick))
}
