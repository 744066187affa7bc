// `node readme-page.mjs EXAMPLE SERVER`: runs a README's page example as the click handler of a page, against a virtual reader
// and card and the README's server on loopback. Clicks three times: with a wrong PIN, with a cancelled PIN dialog, and with the
// right PIN. Runs in a folder in which the packages are installed.
import assert from 'node:assert/strict'
import { subscribe } from 'node:diagnostics_channel'
import { pathToFileURL } from 'node:url'
import { createPivCard, demoCa, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'

const [example, server] = process.argv.slice(2).map((path) => pathToFileURL(path).href)
const origin = 'https://example.org'

Object.assign(process.env, { ORIGIN: origin, PORT: '0' })
const listening = new Promise((resolve) => {
  subscribe('tracing:net.server.listen:asyncEnd', (event) => resolve(event.server))
})
await import(server)
const site = await listening
const { fetch } = globalThis
let cookie = ''

/** Sends a request to the site like a browser, which sends back the cookie that the site has set. */
async function request(path, { headers, ...init }) {
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
const logged = []
const globals = {
  navigator: { usb: virtualUsb([reader], { grants: 'none' }) },
  location: { origin },
  anchors: [demoCa.certificate],
  fetch: (path, init) => {
    posted = init.body ?? posted
    return request(path, init)
  },
  dialog: { ask: async () => typed && { pin: new TextEncoder().encode(typed) } },
  file: new File(['Dear reader,'], 'letter.txt'),
  console: { ...console, log: (...words) => logged.push(words.join(' ')) },
}
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
}

let clicks = 0
/**
 * Runs the example. The query string makes Node load the module again. Resolves to the return values or messages of the error
 * and its causes.
 */
async function click(pin) {
  typed = pin
  clicks += 1
  logged.length = 0
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
assert.match(logged.join('\n'), /Welcome, Ada Lovelace|signed by .*Ada Lovelace.*true/)
assert.equal(card.pinTriesLeft, 3)

if (posted !== undefined) {
  const refused = async (body, reason, init) => {
    const response = await request('/login', { method: 'POST', body, ...init })
    assert.deepEqual([response.status, await response.json()], [401, { reason }])
  }
  // The token's own nonce is used up. The session still has the nonces of the two failed logins, which the token does not sign.
  await refused(posted, 'signature')
  await request('/nonce', { method: 'POST' })
  await refused(posted, 'nonce-missing', { headers: { cookie: '' } })
  await request('/nonce', { method: 'POST' })
  await refused(posted, 'signature')
  await request('/nonce', { method: 'POST' })
  await refused('{}', 'format')
  for (const [path, method] of [
    ['/login', 'GET'],
    ['/elsewhere', 'POST'],
  ])
    assert.equal((await request(path, { method })).status, 404)
  assert.deepEqual(await click('123456'), [])
  assert.match(logged.join('\n'), /Welcome, Ada Lovelace/)
}
site.close()
site.closeAllConnections()
