// Makes a route with `config: { multiStatus: contract }` a bulk route: its items are validated one by one, and its
// documentation comes from the contract.
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, RouteOptions } from 'fastify'
import type { AnyContract } from '../../schemas/index.js'
import { checkContract } from './options.js'
import { isErrorAnswer } from './openapi/errors.js'
import { documentRoute } from './openapi/operations.js'
import { findItemArray, type ItemArray } from './items/body-schema.js'
import { compileKeyRules } from './items/keys.js'
import { createCompiler, createExampleCompiler, type Compile } from './items/validator.js'
import { expectAllValid, readBatch, type Batch, type ItemRules } from './items/batch.js'
import { notePreference, readPreferences, varyByPrefer } from './request/preferences.js'
import type { StatusPolicy } from './reply/multi-status.js'
import { serializerOf } from './results/serializer.js'
import { addStreamRoute, prepareStreamRoute } from './stream-route.js'
import type { JsonSchema } from './items/tagged-union.js'

/** The options of the plugin that routes depend on. */
export interface RouteSettings {
  readonly status: StatusPolicy
  readonly maxInFlight: number
}

/** From now on, every route of the app that names a contract becomes a bulk route. */
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
 * Fastify gets a schema without the items and without the results, because it would answer 400 for all items where one
 * is bad, and 500 after the work where one result is. Documentation gets the whole schema, when the app is ready.
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
    // Now rather than when the work is done, because it is then too late to fail.
    serializerOf(contract, app)
  })
}

/** Leaves of the responses those that neither the contract nor the plugin describes. */
function withoutResults (schema: FastifySchema, contract: AnyContract): FastifySchema {
  const others = Object.entries(schema.response ?? {}).filter(([code, one]) => code !== '207' && one !== contract.schemas.body && !isErrorAnswer(one))
  return { ...schema, response: Object.fromEntries(others) }
}

/** Fastify's error answer has no `errors` unless a schema says so. This one lets every other answer through as it is. */
const ItemErrors = {
  type: 'object',
  properties: { statusCode: {}, code: {}, error: {}, message: {}, errors: {} },
  additionalProperties: true
}

function withItemErrors (responses: unknown): Record<string, unknown> {
  const given = responses as Record<string, unknown>
  return Object.keys(given).some(code => /^4(22|xx)$/i.test(code)) ? given : { ...given, 422: ItemErrors }
}

/** Validates the items when Fastify would have validated the body: after every other preValidation hook. */
function splitBody (app: FastifyInstance, route: RouteOptions, itemArray: ItemArray, contract: AnyContract): void {
  const { body: _, ...schema } = route.schema!
  // A compiler of the app's own may know nothing of JSON Schema.
  const speaksJsonSchema = app.serializerCompiler === undefined || route.serializerCompiler !== undefined
  route.schema = { ...schema, ...(itemArray.rest !== undefined && { body: itemArray.rest }), response: speaksJsonSchema ? withItemErrors(schema.response) : schema.response }

  let rules: ItemRules
  app.addHook('onReady', async () => { rules = compileRules(itemArray, contract, createCompiler(app)) })
  route.preValidation = [route.preValidation ?? [], (request: FastifyRequest, reply: FastifyReply, next: () => void) => {
    const batch = readBatch(request.body, rules)
    varyByPrefer(reply)
    if (readPreferences(request).strict) {
      notePreference(reply, 'handling=strict')
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

/** A handler sees what Fastify has always shown it: a body that is valid. Not the batch's own, as it may sort it or take something away. */
function keepValid (request: FastifyRequest, { items, member, invalid }: Batch): void {
  if (invalid.size === 0) return
  if (member === undefined) request.body = items.slice()
  else (request.body as Record<string, unknown>)[member] = items.slice()
}
