import { verify, webcrypto, X509Certificate } from 'node:crypto'
import { ccidSlots } from '@webtoki/ccid'
import { CKM, CKR, Cryptoki, type CryptokiOptions, type OperationEvent } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { cardSigner } from '@webtoki/webcrypto'
import { config, firstValueFrom, Subject } from 'rxjs'
import { afterEach, describe, expect, it, vi } from 'vitest'

const message = new TextEncoder().encode('what is to be signed')
const open: Cryptoki[] = []
afterEach(async () => {
  for (const cryptoki of open.splice(0)) await cryptoki.close()
})

async function session(options: Partial<CryptokiOptions> = {}) {
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
  ] as const)('signs by $algorithm what WebCrypto verifies', async ({ id, rsa, algorithm }) => {
    const { session: own } = await session()
    const events: OperationEvent<Uint8Array>['phase'][] = []
    const signer = await cardSigner(own, {
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

  it('takes the key, the chain and the bytes as they are at the call', async () => {
    const { session: own } = await session()
    const id = Uint8Array.of(1)
    const link = Uint8Array.of(1, 2)
    const chain = [link]
    const making = cardSigner(own, { id, chain })
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

  it('that is aborted frees the session, and asks the card for nothing more', async () => {
    const { session: own, card } = await session()
    const signer = await cardSigner(own, { id: Uint8Array.of(1), pin: () => new Promise(() => {}) })
    const controller = new AbortController()
    const work = signer.sign(message, { signal: controller.signal })
    controller.abort()
    await expect(work).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED })
    expect(own.active).toEqual([])
    expect(card.log.some(({ ins }) => ins === 0x87)).toBe(false)
  })

  it('makes several signatures at once one after the other, whatever else its session does', async () => {
    const { session: own, card } = await session()
    const signer = await cardSigner(own, { id: Uint8Array.of(1) })
    const digest = own.digest({ type: CKM.SHA256 }, message).result()
    const messages = [1, 2, 3].map((each) => Uint8Array.of(each))
    const signatures = await Promise.all(messages.map((each) => signer.sign(each)))
    const { publicKey } = new X509Certificate(signer.certificate)
    signatures.forEach((signature, at) => {
      expect(verify('sha256', messages[at] as Uint8Array, publicKey, signature)).toBe(true)
    })
    expect(await digest).toHaveLength(32)
    // One login for all three.
    expect(card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)).toHaveLength(1)
  })

  it('rejects in a busy session if it is told to', async () => {
    const { session: own } = await session()
    const signer = await cardSigner(own, { id: Uint8Array.of(1), onConflict: 'reject' })
    const outcomes = await Promise.allSettled([signer.sign(message), signer.sign(message)])
    expect(outcomes).toMatchObject([{ status: 'fulfilled' }, { reason: { rv: CKR.OPERATION_ACTIVE } }])
  })

  it('that is aborted by what its Init ends frees the session, and asks nobody for a PIN', async () => {
    const { session: own } = await session()
    const pin = vi.fn<() => Promise<undefined>>()
    const signer = await cardSigner(own, { id: Uint8Array.of(1), pin, onConflict: 'abandon' })
    const controller = new AbortController()
    own.digest({ type: CKM.SHA256 }, new Subject<Uint8Array>()).events$.subscribe({
      error: () => controller.abort(),
    })
    const work = signer.sign(message, { signal: controller.signal })
    expect(own.active).toEqual([])
    await expect(work).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED })
    expect(pin).not.toHaveBeenCalled()
  })

  it('two at once are made one after the other, and one that is aborted leaves the queue', async () => {
    const { session: own, card } = await session()
    const signer = await cardSigner(own, { id: Uint8Array.of(1) })
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

  it('for whom the signal was given before asks nobody for a PIN, and the card for nothing', async () => {
    const { session: own, card } = await session()
    const pin = vi.fn<() => Promise<undefined>>()
    const signer = await cardSigner(own, { id: Uint8Array.of(1), pin })
    const sent = card.log.length
    const cause = new Error('changed my mind')
    const work = signer.sign(message, { signal: AbortSignal.abort(cause) })
    await expect(work).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED, cause })
    expect(pin).not.toHaveBeenCalled()
    expect(card.log.length).toBe(sent)
  })

  it('asks the PIN source that it was given, tells of a wrong PIN, and leaves no listener behind', async () => {
    const { session: own } = await session()
    const pins = ['654321', '123456']
    const pin = vi.fn<() => Promise<{ pin: Uint8Array }>>(async () => ({
      pin: new TextEncoder().encode(pins.shift()),
    }))
    const chain = [Uint8Array.of(1)]
    const signer = await cardSigner(own, { id: Uint8Array.of(1), pin, chain })
    expect(signer.chain).toEqual(chain)
    const { signal } = new AbortController()
    const [added, removed] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')]
    await expect(signer.sign(message, { signal })).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
    await signer.sign(message, { signal })
    expect(pin).toHaveBeenCalledTimes(2)
    const listeners = added.mock.calls.map(([, listener]) => listener)
    expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(expect.arrayContaining(listeners))
  })

  it('gives the signature though whoever listens throws at its end', async () => {
    const thrown = new Error('in the listener')
    const heard = vi.fn<(error: unknown) => void>()
    config.onUnhandledError = heard
    try {
      const { session: own } = await session()
      const onEvent = ({ phase }: OperationEvent<Uint8Array>) => {
        if (phase === 'done') throw thrown
      }
      const signer = await cardSigner(own, { id: Uint8Array.of(1), onEvent })
      await expect(signer.sign(message)).resolves.toHaveLength(256)
      await vi.waitFor(() => expect(heard).toHaveBeenCalledWith(thrown))
    } finally {
      config.onUnhandledError = null
    }
  })

  it('that the card has not is said so', async () => {
    const { session: own } = await session()
    await expect(cardSigner(own, { id: Uint8Array.of(9) })).rejects.toMatchObject({
      rv: CKR.KEY_HANDLE_INVALID,
    })
  })
})
