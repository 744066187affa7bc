/** How the demo's server begins, where it cannot. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const main = fileURLToPath(new URL('../../demo/dist/server/main.js', import.meta.url))

function refusal(port: string): string {
  const { status, stderr } = spawnSync(process.execPath, [main], {
    encoding: 'utf8',
    env: { ...process.env, PORT: port },
    timeout: 30_000,
  })
  expect(status).toBe(1)
  return stderr
}

it('says in one line that its port is taken, and what to do', async () => {
  const other = createServer().listen(0, 'localhost')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  expect(refusal(String(port))).toMatch(
    new RegExp(`^The demo cannot serve: .*EADDRINUSE.*:${port}\\. PORT chooses another port.*\\n$`),
  )
  other.close()
})

it('says in one line that its port is none', () => {
  expect(refusal('eighty')).toMatch(/^The demo cannot serve: .*PORT chooses another port.*\n$/)
})
