// `node readme-page.mjs EXAMPLE SERVER`: a page whose button runs a README's example, with a reader and a card in it, a
// person at the PIN dialog, a document, and the README's site on loopback. The person clicks three times: a wrong PIN, a
// cancel, the right PIN. Runs in a project with our packages installed.
import assert from 'node:assert/strict'
import { subscribe } from 'node:diagnostics_channel'
import { pathToFileURL } from 'node:url'
import { createPivCard, demoCa, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'

const [example, server] = process.argv.slice(2).map((path) => pathToFileURL(path).href)
const origin = 'https://example.org'

Object.assign(process.env, { ORIGIN: origin, PORT: '0' })
const listening = new Promise((resolve) => {
  subscribe('tracing:net.server.listen:asyncEnd', (told) => resolve(told.server))
})
await import(server)
const site = await listening
const { fetch } = globalThis
let cookie = ''

/** As a browser asks its own site: a cookie comes back to who set it. */
async function ask(path, { headers, ...init }) {
  const url = new URL(path, `http://localhost:${site.address().port}`)
  const response = await fetch(url, { ...init, headers: { cookie, ...headers } })
  cookie = response.headers.get('set-cookie')?.split(';', 1)[0] ?? cookie
  return response
}

const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
const card = createPivCard()
reader.insert(card)
let typed
let posted
const said = []
const given = {
  navigator: { usb: virtualUsb([reader], { grants: 'none' }) },
  location: { origin },
  anchors: [demoCa.certificate],
  fetch: (path, init) => {
    posted = init.body ?? posted
    return ask(path, init)
  },
  dialog: { ask: async () => typed && { pin: new TextEncoder().encode(typed) } },
  file: new File(['Dear reader,'], 'letter.txt'),
  console: { ...console, log: (...words) => said.push(words.join(' ')) },
}
for (const [name, value] of Object.entries(given)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
}

let clicks = 0
/** The same page runs the same code again, by another address; resolves to what went wrong, by its names. */
async function click(pin) {
  typed = pin
  clicks += 1
  said.length = 0
  const codes = []
  try {
    await import(`${example}?click=${clicks}`)
  } catch (error) {
    for (let at = error; at instanceof Error; at = at.cause) codes.push(at.rvName ?? at.message)
  }
  return codes
}

assert.match((await click('654321')).join(', '), /CKR_PIN_INCORRECT/)
assert.match((await click(undefined)).join(', '), /CKR_FUNCTION_CANCELED/)
assert.deepEqual(await click('123456'), [])
assert.match(said.join('\n'), /Welcome, Ada Lovelace|signed by .*Ada Lovelace.*true/)
assert.equal(card.pinTriesLeft, 3)

if (posted !== undefined) {
  const refused = async (body, reason, init) => {
    const response = await ask('/login', { method: 'POST', body, ...init })
    assert.deepEqual([response.status, await response.json()], [401, { reason }])
  }
  // Its own nonce is used up; those of the logins that were broken off are still there, and it was not made for them.
  await refused(posted, 'signature')
  await ask('/nonce', { method: 'POST' })
  await refused(posted, 'nonce-missing', { headers: { cookie: '' } })
  await ask('/nonce', { method: 'POST' })
  await refused(posted, 'signature')
  await ask('/nonce', { method: 'POST' })
  await refused('{}', 'format')
  for (const [path, method] of [
    ['/login', 'GET'],
    ['/elsewhere', 'POST'],
  ])
    assert.equal((await ask(path, { method })).status, 404)
  assert.deepEqual(await click('123456'), [])
  assert.match(said.join('\n'), /Welcome, Ada Lovelace/)
}
site.close()
site.closeAllConnections()
