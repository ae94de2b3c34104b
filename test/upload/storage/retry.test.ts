// Trying again what has to be done in the end.
import t from 'tap'
import { keepTrying } from '../../../lib/upload/storage/retry.js'

// Its own timers keep no process alive.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

t.test('it tries until it works', async t => {
  const answers = [false, false, true, true]

  t.equal(await keepTrying(async () => answers.shift()!, { firstDelay: 1, longestDelay: 2, giveUpAfter: 60_000 }), true)
  t.strictSame(answers, [true])
})

t.test('it gives up in the end', async t => {
  let tries = 0

  t.equal(await keepTrying(async () => { tries++; return false }, { firstDelay: 1, longestDelay: 1, giveUpAfter: 20 }), false)
  t.ok(tries > 0)
})
