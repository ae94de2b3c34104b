// The smallest example answers exactly as it says.
import t from 'tap'
import { build } from '../../examples/names.js'

t.test('uploads names of less than 10 characters, and fails the others', async t => {
  const app = await build()
  t.teardown(() => app.close())

  const response = await app.inject({ method: 'POST', url: '/upload', payload: { files: ['a.txt', 'averylongname.txt'] } })

  t.equal(response.statusCode, 207)
  t.equal(response.body, '{"results":[{"file":"a.txt","status":"uploaded"},{"file":"averylongname.txt","status":"failed","error":"File name too long"}]}')
  t.equal(response.headers['multi-status'], 'total=2, succeeded=1, failed=1')
  t.match(response.headers['content-type'], 'application/json')
})
