// Fastify's own style: neostandard, in TypeScript too.
import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist/', 'build/', '.tap/', 'uploads/'] }),
  // A TypeBox schema and its type share a name; TypeScript itself reports real redeclarations.
  { files: ['**/*.ts'], rules: { '@typescript-eslint/no-redeclare': 'off' } }
]
