/** What a PIN request contains for the dialog, and which PINs are accepted. */
import { CKM, CKO, CKR, CKU, isCryptokiError, type PinRequest, type PinSource } from '@webtoki/cryptoki'
import { describe, expect, it } from 'vitest'
import { bytesOf, object, open, rv, verifies } from './piv-setup.ts'

const rsa = { type: CKM.SHA256_RSA_PKCS }
const message = bytesOf('x')

/** A session whose PIN source records its requests. */
async function openRecording(options: Parameters<typeof open>[0] = {}, pin = '123456') {
  const requests: PinRequest[] = []
  const source: PinSource = async (request) => {
    requests.push(request)
    return { pin: bytesOf(pin) }
  }
  return { ...(await open({ ...options, pin: source })), requests, source }
}

describe('a request for a PIN', () => {
  it('contains what the login is for, as given by the caller', async () => {
    const { session, requests, cryptoki } = await openRecording()
    await session.login(CKU.USER, undefined, { for: 'https://example.org' })
    expect(requests).toMatchObject([
      { purpose: 'login', for: 'https://example.org', minBytes: 6, maxBytes: 8, alphabet: 'digits' },
    ])
    await cryptoki.close()
  })

  it('contains what is signed, whichever PIN the key needs', async () => {
    const { session, requests, cryptoki } = await openRecording({ cryptoki: { login: 'on-demand' } })
    const signing = await object(session, CKO.PRIVATE_KEY, 2)
    const other = await object(session, CKO.PRIVATE_KEY, 1)
    await session.sign({ type: CKM.ECDSA_SHA256 }, signing, message, { for: 'contract.pdf' }).result()
    await session.sign(rsa, other, message, { for: 'letter.txt' })
    await session.sign({ type: CKM.ECDSA_SHA256 }, signing, message)
    expect(requests.map(({ purpose, for: what }) => [purpose, what])).toEqual([
      ['signature', 'contract.pdf'],
      ['login', 'letter.txt'],
      ['signature', undefined],
    ])
    await cryptoki.close()
  })

  it('distinguishes a decryption from a signature', async () => {
    const { session, requests, cryptoki } = await openRecording({
      card: { policies: { '9D': { pin: 'always' } }, vendorExtensions: true },
      cryptoki: { login: 'on-demand' },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 3)
    await session.decrypt({ type: CKM.RSA_X_509 }, key, new Uint8Array(256), { for: 'mail.eml' })
    await session.decrypt({ type: CKM.RSA_X_509 }, key, new Uint8Array(256), { for: 'mail.eml' })
    expect(requests.at(-1)).toMatchObject({ purpose: 'decryption', for: 'mail.eml' })
    await cryptoki.close()
  })
})

// The cases of brandonp2412/Quitter issue 37 and longbridge/gpui-kit pull request 2261: Japanese keyboards
// type full-width digits into a PIN.
describe('a PIN typed in digits of another script', () => {
  it.each(['１２３４５６', '١٢٣٤٥٦', '१२३४५६'])('is converted to ASCII digits: %s', async (typed) => {
    const { session, card, cryptoki } = await openRecording({}, typed)
    await session.login(CKU.USER)
    expect([verifies(card), card.pinVerified, card.pinTriesLeft]).toEqual([1, true, 3])
    await cryptoki.close()
  })

  it.each([
    ['secret', CKR.PIN_INVALID, 'alphabet'],
    ['12345６７８９', CKR.PIN_LEN_RANGE, 'length'],
    ['123', CKR.PIN_LEN_RANGE, 'length'],
  ] as const)(
    "or with invalid characters or length is refused with the card's format: %s",
    async (typed, code, why) => {
      const { session, card, cryptoki } = await openRecording({}, typed)
      const error: unknown = await session.login(CKU.USER).catch((reason: unknown) => reason)
      expect(error).toEqual(rv(code))
      expect(isCryptokiError(error) && error.cause).toMatchObject({
        code: 'card/pin-format',
        why,
        minBytes: 6,
        maxBytes: 8,
      })
      expect([verifies(card), card.pinTriesLeft]).toEqual([0, 3])
      await cryptoki.close()
    },
  )
})
