/** GnuPG's scdaemon beside our driver, on the same virtual OpenPGP card. */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { ccidSlots } from '@webtoki/ccid'
import { CKA, CKM, CKO, Cryptoki } from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import {
  createOpenPgpCard,
  type OpenPgpCard,
  type OpenPgpCardOptions,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { inReader, runInside, whatPlacesLack } from '../../simulator/test/places.ts'
import { Scdaemon, scdaemonProgram } from '../../simulator/test/scdaemon.ts'

const missing = whatPlacesLack([scdaemonProgram, 'pkcs11-tool'])
if (missing !== undefined) {
  if (process.env['CI'] === 'true' && process.getuid?.() === 0) throw new Error(missing)
  console.warn(`The OpenPGP driver is not judged by scdaemon and OpenSC: ${missing}.`)
}

const message = Buffer.from('Dear reader,\n')
const digest = createHash('sha256').update(message).digest()

/** What our driver shows and makes of the card, which lies in a reader of its own for as long. */
async function ours(card: OpenPgpCard) {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(card)
  const usb = virtualUsb([reader], { protectedClasses: false })
  const cryptoki = new Cryptoki({
    sources: [ccidSlots({ usb })],
    drivers: [openPgpDriver()],
    login: 'on-demand',
  })
  try {
    const [slot] = await firstValueFrom(cryptoki.slots$)
    const session = await slot?.openSession({
      pin: async () => ({ pin: new TextEncoder().encode('123456') }),
    })
    const [key] = (await session?.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })) ?? []
    if (slot === undefined || session === undefined || key === undefined) throw new Error('There is no key.')
    const signature = await session.sign({ type: CKM.ECDSA }, key, digest)
    return { info: await slot.tokenInfo(), point: key.get(CKA.EC_POINT).slice(2), signature }
  } finally {
    await cryptoki.close()
    reader.remove()
  }
}

/** What scdaemon does with the same card afterwards. */
async function theirs(card: OpenPgpCard) {
  const place = await inReader(card, 'yubikey4')
  const openSc = await runInside(place.daemon, 'pkcs11-tool', '--list-token-slots')
  const scdaemon = new Scdaemon(place.daemon)
  try {
    await scdaemon.ask('SERIALNO openpgp')
    // The S-expression `(public-key (ecc (curve "NIST P-256") (q …)))`: 65 bytes after `1:q65:`.
    const { data: expression } = await scdaemon.ask('READKEY OPENPGP.1')
    const at = expression.indexOf('1:q65:') + '1:q65:'.length
    const point = new Uint8Array(expression.subarray(at, at + 65))
    await scdaemon.ask(`SETDATA ${digest.toString('hex')}`)
    const { outcome, data } = await scdaemon.ask('PKSIGN --hash=sha256 OPENPGP.1', ['123456'])
    const counter = await scdaemon.ask('GETATTR SIG-COUNTER')
    return { outcome, point, signature: new Uint8Array(data), counter: counter.status, openSc: openSc.out }
  } finally {
    await scdaemon.end()
    await place.end()
  }
}

function keyOf(point: Uint8Array): KeyObject {
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((half) =>
    Buffer.from(half).toString('base64url'),
  )
  return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: x ?? '', y: y ?? '' }, format: 'jwk' })
}

describe.skipIf(missing !== undefined)('scdaemon and our driver at one OpenPGP card', () => {
  it.each<[string, OpenPgpCardOptions]>([
    ['PINs as they are', {}],
    // GnuPG 2.2 reads KDF objects of SHA-256 only.
    ['PINs derived with three salts', { kdf: 'sha256' }],
    ['PINs derived with one salt', { kdf: 'sha256', kdfSalts: 1 }],
  ])('read the same key and sign the same digest, %s', async (_, options) => {
    const card = createOpenPgpCard(options)
    const mine = await ours(card)
    expect(card.signatureCount).toBe(1)
    const other = await theirs(card)
    expect([other.outcome, other.counter, card.signatureCount, card.pinTriesLeft]).toEqual([
      'OK',
      ['SIG-COUNTER 2'],
      2,
      3,
    ])
    expect(mine.point).toEqual(other.point)
    for (const { signature } of [mine, other]) {
      const key = { key: keyOf(mine.point), dsaEncoding: 'ieee-p1363' as const }
      expect(verify('sha256', message, key, signature)).toBe(true)
    }
    expect(/serial num +: *(\w+)/.exec(other.openSc)?.[1]).toBe(mine.info.serialNumber)
  })
})
