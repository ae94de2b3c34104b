// Reading options by their schema: defaults, and errors that say what was expected and received.
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { integer, optional, readOptions } from '../../lib/core/options.js'

const schema = Type.Object({ count: optional(integer(1), { default: 7 }) })

t.test('gives the defaults of options that are not given', async t => {
  t.strictSame(readOptions('thing', schema, {}), { count: 7 })
  t.strictSame(readOptions('thing', schema, { count: 3 }), { count: 3 })
})

t.test('says what was expected and received', async t => {
  t.throws(() => readOptions('thing', schema, { count: 0 }), { code: 'FST_MULTI_STATUS_INVALID_OPTION', message: /thing\.count must be an integer from 1 to \d+; received 0/ })
  t.throws(() => readOptions('thing', schema, 5), { message: /thing must be an object of options; received 5/ })
  t.throws(() => readOptions('', schema, 5), { message: /the options must be an object of options; received 5/ })
  t.throws(() => readOptions('thing', schema, { cuont: 1 }), { message: /an option in thing must be .*"count"; received "cuont"/ })
})
