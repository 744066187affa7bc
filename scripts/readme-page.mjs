// What a page has around a README's lines: a reader with a card in it, a person at the PIN dialog, a document, and a
// site that lets people log in. Loaded before the lines by `npm run check`, in a project with our packages installed.
import { createLoginVerifier, memoryNonceStore, notChecked } from '@webtoki/login/server'
import { createPivCard, demoCa, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'

const origin = 'https://example.org'
const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
reader.insert(createPivCard())

const nonces = memoryNonceStore()
const anchors = [demoCa.certificate]
const verifier = createLoginVerifier({ origin, anchors, revocation: notChecked, nonces })
const site = {
  '/nonce': async () => ({ nonce: await nonces.issue('one') }),
  '/login': async (body) => ({ name: (await verifier.verify(body, 'one')).identity.commonName }),
}

let asked = 0
const given = {
  navigator: { usb: virtualUsb([reader], { grants: 'none' }) },
  location: { origin },
  anchors,
  fetch: async (path, { body }) => Response.json(await site[path](body)),
  dialog: { ask: async () => ({ pin: new TextEncoder().encode(++asked > 2 ? '' : '123456') }) },
  file: new File(['Dear reader,'], 'letter.txt'),
}
for (const [name, value] of Object.entries(given)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
}
