/** Login, signature and list report the same known reason why no card can be used. */
import { generateKeyPairSync } from 'node:crypto'
import {
  CardAbsentError,
  type CardSlot,
  CardSilentError,
  type Presence,
  type SlotSource,
} from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import { CKR } from '@webtoki/cryptoki'
import {
  createEchoCard,
  createPivCard,
  type ReaderProfile,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
  type VirtualCard,
  virtualUsb,
} from '@webtoki/simulator'
import { BehaviorSubject, firstValueFrom, map } from 'rxjs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { isWebtokiError, Webtoki, type WebtokiOptions } from 'webtoki'
import { signDocument } from 'webtoki/documents'
import { explain } from '../../ui/src/strings.ts'
import { type Issued, issue, reissue } from '../../trust/test/pki.ts'

const nonce = 'n'.repeat(44)
const open: Webtoki[] = []
beforeEach(() => {
  vi.stubGlobal('location', { origin: 'https://example.org' })
})
afterEach(async () => {
  for (const webtoki of open.splice(0)) await webtoki.close()
  vi.unstubAllGlobals()
})

function page(options: Partial<WebtokiOptions> = {}) {
  const asked = vi.fn<() => void>()
  const pin = async () => {
    asked()
    return { pin: new TextEncoder().encode('123456') }
  }
  const webtoki = new Webtoki({ pin, ...options })
  open.push(webtoki)
  return { webtoki, asked }
}

function readerWith(
  card?: VirtualCard,
  profile: ReaderProfile = readerProfiles.dualiAbcm6,
): VirtualCcidReader {
  const reader = new VirtualCcidReader(profile)
  if (card !== undefined) reader.insert(card)
  return reader
}

const failed = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.fail('It did not fail.'),
    (error: unknown) => error,
  )

/** The three calls. */
const uses = {
  'a login': (webtoki: Webtoki) => webtoki.login(nonce),
  'a signature': (webtoki: Webtoki) => signDocument(webtoki, Uint8Array.of(1)),
  'the list': (webtoki: Webtoki) => webtoki.certificates('login'),
}
const all = Object.entries(uses)

