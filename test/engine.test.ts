// Every engine does what an engine must, by the same checks.
import t from 'tap'
import { engineChecks } from '../lib/tasks/engine-suite.js'
import { inProcess } from '../lib/tasks/memory.js'

t.test('inProcess', async t => {
  for (const { name, run } of engineChecks) {
    await t.test(name, () => run({
      async open (host) {
        const engine = inProcess()
        await engine.start!(host)
        return engine
      }
    }))
  }
})
