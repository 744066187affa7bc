/** When a key needs a PIN: reported by the card's metadata or learned from a refusal. */
import { CKA, CKM, CKO, CKR, CKS, CKU, type PinRequest, type PinSource } from '@webtoki/cryptoki'
import type { PivCardOptions } from '@webtoki/simulator'
import { describe, expect, it } from 'vitest'
import { type Intercept, bytesOf, commands, object, open, rightPin, rv, verifies } from './piv-setup.ts'

const rsa = { type: CKM.SHA256_RSA_PKCS }
const ecdsa = { type: CKM.ECDSA_SHA256 }
const message = bytesOf('x')
/** The ATR of a YubiKey 5, from the list of pcsc-tools. */
const yubiKey5 = Uint8Array.from(Buffer.from('3bfd1300008131fe158073c021c057597562694b657940', 'hex'))
const yubiKey = (options: PivCardOptions = {}): PivCardOptions => ({
  atr: yubiKey5,
  vendorExtensions: true,
  ...options,
})
const alwaysIn9A: PivCardOptions = { policies: { '9A': { pin: 'always' } } }
const metadataReads = (card: { readonly log: readonly { readonly ins: number }[] }): number =>
  card.log.filter(({ ins }) => ins === 0xf7).length

/** A PIN source that gives `pins` one after the other and records the requests. */
function recordingPin(...pins: readonly string[]): {
  readonly source: PinSource
  readonly requests: PinRequest[]
} {
  const requests: PinRequest[] = []
  const left = [...pins]
  const source: PinSource = async (request) => {
    requests.push(request)
    return { pin: bytesOf(left.shift() ?? '123456') }
  }
  return { source, requests }
}

// The cases of go-piv issue 49, yubikey-agent issue 6 and OpenSC issue 1769.
describe('a key in 9A that needs the PIN for each use, on a card without metadata', () => {
  it('requests the PIN again after a refusal, then before each signature, one VERIFY each', async () => {
    const { source, requests } = recordingPin()
    const { session, card, cryptoki } = await open({
      card: alwaysIn9A,
      pin: source,
      cryptoki: { login: 'on-demand' },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    expect(key.get(CKA.ALWAYS_AUTHENTICATE)).toBe(false)
    await session.sign(rsa, key, message)
    expect(requests.map(({ purpose }) => purpose)).toEqual(['login'])
    const before = card.log.length
    expect(await session.sign(rsa, key, message)).toHaveLength(256)
    // The refused use, the status of the PIN, the attempts left, then VERIFY and the use.
    expect(commands(card).slice(before)).toEqual(['87 07 9a', '20 00 80', '20 00 80', '87 07 9a'])
    await session.sign(rsa, key, message)
    expect(requests.map(({ purpose }) => purpose)).toEqual(['login', 'signature', 'signature'])
    expect([verifies(card), card.pinTriesLeft]).toEqual([3, 3])
    await cryptoki.close()
  })

  it('has CKA_ALWAYS_AUTHENTICATE from then on, on its handle and in searches', async () => {
    const { session, cryptoki } = await open({ card: alwaysIn9A, cryptoki: { login: 'on-demand' } })
    const search = async (value: boolean) => {
      const template = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ALWAYS_AUTHENTICATE]: value }
      return (await session.findObjects(template)).map((each) => each.get(CKA.ID)[0])
    }
    expect([await search(false), await search(true)]).toEqual([[1, 3, 4], [2]])
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign(rsa, key, message)
    await session.sign(rsa, key, message)
    expect(key.attributes[CKA.ALWAYS_AUTHENTICATE]).toBe(true)
    expect([await search(false), await search(true)]).toEqual([
      [3, 4],
      [1, 2],
    ])
    expect(await object(session, CKO.PRIVATE_KEY, 1)).toBe(key)
    await cryptoki.close()
  })

  it('returns CKR_USER_NOT_LOGGED_IN without a PIN source; a context-specific login then works', async () => {
    const { session, card, cryptoki } = await open({ card: alwaysIn9A, pin: null })
    await session.login(CKU.USER, rightPin)
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    const sent = verifies(card)
    await expect(session.sign(rsa, key, message)).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    // The card keeps the login, and the handle shows what the key needs.
    expect([session.state, verifies(card)]).toEqual([CKS.RO_USER_FUNCTIONS, sent])
    expect(key.get(CKA.ALWAYS_AUTHENTICATE)).toBe(true)
    const [operation] = session.begin({ type: 'sign', mechanism: rsa, key })
    await session.login(CKU.CONTEXT_SPECIFIC, rightPin)
    await operation?.update(message)
    expect(await operation?.final()).toHaveLength(256)
    await cryptoki.close()
  })

  it('sends a wrong PIN once, and requests it again for the next signature', async () => {
    const { source, requests } = recordingPin('123456', '999999')
    const { session, card, cryptoki } = await open({
      card: alwaysIn9A,
      pin: source,
      cryptoki: { login: 'on-demand' },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign(rsa, key, message)
    await expect(session.sign(rsa, key, message)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    expect([verifies(card), card.pinTriesLeft]).toEqual([2, 2])
    expect(await session.sign(rsa, key, message)).toHaveLength(256)
    expect(requests.map(({ purpose, previousWasWrong }) => [purpose, previousWasWrong])).toEqual([
      ['login', false],
      ['signature', false],
      ['signature', true],
    ])
    await cryptoki.close()
  })
})

describe('a card that reports the PIN policy of its keys (YubiKey 5)', () => {
  it('sets CKA_ALWAYS_AUTHENTICATE and CKA_PRIVATE from metadata, read once for each key', async () => {
    const { session, card, cryptoki } = await open({
      card: yubiKey({
        policies: {
          '9A': { pin: 'always' },
          '9C': { pin: 'once' },
          '9D': { pin: 'never' },
          '9E': { pin: 'once' },
        },
      }),
      cryptoki: { login: 'on-demand' },
    })
    for (const round of [1, 2]) {
      const keys = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })
      expect(
        keys.map((key) => [key.get(CKA.ID)[0], key.get(CKA.PRIVATE), key.get(CKA.ALWAYS_AUTHENTICATE)]),
        `round ${round}`,
      ).toEqual([
        [1, true, true],
        [2, true, false],
        [3, false, false],
        [4, true, false],
      ])
    }
    const each = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ALWAYS_AUTHENTICATE]: true }
    expect((await session.findObjects(each)).map((key) => key.get(CKA.ID)[0])).toEqual([1])
    expect(metadataReads(card)).toBe(4)
    await cryptoki.close()
  })

  it('finds a key by its CKA_ALWAYS_AUTHENTICATE in the first search', async () => {
    const { session, cryptoki } = await open({
      card: yubiKey({ policies: { '9A': { pin: 'always' }, '9C': { pin: 'once' } } }),
      cryptoki: { login: 'on-demand' },
    })
    const template = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ALWAYS_AUTHENTICATE]: true }
    expect((await session.findObjects(template)).map((key) => key.get(CKA.ID)[0])).toEqual([1])
    await cryptoki.close()
  })

  it('requests the PIN for each use from the first one on', async () => {
    const { source, requests } = recordingPin()
    const { session, card, cryptoki } = await open({
      card: yubiKey(alwaysIn9A),
      pin: source,
      cryptoki: { login: 'on-demand' },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    for (let round = 0; round < 2; round++) expect(await session.sign(rsa, key, message)).toHaveLength(256)
    expect(requests.map(({ purpose }) => purpose)).toEqual(['signature', 'signature'])
    expect(card.log.filter(({ sw }) => sw === 0x6982)).toEqual([])
    await cryptoki.close()
  })

  it.each([
    { id: 1, mechanism: rsa },
    { id: 2, mechanism: ecdsa },
  ])('uses key $id, which needs no PIN, without a PIN request or a login', async ({ id, mechanism }) => {
    const { source, requests } = recordingPin()
    const { session, card, cryptoki } = await open({
      card: yubiKey({ policies: { '9A': { pin: 'never' }, '9C': { pin: 'never' } } }),
      pin: source,
    })
    const key = await object(session, CKO.PRIVATE_KEY, id)
    await session.sign(mechanism, key, message)
    expect([requests.length, verifies(card)]).toEqual([0, 0])
    await cryptoki.close()
  })

  it('signs twice with one PIN if the policy of 9C is once', async () => {
    const { source, requests } = recordingPin()
    const { session, cryptoki } = await open({
      card: yubiKey({ policies: { '9C': { pin: 'once' } } }),
      pin: source,
      cryptoki: { login: 'on-demand' },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    for (let round = 0; round < 2; round++) await session.sign(ecdsa, key, message)
    expect(requests.map(({ purpose }) => purpose)).toEqual(['login'])
    await cryptoki.close()
  })

  it('with older firmware refuses GET METADATA once, and does not get it again', async () => {
    const { session, card, cryptoki } = await open({
      card: { atr: yubiKey5 },
      cryptoki: { login: 'on-demand' },
    })
    expect(await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })).toHaveLength(4)
    expect(metadataReads(card)).toBe(1)
    await cryptoki.close()
  })

  it('of another manufacturer does not get GET METADATA', async () => {
    const { session, card, cryptoki } = await open({
      card: { vendorExtensions: true },
      cryptoki: { login: 'on-demand' },
    })
    expect(await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })).toHaveLength(4)
    expect(metadataReads(card)).toBe(0)
    await cryptoki.close()
  })
})

