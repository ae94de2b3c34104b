// Exports only.
export * from './batch.js'
export * from './contract.js'
export * from './failure.js'
export * from './generic.js'
export * from './tasks.js'
export * from './upload.js'
