/**
 * Virtual PIV cards whose key management key (9D) is made by the test, so that Node has its private half too.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { encodeTlv, fromHex } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import {
  type Attributes,
  CKA,
  CKO,
  type KeyPurpose,
  type KeyUse,
  type RawMechanism,
  type TokenDriver,
} from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  type PivCardOptions,
  readerProfiles,
  type VirtualCard,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { expect } from 'vitest'

/** Bits of KeyUsage's first byte (RFC 5280, 4.2.1.3). */
export const KeyUsage = {
  digitalSignature: 0x80,
  keyEncipherment: 0x20,
  dataEncipherment: 0x10,
  keyAgreement: 0x08,
} as const

export const makeKey = {
  'RSA-1024': () => generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey,
  'RSA-2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  'RSA-3072': () => generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey,
  'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
} as const

/** Options of a card with this key in a slot. Without `keyUsage` the certificate lacks that extension. */
export function cardWith(
  privateKey: KeyObject,
  { slot = '9D', keyUsage }: { readonly slot?: '9A' | '9D'; readonly keyUsage?: number | undefined } = {},
): PivCardOptions {
  return {
    keys: { [slot]: privateKey.export({ format: 'der', type: 'pkcs8' }) },
    certificates: { [slot]: certificateOf(privateKey, keyUsage) },
  }
}

/** A certificate with the key and its usage. Its signature is not valid; no test verifies it. */
function certificateOf(privateKey: KeyObject, keyUsage: number | undefined): Uint8Array {
  const algorithm = encodeTlv(0x30, fromHex('06092a864886f70d01010b0500'))
  const commonName = encodeTlv(0x30, fromHex('0603550403'), encodeTlv(0x0c, Buffer.from('Ada Lovelace')))
  const name = encodeTlv(0x30, encodeTlv(0x31, commonName))
  const times = ['200101000000Z', '491231235959Z'].map((time) => encodeTlv(0x17, Buffer.from(time)))
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const usage = encodeTlv(0x04, Uint8Array.of(0x03, 0x02, 0x00, keyUsage ?? 0))
  const extension = encodeTlv(0x30, fromHex('0603551d0f'), usage)
  const extensions = keyUsage === undefined ? [] : [encodeTlv(0xa3, encodeTlv(0x30, extension))]
  const body = encodeTlv(
    0x30,
    fromHex('a003020102020101'),
    algorithm,
    name,
    encodeTlv(0x30, ...times),
    name,
    spki,
    ...extensions,
  )
  return encodeTlv(0x30, body, algorithm, encodeTlv(0x03, new Uint8Array(257)))
}

/** The uncompressed point of a public key: 04, x, y. */
export function pointOf(publicKey: KeyObject): Uint8Array {
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  return Uint8Array.of(4, ...Buffer.from(x, 'base64url'), ...Buffer.from(y, 'base64url'))
}

/** A key as its driver offers it, without a session; by default the one in 9D of a PIV card. */
export async function keyInDriver(
  card: VirtualCard,
  { driver = pivDriver(), token: at = 0, id = 3 }: { driver?: TokenDriver; token?: number; id?: number } = {},
) {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(card)
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  const [slot] = await firstValueFrom(source.slots$)
  const tokens = await driver.open((await slot?.connect()) ?? expect.fail())
  const token = tokens[at] ?? expect.fail()
  const isRequested = (known: Attributes): boolean =>
    known[CKA.CLASS] === CKO.PRIVATE_KEY && known[CKA.ID]?.[0] === id
  const key = token.objects().find(({ known }) => isRequested(known))
  await key?.load()
  const use = (purpose: KeyPurpose, mechanism: RawMechanism): KeyUse =>
    key?.use?.(purpose, mechanism) ?? expect.fail()
  const run = async (
    purpose: KeyPurpose,
    mechanism: RawMechanism,
    data: Uint8Array,
    pin?: string,
  ): Promise<Uint8Array> => {
    const prepared = (await use(purpose, mechanism).prepare?.(data)) ?? expect.fail()
    const { application } = key?.access ?? expect.fail()
    return application.transaction(async (channel) => {
      if (pin !== undefined) await token.pins.user.verify(channel, Uint8Array.from(Buffer.from(pin)))
      return prepared.perform(channel, {})
    })
  }
  const derive = (mechanism: RawMechanism, pin?: string): Promise<Uint8Array> =>
    run('derive', mechanism, new Uint8Array(0), pin)
  const close = async (): Promise<void> => {
    await source.close()
    reader.remove()
  }
  return { use, run, derive, close }
}