/** Ends the verification on the card before the uses that `when` selects, like another program would. */
function losesLogin(when: (uses: number) => boolean): Intercept {
  let uses = 0
  return async (command, card) => {
    if (command[1] === 0x87 && ((command[0] as number) & 0x10) === 0 && when(++uses))
      await card.process(Uint8Array.of(0, 0x20, 0xff, 0x80))
    return card.process(command)
  }
}

describe('a login that the card has lost', () => {
  it('is repeated on demand: one PIN request, and the signature continues', async () => {
    const { source, requests } = recordingPin()
    const { session, card, cryptoki } = await open({
      pin: source,
      cryptoki: { login: 'on-demand' },
      level: 'extended',
      intercept: losesLogin((uses) => uses === 2),
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    for (let round = 0; round < 2; round++) expect(await session.sign(rsa, key, message)).toHaveLength(256)
    expect(requests.map(({ purpose }) => purpose)).toEqual(['login', 'login'])
    expect(verifies(card)).toBe(2)
    expect(key.get(CKA.ALWAYS_AUTHENTICATE)).toBe(false)
    await cryptoki.close()
  })

  it('returns CKR_USER_NOT_LOGGED_IN if logins are explicit, and ends private handles', async () => {
    const { source, requests } = recordingPin()
    const { session, cryptoki } = await open({
      pin: source,
      level: 'extended',
      intercept: losesLogin((uses) => uses === 2),
    })
    await session.login(CKU.USER)
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign(rsa, key, message)
    await expect(session.sign(rsa, key, message)).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    expect([session.state, requests.length]).toEqual([CKS.RO_PUBLIC_SESSION, 1])
    await expect(session.sign(rsa, key, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    await cryptoki.close()
  })
})
