/** The attributes of card objects: each attribute of their class, from the card or its certificate. */
import { X509Certificate } from 'node:crypto'
import { ccidSlots } from '@webtoki/ccid'
import {
  CKA,
  CKK,
  CKM,
  CKO,
  type CkObject,
  Cryptoki,
  type CryptokiOptions,
  type Session,
  type TokenDriver,
} from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createOpenPgpCard,
  createPivCard,
  demoCa,
  type OpenPgpCard,
  type PivCard,
  type PivCardOptions,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { attributesOfClass } from '../src/attribute-rules.ts'

const opened: Cryptoki[] = []
afterEach(async () => {
  for (const cryptoki of opened.splice(0)) await cryptoki.close()
})

async function sessionOn(card: PivCard | OpenPgpCard, driver: TokenDriver): Promise<Session> {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(card)
  const usb = virtualUsb([reader], { protectedClasses: false })
  const options: CryptokiOptions = { sources: [ccidSlots({ usb })], drivers: [driver], login: 'on-demand' }
  const cryptoki = new Cryptoki(options)
  opened.push(cryptoki)
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  return slot.openSession()
}

const piv = (options: PivCardOptions = {}): Promise<Session> => sessionOn(createPivCard(options), pivDriver())

const kindOf = (object: CkObject): string =>
  `${object.get(CKA.CLASS)} ${object.get(CKA.ID).join()} ${object.attributes[CKA.KEY_TYPE]}`

describe.each([
  ['PIV', () => piv()],
  ['OpenPGP', () => sessionOn(createOpenPgpCard(), openPgpDriver())],
])('each object of a %s card', (_, openSession) => {
  it('has every attribute of its class except those that cannot be known', async () => {
    const session = await openSession()
    const objects = await session.findObjects()
    expect(objects.length).toBeGreaterThan(1)
    for (const object of objects) {
      const {
        [CKA.CLASS]: ckClass,
        [CKA.KEY_TYPE]: keyType,
        [CKA.CERTIFICATE_TYPE]: type,
      } = object.attributes
      const rules = attributesOfClass(ckClass as CKO, keyType ?? type)
      const { sensitive, unknown } = session.readAttributes(object, [...(rules?.keys() ?? [])])
      const secrets = [...(rules ?? [])].filter(([, notes]) => notes.includes(7)).map(([each]) => each)
      expect(sensitive, kindOf(object)).toEqual(secrets)
      expect(unknown, kindOf(object)).toEqual(
        // The origin of a key and the checksum of a certificate are not on the card.
        ckClass === CKO.CERTIFICATE ? [CKA.CHECK_VALUE] : [CKA.KEY_GEN_MECHANISM],
      )
    }
  })

  it('cannot be changed or destroyed, can be copied only if public, and is on the token', async () => {
    const session = await openSession()
    for (const object of await session.findObjects())
      expect(session.getAttributes(object, CKA.TOKEN, CKA.MODIFIABLE, CKA.COPYABLE, CKA.DESTROYABLE)).toEqual(
        {
          [CKA.TOKEN]: true,
          [CKA.MODIFIABLE]: false,
          [CKA.COPYABLE]: object.get(CKA.CLASS) !== CKO.PRIVATE_KEY,
          [CKA.DESTROYABLE]: false,
        },
      )
  })

  it('is found by each of its attributes, and by all of them together', async () => {
    const session = await openSession()
    for (const object of await session.findObjects()) {
      const all = { ...object.attributes }
      expect(await session.findObjects(all)).toEqual([object])
      for (const [type, value] of Object.entries(all)) {
        const found = await session.findObjects({ [type]: value })
        expect(found, `${kindOf(object)} by ${type}`).toContain(object)
      }
    }
  })

  it('has a unique CKA_UNIQUE_ID that is the same after reinsertion and finds it', async () => {
    const idsIn = async (): Promise<string[]> => {
      const session = await openSession()
      const objects = await session.findObjects()
      const own = objects.map((object) => object.get(CKA.UNIQUE_ID))
      for (const [at, uniqueId] of own.entries())
        expect(await session.findObjects({ [CKA.UNIQUE_ID]: uniqueId })).toEqual([objects[at]])
      return own
    }
    const first = await idsIn()
    expect(new Set(first).size).toBe(first.length)
    expect(await idsIn()).toEqual(first)
  })

  it('has the public key with the same CKA_ID as its pair', async () => {
    const session = await openSession()
    const keys = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })
    expect(keys.length).toBeGreaterThan(0)
    for (const key of keys) {
      const template = { [CKA.ID]: key.get(CKA.ID), [CKA.PUBLIC_KEY_INFO]: key.get(CKA.PUBLIC_KEY_INFO) }
      const [publicKey] = await session.findObjects({ ...template, [CKA.CLASS]: CKO.PUBLIC_KEY })
      expect(publicKey?.attributes[CKA.MODULUS]).toEqual(key.attributes[CKA.MODULUS])
      expect(publicKey?.attributes[CKA.EC_POINT]).toEqual(key.attributes[CKA.EC_POINT])
    }
  })
})