describe.each(all)('%s reports', (what, use) => {
  it.each([
    ['no-api', undefined, true, undefined],
    ['insecure-context', undefined, false, undefined],
    ['policy', virtualUsb([]), true, []],
  ] as const)('that readers cannot be reached: %s', async (why, usb, isSecureContext, allowed) => {
    vi.stubGlobal('navigator', { usb })
    vi.stubGlobal('isSecureContext', isSecureContext)
    const featurePolicy = { allowsFeature: () => false }
    vi.stubGlobal('document', allowed && { featurePolicy, addEventListener() {}, removeEventListener() {} })
    const { webtoki } = page()
    expect(Webtoki.support()).toBe(why)
    expect(await failed(use(webtoki))).toMatchObject({
      rv: CKR.TOKEN_NOT_PRESENT,
      cause: { code: 'reader/unreachable', why },
    })
    expect(await failed(webtoki.requestReader())).toMatchObject({ code: 'reader/unreachable', why })
  })

  it('that pages cannot open the class of the reader, also on a later visit', async () => {
    const usb = virtualUsb([readerWith(createPivCard(), readerProfiles.scr331)])
    const { webtoki } = page({ usb })
    const error = await failed(use(webtoki))
    expect(error).toMatchObject({ cause: { code: 'reader/protected-class' } })
    expect(explain(error)).toMatch(/this kind of reader/)
  })

  it('that the reader is in use', async () => {
    const bus = new VirtualBus()
    bus.plug(readerWith(createPivCard()))
    const first = page({ usb: bus.context() })
    await first.webtoki.login(nonce)
    const { webtoki } = page({ usb: bus.context() })
    expect(await failed(use(webtoki))).toMatchObject({
      rv: CKR.TOKEN_NOT_PRESENT,
      cause: { code: 'reader/in-use' },
    })
  })

  it('that the card does not respond', async () => {
    const source = sourceOf('unreadable', () => Promise.reject(new CardSilentError()))
    const { webtoki } = page({ sources: [source] })
    const error = await failed(use(webtoki))
    expect(error).toMatchObject({ rv: CKR.TOKEN_NOT_PRESENT, cause: { code: 'card/mute' } })
    expect(explain(error)).toMatch(/is not responding/)
  })

  it('that the card does not respond, though its reader reported no card', async () => {
    const source = sourceOf('empty', () => Promise.reject(new CardSilentError()))
    const { webtoki } = page({ sources: [source] })
    expect(await failed(use(webtoki))).toMatchObject({ cause: { code: 'card/mute' } })
  })

  it('that the card is not recognized', async () => {
    const { webtoki } = page({ usb: virtualUsb([readerWith(createEchoCard())]) })
    expect(await failed(use(webtoki))).toMatchObject({ rv: CKR.TOKEN_NOT_RECOGNIZED })
  })

  it('that the Webtoki is closed', async () => {
    const { webtoki } = page({ usb: virtualUsb([readerWith(createPivCard())]) })
    await webtoki.close()
    expect(await failed(use(webtoki))).toMatchObject({ cause: { code: 'reader/closed' } })
  })

  it('that a certificate could not be read, if no other was found', async () => {
    const unreadableCertificates = ['9A', '9C', '9D', '9E'] as const
    const { webtoki } = page({ usb: virtualUsb([readerWith(createPivCard({ unreadableCertificates }))]) })
    const error = await failed(use(webtoki))
    expect(isWebtokiError(error, 'cryptoki/token-not-present', 'cryptoki/key-handle-invalid')).toBe(false)
    expect(isWebtokiError(error)).toBe(true)
  })

  it('that the algorithm of the key is not supported', async () => {
    const certificates = { '9A': (await withStrangeKey()).der, '9C': (await withStrangeKey()).der }
    const { webtoki, asked } = page({
      usb: virtualUsb([readerWith(createPivCard({ certificates, absentKeys: ['9D', '9E'] }))]),
    })
    if (what === 'the list') {
      const found = await webtoki.certificates('login')
      expect(found.map(({ fault }) => fault)).toEqual(['key-not-supported', 'key-not-supported'])
      expect(await failed(webtoki.login(nonce, { certificate: found[0] }))).toMatchObject({
        rv: CKR.KEY_SIZE_RANGE,
      })
    } else expect(await failed(use(webtoki))).toMatchObject({ rv: CKR.KEY_SIZE_RANGE })
    expect(asked).not.toHaveBeenCalled()
  })

  it('the certificate of a card that powers on at the second attempt', async () => {
    const inner = ccidSlots({ usb: virtualUsb([readerWith(createPivCard())], { protectedClasses: false }) })
    const [slot] = await firstValueFrom(inner.slots$)
    if (slot === undefined) throw new Error('There is no slot.')
    const presence$ = new BehaviorSubject<Presence>('unreadable')
    let tries = 0
    const source = sourceOf('unreadable', async (options) => {
      // The first power-on fails.
      tries++
      const connection = await slot.connect(options)
      presence$.next('present')
      return connection
    })
    const { webtoki } = page({ sources: [source] })
    await expect(use(webtoki)).resolves.toBeDefined()
    expect(tries).toBe(1)
    await inner.close()
  })
})

describe('no card', () => {
  it('is an empty list, and an error of a login or signature', async () => {
    const { webtoki } = page({ usb: virtualUsb([readerWith()]) })
    expect(await webtoki.certificates('login')).toEqual([])
    for (const use of [uses['a login'], uses['a signature']]) {
      const error = await failed(use(webtoki))
      expect(error).toMatchObject({ rv: CKR.TOKEN_NOT_PRESENT })
      expect((error as Error).cause).toBeUndefined()
      expect(explain(error)).toBe('No card is inserted. Insert your card and try again.')
    }
  })

  it.each([false, true])(
    'in no reader is told as such, and so is a chooser that was left: %s',
    async (isLeft) => {
      const bus = new VirtualBus()
      bus.plug(readerWith(createPivCard()))
      const { webtoki } = page({ usb: bus.context({ granted: 'none', choose: () => undefined }) })
      expect(await webtoki.certificates('login')).toEqual([])
      if (isLeft) expect(await webtoki.requestReader()).toBe(false)
      const error = await failed(webtoki.login(nonce))
      expect(error).toMatchObject({
        rv: CKR.TOKEN_NOT_PRESENT,
        cause: { code: 'reader/none', why: isLeft ? 'not-chosen' : 'unknown' },
      })
      expect(explain(error)).toMatch(isLeft ? /No reader was chosen/ : /No reader is connected/)
    },
  )
})

it('a login from a page with an opaque origin is refused before a card is searched for', async () => {
  vi.stubGlobal('location', { origin: 'null' })
  const card = createPivCard()
  const { webtoki, asked } = page({ usb: virtualUsb([readerWith(card)]) })
  expect(await failed(webtoki.login(nonce))).toMatchObject({ code: 'login/no-origin' })
  expect([asked.mock.calls.length, card.log]).toEqual([0, []])
})

