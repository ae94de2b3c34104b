// Makes every route with `config: { multiStatus: contract }` a bulk route: validates its items one by one, and documents
// it by its contract.
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, RouteOptions } from 'fastify'
import type { AnyContract } from '../../schemas/index.js'
import { checkContract } from './options.js'
import { isErrorAnswer } from './openapi/errors.js'
import { documentRoute } from './openapi/operations.js'
import { findItemArray, type ItemArray } from './items/body-schema.js'
import { compileKeyRules } from './items/keys.js'
import { createCompiler, createExampleCompiler, type Compile } from './items/validator.js'
import { expectAllValid, readBatch, type Batch, type ItemRules } from './items/batch.js'
import { setPreferenceAppliedHeader, readPreferences, setVaryHeader } from './request/preferences.js'
import type { StatusPolicy } from './reply/multi-status.js'
import { serializerOf } from './results/serializer.js'
import { addStreamRoute, prepareStreamRoute } from './stream-route.js'
import type { JsonSchema } from './items/tagged-union.js'

/** The options of the plugin that routes depend on. */
export interface RouteSettings {
  readonly status: StatusPolicy
  readonly maxInFlight: number
}

/** Prepares every route with a contract that is added to the app from now on. */
export function prepareContractRoutes (app: FastifyInstance, settings: RouteSettings): void {
  app.decorateRequest('multiStatusBatch', null)
  app.addHook('onRoute', function (route) {
    const { multiStatus: contract, multiStatusStream: stream, multiStatusStreamRoute: streamRoute } = route.config ?? {}
    if (route.method === 'HEAD') return
    if (contract !== undefined) prepareRoute(this, route, contract, settings)
    if (stream !== undefined) prepareStreamRoute(this, route, stream, settings.maxInFlight)
    if (streamRoute !== undefined) addStreamRoute(this, streamRoute)
  })
}

/**
 * Gives Fastify a schema without the items and results. With them it would answer 400 for the whole batch because of one
 * invalid item, and 500 after the work because of one invalid result. The documentation gets the whole schema.
 */
function prepareRoute (app: FastifyInstance, route: RouteOptions, contract: AnyContract, settings: RouteSettings): void {
  checkContract('config.multiStatus', contract)
  const given = route.schema ?? {}
  const itemArray = findItemArray(given.body as JsonSchema | undefined, id => app.getSchema(id))
  route.schema = withoutResults(given, contract)
  if (itemArray !== undefined) splitBody(app, route, itemArray, contract)
  app.addHook('onReady', async () => {
    const bodyLimit = route.bodyLimit ?? app.initialConfig.bodyLimit!
    route.schema = documentRoute(given, contract, { ...settings, itemArray, bodyLimit, compile: createExampleCompiler(app) })
    // Now, because a contract that cannot be serialized must fail at the start, not after the work.
    serializerOf(contract, app)
  })
}

/** Removes the responses that the contract or the plugin describes. */
function withoutResults (schema: FastifySchema, contract: AnyContract): FastifySchema {
  const others = Object.entries(schema.response ?? {}).filter(([code, one]) => code !== '207' && one !== contract.schemas.body && !isErrorAnswer(one))
  return { ...schema, response: Object.fromEntries(others) }
}

/** Adds `errors` to Fastify's error response. It changes no other response. */
const ItemErrors = {
  type: 'object',
  properties: { statusCode: {}, code: {}, error: {}, message: {}, errors: {} },
  additionalProperties: true
}

function withItemErrors (responses: unknown): Record<string, unknown> {
  const given = responses as Record<string, unknown>
  return Object.keys(given).some(code => /^4(22|xx)$/i.test(code)) ? given : { ...given, 422: ItemErrors }
}

/** Validates the items after every other preValidation hook, just before Fastify validates the rest of the body. */
function splitBody (app: FastifyInstance, route: RouteOptions, itemArray: ItemArray, contract: AnyContract): void {
  const { body: _, ...schema } = route.schema!
  // A custom serializer compiler may not understand JSON Schema.
  const speaksJsonSchema = app.serializerCompiler === undefined || route.serializerCompiler !== undefined
  route.schema = { ...schema, ...(itemArray.rest !== undefined && { body: itemArray.rest }), response: speaksJsonSchema ? withItemErrors(schema.response) : schema.response }

  let rules: ItemRules
  app.addHook('onReady', async () => { rules = compileRules(itemArray, contract, createCompiler(app)) })
  route.preValidation = [route.preValidation ?? [], (request: FastifyRequest, reply: FastifyReply, next: () => void) => {
    const batch = readBatch(request.body, rules)
    setVaryHeader(reply)
    if (readPreferences(request).strict) {
      setPreferenceAppliedHeader(reply, 'handling=strict')
      expectAllValid(batch, rules)
    }
    request.multiStatusBatch = batch
    keepValid(request, batch)
    next()
  }].flat()
}

function compileRules ({ member, array, items, maxItems }: ItemArray, contract: AnyContract, compile: Compile): ItemRules {
  return { member, maxItems, ...compileKeyRules(contract, compile), validateArray: compile(array), validateItem: compile(items) }
}

/** Removes invalid items from the body, so that handlers see only valid ones. A copy, because handlers may change the array. */
function keepValid (request: FastifyRequest, { items, member, invalid }: Batch): void {
  if (invalid.size === 0) return
  if (member === undefined) request.body = items.slice()
  else (request.body as Record<string, unknown>)[member] = items.slice()
}