describe('objects of two cards', () => {
  it('have no CKA_UNIQUE_ID in common', async () => {
    const idsOf = async (options?: PivCardOptions) =>
      (await (await piv(options)).findObjects()).map((object) => object.get(CKA.UNIQUE_ID))
    const [one, other] = [await idsOf(), await idsOf({ guid: new Uint8Array(16).fill(0x5a) })]
    expect(one.filter((each) => other.includes(each))).toEqual([])
  })
})

describe('a certificate of a PIV card', () => {
  it("has the validity dates that Node's OpenSSL reads, in UTC", async () => {
    const session = await piv()
    const certificates = await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE })
    expect(certificates).toHaveLength(4)
    for (const certificate of certificates) {
      const byNode = new X509Certificate(certificate.get(CKA.VALUE))
      const day = (date: string): string => new Date(date).toISOString().slice(0, 10)
      expect(certificate.get(CKA.START_DATE)).toBe(day(byNode.validFrom))
      expect(certificate.get(CKA.END_DATE)).toBe(day(byNode.validTo))
    }
  })

  it('has the category token user, or authority if its basic constraints say so', async () => {
    const session = await piv({ certificates: { '9D': demoCa.certificate } })
    const certificates = await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE })
    const byNode = certificates.map((each) => new X509Certificate(each.get(CKA.VALUE)).ca)
    expect(byNode).toContain(true)
    expect(byNode).toContain(false)
    expect(certificates.map((each) => each.get(CKA.CERTIFICATE_CATEGORY) === 2)).toEqual(byNode)
    expect(certificates.every((each) => !each.get(CKA.TRUSTED))).toBe(true)
  })
})

describe('CKA_ALLOWED_MECHANISMS', () => {
  it.each([
    [1, CKK.RSA, CKM.SHA256_RSA_PKCS, CKM.ECDSA],
    [2, CKK.EC, CKM.ECDSA, CKM.SHA256_RSA_PKCS],
  ])("of PIV key %i match the key's type", async (id, type, has, hasNot) => {
    const session = await piv()
    for (const ckClass of [CKO.PRIVATE_KEY, CKO.PUBLIC_KEY]) {
      const template = { [CKA.CLASS]: ckClass, [CKA.ID]: Uint8Array.of(id), [CKA.KEY_TYPE]: type }
      const [key] = await session.findObjects(template)
      const allowed = key?.get(CKA.ALLOWED_MECHANISMS) ?? []
      expect(allowed).toContain(has)
      expect(allowed).not.toContain(hasNot)
      expect(
        await session.findObjects({ ...template, [CKA.ALLOWED_MECHANISMS]: [...allowed].reverse() }),
      ).toEqual([key])
      expect(await session.findObjects({ ...template, [CKA.ALLOWED_MECHANISMS]: allowed.slice(1) })).toEqual(
        [],
      )
    }
  })
})

it('attributes known in advance decide a search without reading the card', async () => {
  const card = createPivCard()
  const session = await sessionOn(card, pivDriver())
  const before = card.log.length
  for (const template of [
    { [CKA.DESTROYABLE]: true },
    { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.COPYABLE]: true },
    { [CKA.CLASS]: CKO.CERTIFICATE, [CKA.TRUSTED]: true },
    { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.WRAP_WITH_TRUSTED]: true },
    { [CKA.UNIQUE_ID]: 'of another card' },
  ])
    expect(await session.findObjects(template)).toEqual([])
  expect(card.log.length).toBe(before)
})
