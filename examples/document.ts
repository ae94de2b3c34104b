// Writes the OpenAPI document of the example server to a file, or to standard output.
//   npm run docs -- openapi.json
import { writeFile } from 'node:fs/promises'
import { build } from './server.js'

const [file] = process.argv.slice(2)
const app = await build()
await app.ready()
const document = `${JSON.stringify(app.swagger(), null, 2)}\n`
await app.close()
if (file === undefined) console.log(document.trimEnd())
else await writeFile(file, document)