describe('sources', () => {
  it('replace navigator.usb, and are added to `usb` if that is given', async () => {
    const own = virtualUsb([readerWith(createPivCard())])
    vi.stubGlobal('navigator', { usb: own })
    const source = sourceOf('empty', () => Promise.reject(new CardAbsentError()))
    const names = async (options: Partial<WebtokiOptions>) =>
      (await firstValueFrom(page(options).webtoki.slots$)).map(({ name }) => name)
    expect(await names({ sources: [source] })).toEqual(['a reader'])
    expect(await names({ sources: [] })).toEqual([])
    expect(await names({ sources: [source], usb: own })).toEqual(['DUALi DE-ABCM6', 'a reader'])
    expect(await names({})).toEqual(['DUALi DE-ABCM6'])
  })
})

describe('the chosen certificate', () => {
  const validity = {
    expired: { notAfter: new Date('2021-01-01T00:00:00Z'), notBefore: new Date('2020-01-01T00:00:00Z') },
    'not-yet-valid': {
      notBefore: new Date('2048-01-01T00:00:00Z'),
      notAfter: new Date('2049-01-01T00:00:00Z'),
    },
  }

  it.each(['expired', 'not-yet-valid'] as const)(
    'is a certificate that can be accepted, though one that is %s stands first',
    async (fault) => {
      const card = createPivCard()
      const stale = await issue({ name: 'Stale', ...validity[fault] })
      const certificates = {
        '9A': await withKeyOf(card, '9A', stale),
        '9C': await withKeyOf(card, '9C', await issue({ name: 'Fresh' })),
      }
      const { webtoki } = page({ usb: virtualUsb([readerWith(createPivCard({ certificates }))]) })
      const found = await webtoki.certificates('login')
      expect(found.at(-1)).toMatchObject({ id: Uint8Array.of(1), fault })
      expect(found[0]?.fault).toBeUndefined()
      const token = JSON.parse(await webtoki.login(nonce)) as { unverifiedCertificate: string }
      expect(Buffer.from(token.unverifiedCertificate, 'base64')).toEqual(Buffer.from(found[0]?.der ?? []))
    },
  )

  it('is an expired one if there is no other, because only the server has a reliable clock', async () => {
    const stale = await issue({ name: 'Stale', ...validity.expired })
    const certificates = { '9A': await withKeyOf(createPivCard(), '9A', stale) }
    const card = createPivCard({ certificates, absentKeys: ['9C', '9D', '9E'] })
    const { webtoki } = page({ usb: virtualUsb([readerWith(card)]) })
    await expect(webtoki.login(nonce)).resolves.toContain('web-eid:1.0')
  })

  it('is the same for a list and a login with several readers', async () => {
    const stale = await issue({ name: 'Stale', ...validity.expired })
    const certificates = { '9A': await withKeyOf(createPivCard(), '9A', stale) }
    const readers = [createPivCard({ certificates, absentKeys: ['9C', '9D', '9E'] }), createPivCard()].map(
      (card) => readerWith(card),
    )
    const { webtoki } = page({ usb: virtualUsb(readers) })
    const [best] = await webtoki.certificates('login')
    const token = JSON.parse(await webtoki.login(nonce)) as { unverifiedCertificate: string }
    expect(best?.fault).toBeUndefined()
    expect(Buffer.from(token.unverifiedCertificate, 'base64')).toEqual(Buffer.from(best?.der ?? []))
  })
})

/** A source with one slot. */
function sourceOf(presence: Presence, connect: CardSlot['connect']): SlotSource {
  const presence$ = new BehaviorSubject<Presence>(presence)
  const slot: CardSlot = { id: 'a', name: 'a reader', kind: 'contact', presence$, connect }
  const slots$ = new BehaviorSubject<readonly CardSlot[]>([slot])
  return { slots$: slots$.pipe(map((each) => each)), close: async () => {} }
}

/** A certificate for logins and documents whose key is on a curve that PIV does not have. */
async function withStrangeKey(): Promise<Issued> {
  const { publicKey } = generateKeyPairSync('ed25519')
  const publicKeyInfo = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }))
  const issued = await issue({ name: 'Ada' })
  return reissue(issued, issued, { publicKeyInfo })
}

/** The certificate with the public key that a card has in a slot. */
async function withKeyOf(
  card: ReturnType<typeof createPivCard>,
  slot: '9A' | '9C',
  issued: Issued,
): Promise<Uint8Array> {
  await card.process(Uint8Array.of(0, 0xa4, 4, 0))
  const publicKeyInfo = card.publicKeyOf(slot)
  if (publicKeyInfo === undefined) throw new Error('There is no key.')
  return (await reissue(issued, issued, { publicKeyInfo })).der
}
