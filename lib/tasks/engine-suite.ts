// What every engine must do, as checks that any test runner can run. An entry point of its own.
import { lifeChecks } from './suite/life-checks.js'
import { peerChecks } from './suite/peer-checks.js'
import { runChecks } from './suite/run-checks.js'
import type { EngineCheck } from './suite/harness.js'

export type { EngineCheck, EngineUnderTest } from './suite/harness.js'

/**
 * The checks. Each gets an engine of its own from `open`, and closes it.
 * @example for (const { name, run } of engineChecks) test(name, () => run({ open: async host => { ... } }))
 */
export const engineChecks: readonly EngineCheck[] = [...runChecks, ...lifeChecks, ...peerChecks]
