// Takes the figures of the serializers on the engine it runs on, and prints them as JSON: node serializer-run.js ROUNDS
import { pathToFileURL } from 'node:url'
import { FormatRegistry, Type, type TObject } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import fastJson, { type Schema } from 'fast-json-stringify'
import { compileSerializer } from '../../lib/core/results/serializer.js'
import { defineContract, type AnyContract } from '../../lib/index.js'

/** The first is what the others are measured against. */
export const serializers = [
  'JSON.stringify', 'multi-status', "Fastify's default", 'oneOf + if/then', 'TypeBox check + JSON.stringify'
] as const

/** Milliseconds that each serializer took for one answer, by round. */
export type Timings = Record<typeof serializers[number], number[]>

// What TypeBox does not know it refuses.
FormatRegistry.Set('date-time', () => true)

const ITEMS = 1000
const TIMES = 10

const small = contractOf(Type.Object({}))
const rich = contractOf(Type.Object({
  name: Type.String(), email: Type.String(), version: Type.Integer(), active: Type.Boolean(), createdAt: Type.String({ format: 'date-time' })
}))
const wide = defineContract({
  name: 'Row', key: 'id', success: ['one', 'two', 'three', 'four', 'five', 'six', 'done'], failure: 'failed', reason: 'message', data: rich.data
})

function contractOf (data: TObject) {
  return { ...defineContract({ name: 'Row', key: 'id', success: 'done', failure: 'failed', reason: 'message', data }), data }
}

function smallResults (every: number) {
  return make(index => index % every === 0 ? { id: index, status: 'failed', message: 'Invalid data' } : { id: index, status: 'done' })
}

function richResults (every: number) {
  return make(index => index % every === 0
    ? { id: `user-${index}`, status: 'failed', message: 'Email taken', code: 'EMAIL_TAKEN', statusCode: 409, retryable: false }
    : { id: `user-${index}`, status: 'done', name: `Ada Lovelace ${index}`, email: `ada${index}@example.org`, version: index * 7, active: true, createdAt: new Date(1.7e12 + index * 1e6).toISOString() })
}

/** Through JSON, as results whose texts come from a request or a database: pieced together texts are slow for all. */
function make (result: (index: number) => object): object[] {
  return Array.from({ length: ITEMS }, (_, index) => JSON.parse(JSON.stringify(result(index))) as object)
}

function createSerializers (contract: AnyContract): Record<typeof serializers[number], (results: object[]) => string> {
  const union = fastJson(contract.schemas.body as unknown as Schema)
  const chain = fastJson(chainOf(contract))
  const check = TypeCompiler.Compile(contract.schemas.body)
  const serialize = compileSerializer(contract)
  const context = { onInvalid: (_index: number, _key: unknown, why: string) => { throw new Error(why) } }
  return {
    'JSON.stringify': results => JSON.stringify({ results }),
    'multi-status': results => `{"results":${serialize(results, context).next(Infinity).text}}`,
    "Fastify's default": results => union({ results }),
    'oneOf + if/then': results => chain({ results }),
    'TypeBox check + JSON.stringify': results => {
      if (!check.Check({ results })) throw new Error('misfit')
      return JSON.stringify({ results })
    }
  }
}

/** fast-json-stringify told to look at the status alone, as its documentation shows; an unknown status it rewrites. */
function chainOf ({ schemas }: AnyContract): Schema {
  const chain = [...schemas.successes, schemas.failure].reduceRight<object>((rest, branch) => ({
    if: { type: 'object', properties: { status: (branch.properties as { status: object }).status } }, then: branch, else: rest
  }), schemas.failure)
  return { type: 'object', properties: { results: { type: 'array', items: { type: 'object', ...chain } } } } as Schema
}

/** All of them in every round, in turns, so that what else the machine does falls on all of them. */
function measure (contract: AnyContract, results: object[], rounds: number): Timings {
  const all = createSerializers(contract)
  const timings = Object.fromEntries(serializers.map(name => [name, [] as number[]])) as Timings
  const expected = JSON.stringify({ results })
  for (const name of serializers) if (all[name](results) !== expected) throw new Error(`${name} answers something else`)
  for (let round = -rounds; round < rounds; round++) {
    for (const name of serializers) {
      const start = performance.now()
      // The length, because a text that is only put together of pieces is not done.
      for (let time = 0; time < TIMES; time++) Buffer.byteLength(all[name](results))
      if (round >= 0) timings[name].push((performance.now() - start) / TIMES)
    }
  }
  return timings
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const rounds = Number(process.argv[2])
  const timings = {
    'small, 1 in 10 failed': measure(small, smallResults(10), rounds),
    'small, 1 in 2 failed': measure(small, smallResults(2), rounds),
    'rich, 1 in 10 failed': measure(rich, richResults(10), rounds),
    'rich, 1 in 2 failed': measure(rich, richResults(2), rounds),
    'rich, 8 branches, 1 in 10 failed': measure(wide, richResults(10), rounds)
  }
  console.log(JSON.stringify({ version: process.version, timings }))
}
