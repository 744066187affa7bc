/** Signers over a PIV card, verified by WebCrypto and OpenSSL: algorithms, aborts, busy sessions and PINs. */
import { verify, webcrypto, X509Certificate } from 'node:crypto'
import { ccidSlots } from '@webtoki/ccid'
import { CKM, CKR, Cryptoki, type CryptokiOptions, type OperationEvent } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { cardSigner } from '@webtoki/webcrypto'
import { config, firstValueFrom, Subject } from 'rxjs'
import { afterEach, describe, expect, it, vi } from 'vitest'

const message = new TextEncoder().encode('a message to sign')
const open: Cryptoki[] = []
afterEach(async () => {
  for (const cryptoki of open.splice(0)) await cryptoki.close()
})

async function setUp(options: Partial<CryptokiOptions> = {}) {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  const card = createPivCard()
  reader.insert(card)
  const cryptoki = new Cryptoki({
    sources: [ccidSlots({ usb: virtualUsb([reader]) })],
    drivers: [pivDriver()],
    login: 'on-demand',
    ...options,
  })
  open.push(cryptoki)
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('There is no slot.')
  const pin = async () => ({ pin: new TextEncoder().encode('123456') })
  return { card, session: await slot.openSession({ pin }) }
}

const parameters = {
  RS256: [{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, { name: 'RSASSA-PKCS1-v1_5' }],
  PS256: [
    { name: 'RSA-PSS', hash: 'SHA-256' },
    { name: 'RSA-PSS', saltLength: 32 },
  ],
  ES256: [
    { name: 'ECDSA', namedCurve: 'P-256' },
    { name: 'ECDSA', hash: 'SHA-256' },
  ],
  ES384: [
    { name: 'ECDSA', namedCurve: 'P-384' },
    { name: 'ECDSA', hash: 'SHA-384' },
  ],
} as const

describe('a signer on a card', () => {
  it.each([
    { id: 1, rsa: 'RS256', algorithm: 'RS256' },
    { id: 1, rsa: 'PS256', algorithm: 'PS256' },
    { id: 2, rsa: 'RS256', algorithm: 'ES256' },
    { id: 4, rsa: 'RS256', algorithm: 'ES384' },
  ] as const)('signs with $algorithm so that WebCrypto verifies it', async ({ id, rsa, algorithm }) => {
    const { session } = await setUp()
    const events: OperationEvent<Uint8Array>['phase'][] = []
    const signer = await cardSigner(session, {
      id: Uint8Array.of(id),
      rsa,
      onEvent: ({ phase }) => events.push(phase),
    })
    expect(signer.algorithm).toBe(algorithm)
    const signature = await signer.sign(message)
    const { publicKey } = new X509Certificate(signer.certificate)
    const [imported, verified] = parameters[algorithm]
    const spki = publicKey.export({ format: 'der', type: 'spki' })
    const key = await webcrypto.subtle.importKey('spki', spki, imported, true, ['verify'])
    expect(await webcrypto.subtle.verify(verified, key, signature, message)).toBe(true)
    expect(events.at(-1)).toBe('done')
  })

  it('uses id, chain and bytes as they were at the call, even if they are overwritten', async () => {
    const { session } = await setUp()
    const id = Uint8Array.of(1)
    const link = Uint8Array.of(1, 2)
    const chain = [link]
    const making = cardSigner(session, { id, chain })
    id[0] = 2
    link.fill(0)
    chain.pop()
    const signer = await making
    expect([signer.algorithm, signer.chain]).toEqual(['RS256', [Uint8Array.of(1, 2)]])
    const bytes = Uint8Array.from(message)
    const signing = signer.sign(bytes)
    bytes.fill(0)
    const signature = await signing
    const { publicKey } = new X509Certificate(signer.certificate)
    expect(verify('sha256', message, publicKey, signature)).toBe(true)
  })

  it('that is aborted releases the session and sends nothing more to the card', async () => {
    const { session, card } = await setUp()
    const signer = await cardSigner(session, { id: Uint8Array.of(1), pin: () => new Promise(() => {}) })
    const controller = new AbortController()
    const work = signer.sign(message, { signal: controller.signal })
    controller.abort()
    await expect(work).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED })
    expect(session.active).toEqual([])
    expect(card.log.some(({ ins }) => ins === 0x87)).toBe(false)
  })

  it('queues several signatures and other operations of the session, with one login', async () => {
    const { session, card } = await setUp()
    const signer = await cardSigner(session, { id: Uint8Array.of(1) })
    const digest = session.digest({ type: CKM.SHA256 }, message).result()
    const messages = [1, 2, 3].map((each) => Uint8Array.of(each))
    const signatures = await Promise.all(messages.map((each) => signer.sign(each)))
    const { publicKey } = new X509Certificate(signer.certificate)
    signatures.forEach((signature, at) => {
      expect(verify('sha256', messages[at] as Uint8Array, publicKey, signature)).toBe(true)
    })
    expect(await digest).toHaveLength(32)
    // One VERIFY for all three.
    expect(card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)).toHaveLength(1)
  })

  it("rejects in a busy session if onConflict is 'reject'", async () => {
    const { session } = await setUp()
    const signer = await cardSigner(session, { id: Uint8Array.of(1), onConflict: 'reject' })
    const outcomes = await Promise.allSettled([signer.sign(message), signer.sign(message)])
    expect(outcomes).toMatchObject([{ status: 'fulfilled' }, { reason: { rv: CKR.OPERATION_ACTIVE } }])
  })

  it('that is aborted while it abandons another operation releases the session and requests no PIN', async () => {
    const { session } = await setUp()
    const pin = vi.fn<() => Promise<undefined>>()
    const signer = await cardSigner(session, { id: Uint8Array.of(1), pin, onConflict: 'abandon' })
    const controller = new AbortController()
    session.digest({ type: CKM.SHA256 }, new Subject<Uint8Array>()).events$.subscribe({
      error: () => controller.abort(),
    })
    const work = signer.sign(message, { signal: controller.signal })
    expect(session.active).toEqual([])
    await expect(work).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED })
    expect(pin).not.toHaveBeenCalled()
  })

  it('removes an aborted signature from the queue and completes the others', async () => {
    const { session, card } = await setUp()
    const signer = await cardSigner(session, { id: Uint8Array.of(1) })
    const controller = new AbortController()
    const [first, second, third] = [
      signer.sign(message),
      signer.sign(message, { signal: controller.signal }),
      signer.sign(message),
    ]
    controller.abort()
    await expect(second).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED })
    expect(await third).toEqual(await first)
    expect(card.log.filter(({ ins, sw }) => ins === 0x87 && sw !== 0x9000)).toHaveLength(0)
  })

  it('with an aborted signal requests no PIN and sends nothing', async () => {
    const { session, card } = await setUp()
    const pin = vi.fn<() => Promise<undefined>>()
    const signer = await cardSigner(session, { id: Uint8Array.of(1), pin })
    const sent = card.log.length
    const cause = new Error('changed my mind')
    const work = signer.sign(message, { signal: AbortSignal.abort(cause) })
    await expect(work).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED, cause })
    expect(pin).not.toHaveBeenCalled()
    expect(card.log.length).toBe(sent)
  })

  it('uses its own PIN source, rejects with CKR_PIN_INCORRECT and removes its abort listeners', async () => {
    const { session } = await setUp()
    const pins = ['654321', '123456']
    const pin = vi.fn<() => Promise<{ pin: Uint8Array }>>(async () => ({
      pin: new TextEncoder().encode(pins.shift()),
    }))
    const chain = [Uint8Array.of(1)]
    const signer = await cardSigner(session, { id: Uint8Array.of(1), pin, chain })
    expect(signer.chain).toEqual(chain)
    const { signal } = new AbortController()
    const [added, removed] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')]
    await expect(signer.sign(message, { signal })).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
    await signer.sign(message, { signal })
    expect(pin).toHaveBeenCalledTimes(2)
    const listeners = added.mock.calls.map(([, listener]) => listener)
    expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(expect.arrayContaining(listeners))
  })

  it('resolves to the signature even if onEvent throws', async () => {
    const thrown = new Error('in the listener')
    const onUnhandledError = vi.fn<(error: unknown) => void>()
    config.onUnhandledError = onUnhandledError
    try {
      const { session } = await setUp()
      const onEvent = ({ phase }: OperationEvent<Uint8Array>) => {
        if (phase === 'done') throw thrown
      }
      const signer = await cardSigner(session, { id: Uint8Array.of(1), onEvent })
      await expect(signer.sign(message)).resolves.toHaveLength(256)
      await vi.waitFor(() => expect(onUnhandledError).toHaveBeenCalledWith(thrown))
    } finally {
      config.onUnhandledError = null
    }
  })

  it('rejects with CKR_KEY_HANDLE_INVALID if the card has no such key', async () => {
    const { session } = await setUp()
    await expect(cardSigner(session, { id: Uint8Array.of(9) })).rejects.toMatchObject({
      rv: CKR.KEY_HANDLE_INVALID,
    })
  })
})
