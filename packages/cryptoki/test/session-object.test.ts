/**
 * Session objects with a virtual PIV card: created, copied, changed, found, destroyed (PKCS#11 v3.0, 4 and
 * 5.7).
 */
import { generateKeyPairSync, type KeyObject, sign as signByNode } from 'node:crypto'
import {
  type Attributes,
  CKA,
  CKC,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  isCryptokiError,
  type Session,
} from '@webtoki/cryptoki'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SessionObject } from '../src/software/session-object.ts'
import { cbcPad, keyBytes } from './memory-setup.ts'
import { bytesOf, object, open, rv } from './piv-setup.ts'

const nothing = new Uint8Array(0)
const bytes = (buffer: Uint8Array): Uint8Array => Uint8Array.from(buffer)
const message = bytesOf('a message')
const aes: Attributes = {
  [CKA.CLASS]: CKO.SECRET_KEY,
  [CKA.KEY_TYPE]: CKK.AES,
  [CKA.VALUE]: keyBytes,
  [CKA.ENCRYPT]: true,
}
const readable: Attributes = { ...aes, [CKA.SENSITIVE]: false, [CKA.EXTRACTABLE]: true }
const secret: Attributes = { ...aes, [CKA.KEY_TYPE]: CKK.GENERIC_SECRET, [CKA.VALUE]: bytesOf('a secret') }
const data: Attributes = { [CKA.CLASS]: CKO.DATA, [CKA.VALUE]: message }
const name = Uint8Array.of(0x30, 0)
const certificate: Attributes = {
  [CKA.CLASS]: CKO.CERTIFICATE,
  [CKA.CERTIFICATE_TYPE]: CKC.X_509,
  [CKA.SUBJECT]: name,
  [CKA.VALUE]: Uint8Array.of(0x30, 0),
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const edwards = generateKeyPairSync('ed25519')
const jwk = (key: KeyObject, member: 'n' | 'e' | 'x' | 'y'): Uint8Array =>
  bytes(Buffer.from(key.export({ format: 'jwk' })[member] ?? '', 'base64url'))
const spki = (key: KeyObject): Uint8Array => bytes(key.export({ format: 'der', type: 'spki' }))
const publicTemplates = {
  RSA: {
    [CKA.CLASS]: CKO.PUBLIC_KEY,
    [CKA.KEY_TYPE]: CKK.RSA,
    [CKA.MODULUS]: jwk(rsa.publicKey, 'n'),
    [CKA.PUBLIC_EXPONENT]: jwk(rsa.publicKey, 'e'),
    [CKA.VERIFY]: true,
  },
  EC: {
    [CKA.CLASS]: CKO.PUBLIC_KEY,
    [CKA.KEY_TYPE]: CKK.EC,
    [CKA.EC_PARAMS]: bytes(Buffer.from('06052b81040022', 'hex')),
    [CKA.EC_POINT]: Uint8Array.of(4, 97, 4, ...jwk(ec.publicKey, 'x'), ...jwk(ec.publicKey, 'y')),
    [CKA.VERIFY]: true,
  },
  Ed25519: {
    [CKA.CLASS]: CKO.PUBLIC_KEY,
    [CKA.KEY_TYPE]: CKK.EC_EDWARDS,
    [CKA.EC_PARAMS]: bytes(Buffer.from('06032b6570', 'hex')),
    [CKA.EC_POINT]: Uint8Array.of(4, 32, ...jwk(edwards.publicKey, 'x')),
    [CKA.VERIFY]: true,
  },
} as const satisfies Record<string, Attributes>

/** The return value of a call that throws or rejects; CKR_OK if it does neither. */
async function codeOf(call: () => unknown): Promise<number> {
  try {
    await call()
    return CKR.OK
  } catch (error) {
    if (isCryptokiError(error)) return error.rv
    throw error
  }
}

describe('a session object', () => {
  it.each([
    ['an AES key', aes, { [CKA.SENSITIVE]: true, [CKA.EXTRACTABLE]: false, [CKA.VALUE_LEN]: 32 }],
    ['a generic secret', secret, { [CKA.ALWAYS_SENSITIVE]: false, [CKA.NEVER_EXTRACTABLE]: false }],
    ['an RSA key', publicTemplates.RSA, { [CKA.MODULUS_BITS]: 2048, [CKA.ENCRYPT]: false }],
    ['an EC key', publicTemplates.EC, { [CKA.VERIFY]: true, [CKA.WRAP]: false }],
    ['an Edwards key', publicTemplates.Ed25519, { [CKA.TRUSTED]: false }],
    ['data', data, { [CKA.VALUE]: message, [CKA.APPLICATION]: '' }],
    ['a certificate', certificate, { [CKA.VALUE]: name, [CKA.ISSUER]: nothing }],
  ])('that is %s has the attributes of its class with defaults, and is found', async (_, template, own) => {
    const { session, cryptoki } = await open()
    const created = await session.createObject({ ...template, [CKA.LABEL]: 'mine' })
    const expected: Attributes = {
      [CKA.TOKEN]: false,
      [CKA.PRIVATE]: false,
      [CKA.LABEL]: 'mine',
      [CKA.MODIFIABLE]: true,
      [CKA.COPYABLE]: true,
      [CKA.DESTROYABLE]: true,
      ...own,
    }
    expect(created.attributes).toMatchObject(expected)
    const isKey = template[CKA.KEY_TYPE] !== undefined
    expect(created.attributes[CKA.LOCAL]).toBe(isKey ? false : undefined)
    expect(
      await session.findObjects({ [CKA.LABEL]: 'mine', [CKA.CLASS]: template[CKA.CLASS] as CKO }),
    ).toEqual([created])
    expect(await session.findObjects({ [CKA.UNIQUE_ID]: created.get(CKA.UNIQUE_ID) })).toEqual([created])
    expect(session.objectSize(created)).toBeGreaterThan(0)
    session.setAttributes(created, { [CKA.LABEL]: 'yours' })
    expect(created.attributes).toMatchObject({ ...expected, [CKA.LABEL]: 'yours' })
    await cryptoki.close()
  })

  it('that is a public key has the same SubjectPublicKeyInfo as in OpenSSL', async () => {
    const { session, cryptoki } = await open()
    for (const [template, { publicKey }] of [
      [publicTemplates.RSA, rsa],
      [publicTemplates.EC, ec],
      [publicTemplates.Ed25519, edwards],
    ] as const)
      expect((await session.createObject(template)).get(CKA.PUBLIC_KEY_INFO)).toEqual(spki(publicKey))
    await cryptoki.close()
  })

  it('that is a public key verifies what OpenSSL signed', async () => {
    const { session, cryptoki } = await open()
    const rsaKey = await session.createObject(publicTemplates.RSA)
    const signature = signByNode('sha256', message, rsa.privateKey)
    expect(await session.verify({ type: CKM.SHA256_RSA_PKCS }, rsaKey, message, signature)).toBe(true)
    const ecKey = await session.createObject(publicTemplates.EC)
    const raw = signByNode('sha384', message, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' })
    expect(await session.verify({ type: CKM.ECDSA_SHA384 }, ecKey, message, raw)).toBe(true)
    await expect(session.verify({ type: CKM.ECDSA_SHA384 }, ecKey, nothing, raw)).rejects.toEqual(
      rv(CKR.SIGNATURE_INVALID),
    )
    await cryptoki.close()
  })

  it.each([
    ['SENSITIVE', true, true],
    ['not EXTRACTABLE', false, false],
    ['both', true, false],
  ])('hides the value of a key that is %s', async (_, isSensitive, isExtractable) => {
    const { session, cryptoki } = await open()
    const key = await session.createObject({
      ...aes,
      [CKA.SENSITIVE]: isSensitive,
      [CKA.EXTRACTABLE]: isExtractable,
    })
    expect(await codeOf(() => session.getAttributes(key, CKA.VALUE))).toBe(CKR.ATTRIBUTE_SENSITIVE)
    expect(await session.findObjects({ [CKA.VALUE]: keyBytes })).toEqual([])
    await cryptoki.close()
  })

  it('shows the value of an extractable key until it is made sensitive or destroyed', async () => {
    const { session, cryptoki } = await open()
    const key = await session.createObject(readable)
    const { attributes } = key
    expect(session.getAttributes(key, CKA.VALUE)).toEqual({ [CKA.VALUE]: keyBytes })
    attributes[CKA.VALUE]?.fill(0)
    expect(attributes[CKA.VALUE]).toEqual(keyBytes)
    expect(await session.findObjects({ [CKA.VALUE]: keyBytes })).toEqual([key])
    session.setAttributes(key, { [CKA.SENSITIVE]: true })
    expect(await codeOf(() => key.get(CKA.VALUE))).toBe(CKR.ATTRIBUTE_SENSITIVE)
    expect(attributes[CKA.VALUE]).toBeUndefined()
    const other = await session.createObject(readable)
    const kept = other.attributes
    session.destroyObject(other)
    expect(kept[CKA.VALUE]).toBeUndefined()
    await cryptoki.close()
  })

  it.each([
    ['its destruction', async (session: Session, key: CkObject) => session.destroyObject(key)],
    ['closing its session', (session: Session) => session.close()],
    ['a logout, if it is private', (session: Session) => session.logout()],
  ])('is invalid after %s', async (_, end) => {
    const { session, slot, cryptoki } = await open()
    const other = await slot.openSession()
    await session.login(CKU.USER)
    const key = await session.createObject({ ...readable, [CKA.PRIVATE]: true })
    await end(session, key)
    expect(await codeOf(() => other.encrypt(cbcPad, key, message).result())).toBe(CKR.KEY_HANDLE_INVALID)
    for (const call of [
      () => other.getAttributes(key, CKA.LABEL),
      () => other.copyObject(key),
      () => other.setAttributes(key, {}),
      () => other.objectSize(key),
      () => other.destroyObject(key),
    ])
      expect(await codeOf(call)).toBe(CKR.OBJECT_HANDLE_INVALID)
    expect(await other.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).toEqual([])
    await cryptoki.close()
  })

  it('overwrites its value when it is destroyed', () => {
    const given = bytes(keyBytes)
    const source = new SessionObject({ [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES }, given)
    const key = source.use('encrypt', cbcPad)
    expect(source.value()).toEqual(keyBytes)
    source.destroy()
    expect(source.value()).toEqual(new Uint8Array(32))
    expect(given).toEqual(keyBytes)
    expect(key.gathers).toBe('stream')
  })

  it('is visible to the sessions of its own application only', async () => {
    const { session, slot, cryptoki } = await open()
    const otherApplication = await slot.openSession({ application: {} })
    const key = await session.createObject(readable)
    expect(await (await slot.openSession()).findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).toEqual([key])
    expect(await otherApplication.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).toEqual([])
    expect(await codeOf(() => otherApplication.encrypt(cbcPad, key, message).result())).toBe(
      CKR.KEY_HANDLE_INVALID,
    )
    expect(await codeOf(() => otherApplication.copyObject(key))).toBe(CKR.OBJECT_HANDLE_INVALID)
    await cryptoki.close()
  })

  it('with CKA_PRIVATE is created for the user only', async () => {
    const { session, cryptoki } = await open()
    const template = { ...data, [CKA.PRIVATE]: true }
    expect(await codeOf(() => session.createObject(template))).toBe(CKR.USER_NOT_LOGGED_IN)
    const plain = await session.createObject(data)
    expect(await codeOf(() => session.copyObject(plain, { [CKA.PRIVATE]: true }))).toBe(
      CKR.USER_NOT_LOGGED_IN,
    )
    await session.login(CKU.USER)
    const copy = await session.copyObject(plain, { [CKA.PRIVATE]: true })
    expect(await codeOf(() => session.copyObject(copy, { [CKA.PRIVATE]: false }))).toBe(
      CKR.TEMPLATE_INCONSISTENT,
    )
    await session.logout()
    expect(await session.findObjects(data)).toEqual([plain])
    await cryptoki.close()
  })

  it.each<[string, Attributes, number]>([
    ['empty', {}, CKR.TEMPLATE_INCOMPLETE],
    ['a private key', { ...publicTemplates.RSA, [CKA.CLASS]: CKO.PRIVATE_KEY }, CKR.TEMPLATE_INCONSISTENT],
    ['data with a key type', { ...data, [CKA.KEY_TYPE]: CKK.AES }, CKR.TEMPLATE_INCONSISTENT],
    ['a key with a modulus', { ...aes, [CKA.MODULUS]: nothing }, CKR.TEMPLATE_INCONSISTENT],
    ['a key with CKA_VALUE_LEN', { ...aes, [CKA.VALUE_LEN]: 32 }, CKR.ATTRIBUTE_READ_ONLY],
    ['a key with CKA_LOCAL', { ...aes, [CKA.LOCAL]: true }, CKR.ATTRIBUTE_READ_ONLY],
    ['a key with CKA_TRUSTED', { ...aes, [CKA.TRUSTED]: true }, CKR.ATTRIBUTE_READ_ONLY],
    ['an empty secret', { ...secret, [CKA.VALUE]: nothing }, CKR.ATTRIBUTE_VALUE_INVALID],
    ['a certificate without a subject', { ...data, [CKA.CLASS]: CKO.CERTIFICATE }, CKR.TEMPLATE_INCOMPLETE],
    [
      'an even modulus',
      { ...publicTemplates.RSA, [CKA.MODULUS]: new Uint8Array(256).fill(2) },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'an exponent of 1',
      { ...publicTemplates.RSA, [CKA.PUBLIC_EXPONENT]: Uint8Array.of(1) },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'a modulus of zeros',
      { ...publicTemplates.RSA, [CKA.MODULUS]: new Uint8Array(256) },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'an unknown curve',
      { ...publicTemplates.EC, [CKA.EC_PARAMS]: Uint8Array.of(6, 1, 1) },
      CKR.CURVE_NOT_SUPPORTED,
    ],
    [
      'a point off its curve',
      { ...publicTemplates.EC, [CKA.EC_POINT]: Uint8Array.of(4, 97, 4, ...new Uint8Array(96).fill(1)) },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'a bare point',
      {
        ...publicTemplates.EC,
        [CKA.EC_POINT]: Uint8Array.of(4, ...jwk(ec.publicKey, 'x'), ...jwk(ec.publicKey, 'y')),
      },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'CKA_PUBLIC_KEY_INFO of another key',
      { ...publicTemplates.EC, [CKA.PUBLIC_KEY_INFO]: spki(rsa.publicKey) },
      CKR.TEMPLATE_INCONSISTENT,
    ],
    [
      '10 000 attributes',
      Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [0x1000_0000 + at, true])),
      CKR.ATTRIBUTE_TYPE_INVALID,
    ],
    ['for the token', { ...aes, [CKA.TOKEN]: true }, CKR.TOKEN_WRITE_PROTECTED],
  ])('is not created from a template that is %s', async (_, template, expected) => {
    const { session, cryptoki } = await open()
    expect(await codeOf(() => session.createObject(template))).toBe(expected)
    expect(await session.findObjects({ [CKA.TOKEN]: false })).toEqual([])
    await cryptoki.close()
  })

  it.each<[string, Attributes, Attributes, number]>([
    ['SENSITIVE from true', {}, { [CKA.SENSITIVE]: false }, CKR.ATTRIBUTE_READ_ONLY],
    ['EXTRACTABLE from false', {}, { [CKA.EXTRACTABLE]: true }, CKR.ATTRIBUTE_READ_ONLY],
    ['CLASS', {}, { [CKA.CLASS]: CKO.DATA }, CKR.ATTRIBUTE_READ_ONLY],
    ['VALUE', {}, { [CKA.VALUE]: keyBytes }, CKR.ATTRIBUTE_READ_ONLY],
    ['TOKEN', {}, { [CKA.TOKEN]: true }, CKR.ATTRIBUTE_READ_ONLY],
    ['MODULUS', {}, { [CKA.MODULUS]: keyBytes }, CKR.ATTRIBUTE_TYPE_INVALID],
    ['LABEL if not MODIFIABLE', { [CKA.MODIFIABLE]: false }, { [CKA.LABEL]: 'b' }, CKR.ACTION_PROHIBITED],
    ['LABEL to a number', {}, { [CKA.LABEL]: 1 as never }, CKR.ATTRIBUTE_VALUE_INVALID],
  ])('does not change its %s', async (_, own, change, expected) => {
    const { session, cryptoki } = await open()
    const key = await session.createObject({ ...aes, ...own, [CKA.LABEL]: 'a' })
    // All or nothing: if one attribute cannot be changed, none is.
    expect(await codeOf(() => session.setAttributes(key, { [CKA.DECRYPT]: true, ...change }))).toBe(expected)
    expect(key.attributes).toMatchObject({ [CKA.DECRYPT]: false, [CKA.LABEL]: 'a' })
    await cryptoki.close()
  })

  it('obeys its attributes at the time of use', async () => {
    const { session, cryptoki } = await open()
    const key = await session.createObject(aes)
    const { attributes } = key
    session.setAttributes(key, { [CKA.ENCRYPT]: false, [CKA.LABEL]: 'new', [CKA.ID]: Uint8Array.of(7) })
    expect(await codeOf(() => session.encrypt(cbcPad, key, message).result())).toBe(
      CKR.KEY_FUNCTION_NOT_PERMITTED,
    )
    expect(await session.findObjects({ [CKA.LABEL]: 'new', [CKA.ID]: Uint8Array.of(7) })).toEqual([key])
    expect([attributes[CKA.ENCRYPT], key.get(CKA.ENCRYPT)]).toEqual([true, false])
    await cryptoki.close()
  })

  it('that is a copy has its own value and the attributes changed by the template', async () => {
    const { session, cryptoki } = await open()
    const key = await session.createObject(readable)
    const copy = await session.copyObject(key, { [CKA.LABEL]: 'copy', [CKA.EXTRACTABLE]: false })
    session.destroyObject(key)
    expect(copy.attributes).toMatchObject({ [CKA.LABEL]: 'copy', [CKA.ENCRYPT]: true, [CKA.VALUE_LEN]: 32 })
    expect(await codeOf(() => copy.get(CKA.VALUE))).toBe(CKR.ATTRIBUTE_SENSITIVE)
    const same = await session.createObject(readable)
    expect(await session.encrypt(cbcPad, copy, message)).toEqual(await session.encrypt(cbcPad, same, message))
    const again = await session.copyObject(same)
    expect(again.get(CKA.VALUE)).toEqual(keyBytes)
    expect(again.get(CKA.UNIQUE_ID)).not.toBe(same.get(CKA.UNIQUE_ID))
    await cryptoki.close()
  })

  it('can be a copy of a certificate or public key on the card', async () => {
    const { session, cryptoki } = await open()
    await session.login(CKU.USER)
    for (const objectClass of [CKO.CERTIFICATE, CKO.PUBLIC_KEY]) {
      const original = await object(session, objectClass, 1)
      expect(await codeOf(() => session.copyObject(original))).toBe(CKR.TOKEN_WRITE_PROTECTED)
      const copy = await session.copyObject(original, { [CKA.TOKEN]: false, [CKA.LABEL]: 'mine' })
      expect(copy.attributes).toMatchObject({ [CKA.TOKEN]: false, [CKA.LABEL]: 'mine' })
    }
    const [publicKey] = await session.findObjects({ [CKA.CLASS]: CKO.PUBLIC_KEY, [CKA.TOKEN]: false })
    const signing = await object(session, CKO.PRIVATE_KEY, 1)
    const signature = await session.sign({ type: CKM.SHA256_RSA_PKCS }, signing, message)
    const mechanism = { type: CKM.SHA256_RSA_PKCS }
    expect(await session.verify(mechanism, publicKey as CkObject, message, signature)).toBe(true)
    const refused = await codeOf(() => session.copyObject(signing, { [CKA.TOKEN]: false }))
    expect([CKR.TEMPLATE_INCONSISTENT, CKR.ACTION_PROHIBITED]).toContain(refused)
    await cryptoki.close()
  })

  it.each([
    ['destroyed', CKA.DESTROYABLE, (session: Session, key: CkObject) => session.destroyObject(key)],
    ['copied', CKA.COPYABLE, (session: Session, key: CkObject) => session.copyObject(key)],
    ['changed', CKA.MODIFIABLE, (session: Session, key: CkObject) => session.setAttributes(key, {})],
  ] as const)(
    'that must not be %s is refused with CKR_ACTION_PROHIBITED, and ends with its session',
    async (_, permission, call) => {
      const { session, slot, cryptoki } = await open()
      const other = await slot.openSession()
      const key = await session.createObject({ ...aes, [permission]: false })
      expect(await codeOf(() => call(session, key))).toBe(CKR.ACTION_PROHIBITED)
      expect(await other.findObjects(data)).toEqual([])
      expect(await other.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).toEqual([key])
      await session.close()
      expect(await other.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).toEqual([])
      await cryptoki.close()
    },
  )

  it('is the only kind that can be changed, destroyed and measured', async () => {
    const { session, cryptoki } = await open()
    const original = await object(session, CKO.CERTIFICATE, 1)
    expect(session.objectSize(original)).toBeNull()
    expect(await codeOf(() => session.setAttributes(original, { [CKA.LABEL]: 'x' }))).toBe(
      CKR.ACTION_PROHIBITED,
    )
    expect(await codeOf(() => session.destroyObject(original))).toBe(CKR.ACTION_PROHIBITED)
    await cryptoki.close()
  })
})

/** The standard's rules for a key's attributes, implemented independently. */
interface ModelKey {
  readonly handle: CkObject
  label: string
  sensitive: boolean
  extractable: boolean
  readonly modifiable: boolean
  readonly copyable: boolean
  readonly destroyable: boolean
}

function templateOf(requested: { sensitive?: boolean; extractable?: boolean; label?: string }): Attributes {
  return {
    ...(requested.label === undefined ? {} : { [CKA.LABEL]: requested.label }),
    ...(requested.sensitive === undefined ? {} : { [CKA.SENSITIVE]: requested.sensitive }),
    ...(requested.extractable === undefined ? {} : { [CKA.EXTRACTABLE]: requested.extractable }),
  }
}

describe('session objects in any order of calls', () => {
  const flags = fc.record(
    { sensitive: fc.boolean(), extractable: fc.boolean(), label: fc.constantFrom('a', 'b', 'c') },
    { requiredKeys: [] },
  )
  const may = fc.record({ modifiable: fc.boolean(), copyable: fc.boolean(), destroyable: fc.boolean() })
  const step = fc.record({
    call: fc.constantFrom('create', 'create', 'copy', 'set', 'destroy', 'find', 'read'),
    which: fc.nat(20),
    flags,
    may,
  })

  it('agree with a model of the standard', async () => {
    const { slot, cryptoki } = await open()
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const session = await slot.openSession()
        const model: ModelKey[] = []
        for (const { call, which, flags: requested, may: allowed } of steps) {
          const key = model[which % Math.max(1, model.length)]
          const change = templateOf(requested)
          if (call === 'create') {
            const handle = await session.createObject({
              ...aes,
              [CKA.LABEL]: '',
              ...change,
              [CKA.MODIFIABLE]: allowed.modifiable,
              [CKA.COPYABLE]: allowed.copyable,
              [CKA.DESTROYABLE]: allowed.destroyable,
            })
            model.push({ label: '', sensitive: true, extractable: false, ...requested, ...allowed, handle })
          } else if (call === 'find') {
            const found = await session.findObjects({ [CKA.TOKEN]: false, ...change })
            const expected = model.filter((each) =>
              Object.entries(requested).every(
                ([name, value]) => each[name as keyof typeof requested] === value,
              ),
            )
            expect(new Set(found)).toEqual(new Set(expected.map(({ handle }) => handle)))
          } else if (key !== undefined) {
            const loosens =
              (key.sensitive && requested.sensitive === false) ||
              (!key.extractable && requested.extractable === true)
            if (call === 'set') {
              const expected = !key.modifiable
                ? CKR.ACTION_PROHIBITED
                : loosens
                  ? CKR.ATTRIBUTE_READ_ONLY
                  : CKR.OK
              expect(await codeOf(() => session.setAttributes(key.handle, change))).toBe(expected)
              if (expected === CKR.OK) Object.assign(key, requested)
            } else if (call === 'copy') {
              const expected = !key.copyable
                ? CKR.ACTION_PROHIBITED
                : loosens
                  ? CKR.ATTRIBUTE_READ_ONLY
                  : CKR.OK
              const code = await codeOf(async () => {
                const handle = await session.copyObject(key.handle, change)
                model.push({ ...key, ...requested, handle })
              })
              expect(code).toBe(expected)
            } else if (call === 'destroy') {
              const expected = key.destroyable ? CKR.OK : CKR.ACTION_PROHIBITED
              expect(await codeOf(() => session.destroyObject(key.handle))).toBe(expected)
              if (key.destroyable) model.splice(model.indexOf(key), 1)
            } else {
              const expected = !key.sensitive && key.extractable ? CKR.OK : CKR.ATTRIBUTE_SENSITIVE
              expect(await codeOf(() => session.getAttributes(key.handle, CKA.VALUE))).toBe(expected)
              expect(key.handle.get(CKA.LABEL)).toBe(key.label)
            }
          }
        }
        await session.close()
      }),
      { numRuns: 60 },
    )
    await cryptoki.close()
  })
})
