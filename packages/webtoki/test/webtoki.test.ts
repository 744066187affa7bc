import { createHash, createPublicKey, verify, X509Certificate } from 'node:crypto'
import type { SlotSource } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import { CKR, type PinRequest, type Slot } from '@webtoki/cryptoki'
import {
  compositeProfiles,
  createEchoCard,
  createPivCard,
  demoCa,
  type PivCard,
  type ReaderProfile,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
  VirtualCompositeReader,
} from '@webtoki/simulator'
import { filter, firstValueFrom, NEVER } from 'rxjs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Activity, Webtoki, type WebtokiOptions } from 'webtoki'
import { SiteChannel, SiteLocks } from '../../ccid/test/site.ts'
import { signDocument, trustedBy, verifyDetached } from 'webtoki/documents'

const origin = 'https://example.org'
const nonce = 'n'.repeat(44)
const open: Webtoki[] = []
beforeEach(() => {
  vi.stubGlobal('location', { origin })
})
afterEach(async () => {
  vi.unstubAllGlobals()
  for (const webtoki of open.splice(0)) await webtoki.close()
})

const desk = () => deskWith(readerProfiles.dualiAbcm6)

function deskWith(profile: ReaderProfile, options: Partial<WebtokiOptions> = {}) {
  return deskOf(
    createPivCard(profile === readerProfiles.qemuUsbCcid ? { protocols: 'T=0' } : {}),
    profile,
    options,
  )
}

function deskOf(
  card: PivCard,
  profile: ReaderProfile = readerProfiles.dualiAbcm6,
  options: Partial<WebtokiOptions> = {},
) {
  const reader = new VirtualCcidReader(profile)
  reader.insert(card)
  const bus = new VirtualBus()
  bus.plug(reader)
  const requests: PinRequest['purpose'][] = []
  const pin = async ({ purpose }: PinRequest) => {
    requests.push(purpose)
    return { pin: new TextEncoder().encode('123456') }
  }
  const usb = bus.context({ protectedClasses: false })
  const webtoki = new Webtoki({ pin, usb, ...options })
  open.push(webtoki)
  const activities: Activity[] = []
  webtoki.activity$.subscribe((activity) => activities.push(activity))
  return { reader, card, bus, usb, pin, webtoki, requests, activities }
}

describe('Webtoki', () => {
  it('logs in with a token that Node verifies over origin and nonce (Web eID, 1.0)', async () => {
    const { webtoki, requests } = desk()
    const token = JSON.parse(await webtoki.login(nonce)) as Record<string, string>
    const certificate = new X509Certificate(Buffer.from(token['unverifiedCertificate'] ?? '', 'base64'))
    const hash = (text: string) => createHash('sha256').update(text).digest()
    const statement = Buffer.concat([hash(origin), hash(nonce)])
    const key = createPublicKey(certificate.publicKey.export({ type: 'spki', format: 'pem' }))
    expect(token['algorithm']).toBe('RS256')
    expect(verify('sha256', statement, key, Buffer.from(token['signature'] ?? '', 'base64'))).toBe(true)
    expect(requests).toEqual(['login'])
  })

  it.each([
    ['login', [0x5fc105]],
    ['signing', [0x5fc10a]],
  ] as const)(
    'reads only the certificate that it uses for %s, and a list of them all',
    async (purpose, read) => {
      const { webtoki, reader } = desk()
      const card = createPivCard()
      const tags: number[] = []
      reader.insert({
        atr: card.atr,
        reset: (kind) => card.reset(kind),
        powerOff: () => card.powerOff(),
        process: (command) => {
          const tag = Buffer.from(command)
            .toString('hex')
            .match(/^00cb3fff(?:0000)?055c03(5fc1..)/)?.[1]
          if (tag !== undefined) tags.push(Number.parseInt(tag, 16))
          return card.process(command)
        },
      })
      if (purpose === 'login') await webtoki.login(nonce)
      else await signDocument(webtoki, Uint8Array.of(1))
      const certificates = (all: readonly number[]) => all.filter((tag) => tag !== 0x5fc102)
      expect(certificates(tags)).toEqual(read)
      await webtoki.certificates('login')
      expect(certificates(tags).toSorted((a, b) => a - b)).toEqual([0x5fc101, 0x5fc105, 0x5fc10a, 0x5fc10b])
    },
  )

  it('logs in by seven APDUs with a CanoKey, whose ATR states no lengths, at extended APDU level', async () => {
    const atr = Uint8Array.from(Buffer.from('3bf711008131fe6543616e6f6b657999', 'hex'))
    const { webtoki, card } = deskOf(createPivCard({ atr }))
    await webtoki.login(nonce)
    expect(card.log).toHaveLength(7)
  })

  it('logs in by short APDUs if the card announces extended ones and refuses them', async () => {
    // OpenFIPS201, Token2 PIN+ on contact.
    const card = createPivCard({ atr: createPivCard().atr, extendedLength: false })
    const { webtoki } = deskOf(card)
    await expect(webtoki.login(nonce)).resolves.toContain('web-eid:1.0')
    expect(card.log.filter(({ sw }) => sw === 0x6700)).toHaveLength(1)
    expect(card.log.filter(({ ins }) => ins === 0x20).map(({ dataBytes }) => dataBytes)).toEqual([0, 8])
  })

  it('asks in the dialog, in the same call, if the reader has not the PIN pad that it announces', async () => {
    const { webtoki, card, requests, activities, reader } = deskWith(readerProfiles.qemuUsbCcid)
    await expect(webtoki.login(nonce)).resolves.toContain('web-eid:1.0')
    expect([requests, card.pinVerified, card.pinTriesLeft]).toEqual([['login'], true, 3])
    expect(activities.map(({ phase }) => phase)).toContain('awaiting-pin')
    await webtoki.logOut()
    await webtoki.login(nonce)
    expect(reader.counters.messages.get('Secure')).toBe(1)
  })

  it('does not use an absent PIN pad again for the next Webtoki of the same page', async () => {
    const { webtoki, usb, pin, reader, requests } = deskWith(readerProfiles.qemuUsbCcid)
    await webtoki.login(nonce)
    await webtoki.close()
    const next = new Webtoki({ pin, usb })
    open.push(next)
    await next.login(nonce)
    expect([requests, reader.counters.messages.get('Secure')]).toEqual([['login', 'login'], 1])
  })

  it.each([
    { pinPad: true, asked: [], secures: 1 },
    { pinPad: false, asked: ['login'], secures: undefined },
  ])('asks for the PIN on the reader’s keys or not, as the page wants: $pinPad', async (wanted) => {
    const { pinPad } = wanted
    const { webtoki, card, requests, reader } = deskWith(readerProfiles.cherrySt2000, { pinPad })
    reader.person = async () => ({ digits: '123456' })
    await webtoki.login(nonce)
    expect([requests, reader.counters.messages.get('Secure')]).toEqual([wanted.asked, wanted.secures])
    expect(card.pinVerified).toBe(true)
  })

  it('fails with CKR_DEVICE_REMOVED and sends no PIN if the card was swapped while the person typed', async () => {
    const { webtoki, card, reader } = deskWith(readerProfiles.jinmuyuMr800, {
      pin: async () => {
        reader.insert(other)
        return { pin: new TextEncoder().encode('123456') }
      },
    })
    const other = createPivCard({ guid: new Uint8Array(16).fill(7), isDefaultSelected: true })
    await firstValueFrom(
      ((await firstValueFrom(webtoki.slots$))[0] as Slot).presence$.pipe(
        filter((presence) => presence === 'present'),
      ),
    )
    await expect(webtoki.login(nonce)).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    const withPin = [card, other]
      .flatMap(({ log }) => log)
      .filter((each) => each.ins === 0x20 && each.dataBytes)
    expect(withPin).toEqual([])
  })

  it('uses the security module of a reader only if the caller names its slot', async () => {
    const device = new VirtualCompositeReader(compositeProfiles.identiveCloud4510)
    const [sam, card] = [createPivCard(), createPivCard({ guid: new Uint8Array(16).fill(7) })]
    device.reader(0).insert(sam)
    const bus = new VirtualBus()
    bus.plug(device)
    const webtoki = new Webtoki({
      pin: async () => ({ pin: new TextEncoder().encode('123456') }),
      usb: bus.context({ protectedClasses: false }),
    })
    open.push(webtoki)
    await expect(webtoki.login(nonce)).rejects.toMatchObject({ rv: CKR.TOKEN_NOT_PRESENT })
    device.reader(1).insert(card)
    const slots = await firstValueFrom(webtoki.slots$)
    await firstValueFrom((slots[0] as Slot).presence$.pipe(filter((presence) => presence === 'present')))
    await webtoki.login(nonce)
    expect([sam.log.length, card.pinVerified]).toEqual([0, true])
    expect(
      await webtoki.certificates(
        'login',
        slots.find(({ kind }) => kind === 'sam'),
      ),
    ).not.toEqual([])
  })

  it.each(['before', 'after'])(
    'logs in with the PIV card if another card is in the reader %s it, and reports another card alone',
    async (place) => {
      const readers = [readerProfiles.dualiAbcm6, readerProfiles.dualiAbcm6].map(
        (profile) => new VirtualCcidReader(profile),
      )
      const [strange, own] = place === 'before' ? readers : readers.toReversed()
      strange?.insert(createEchoCard())
      const bus = new VirtualBus()
      for (const reader of readers) bus.plug(reader)
      const pin = async () => ({ pin: new TextEncoder().encode('123456') })
      const webtoki = new Webtoki({ pin, usb: bus.context() })
      open.push(webtoki)
      await expect(webtoki.login(nonce)).rejects.toMatchObject({ rv: CKR.TOKEN_NOT_RECOGNIZED })
      await expect(webtoki.certificates('login')).rejects.toMatchObject({ rv: CKR.TOKEN_NOT_RECOGNIZED })
      const slot = (await firstValueFrom(webtoki.slots$))[place === 'before' ? 1 : 0] as Slot
      own?.insert(createPivCard())
      await firstValueFrom(slot.presence$.pipe(filter((presence) => presence === 'present')))
      expect(await webtoki.certificates('login')).not.toEqual([])
      await expect(webtoki.login(nonce)).resolves.toContain('web-eid:1.0')
    },
  )

  it('asks for the PIN once while the card stays logged in, and again after a logout', async () => {
    const { webtoki, card, requests } = desk()
    await webtoki.login(nonce)
    await webtoki.login(nonce)
    expect(requests).toEqual(['login'])
    await webtoki.logOut()
    expect(card.pinVerified).toBe(false)
    await webtoki.login(nonce)
    expect(requests).toEqual(['login', 'login'])
  })

  it('logs out of every card, also if one reader is removed meanwhile', async () => {
    const bus = new VirtualBus()
    const cards = [createPivCard(), createPivCard({ guid: new Uint8Array(16).fill(7) })]
    const readers = cards.map((card) => {
      const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
      reader.insert(card)
      bus.plug(reader)
      return reader
    })
    const pin = async () => ({ pin: new TextEncoder().encode('123456') })
    const webtoki = new Webtoki({ pin, usb: bus.context() })
    open.push(webtoki)
    for (const slot of await firstValueFrom(webtoki.slots$)) {
      const [certificate] = await webtoki.certificates('login', slot)
      if (certificate === undefined) throw new Error('There is no certificate.')
      await webtoki.login(nonce, { certificate })
    }
    expect(cards.map(({ pinVerified }) => pinVerified)).toEqual([true, true])
    const [reader] = readers
    const [card] = cards
    if (reader === undefined || card === undefined) throw new Error('There is no reader.')
    vi.spyOn(card, 'process').mockImplementation(async () => {
      bus.unplug(reader)
      return Uint8Array.of(0x6f, 0x00)
    })
    await expect(webtoki.logOut()).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    expect(cards.map(({ pinVerified }) => pinVerified)).toEqual([false, false])
  })

  it('that was not closed keeps its reader: a second one reports `by: page`, and works afterwards', async () => {
    const { webtoki, bus } = desk()
    await webtoki.login(nonce)
    const [usb, pin] = [bus.context(), async () => ({ pin: new TextEncoder().encode('123456') })]
    const [first, second] = [new Webtoki({ pin, usb }), new Webtoki({ pin, usb })]
    open.push(first, second)
    await webtoki.close()
    await first.login(nonce)
    const refused = await second.login(nonce).catch((error: unknown) => error)
    expect(refused).toMatchObject({
      rv: CKR.TOKEN_NOT_PRESENT,
      message: expect.stringMatching(/this page.*Close/),
      cause: { code: 'reader/in-use', by: 'page' },
    })
    await first.close()
    await second.login(nonce)
  })

  it.each(['a wrong PIN', 'a cancel'])(
    'that was not closed after %s does not keep the reader from another Webtoki or tab',
    async (what) => {
      const { bus, webtoki } = desk()
      await webtoki.close()
      const [locks, channel] = [new SiteLocks(), new SiteChannel()]
      const page = (usb: USB, pin: string | undefined) => {
        const sources = [ccidSlots({ usb, locks, channel: channel.tab() })]
        const answer = async () => (pin === undefined ? undefined : { pin: new TextEncoder().encode(pin) })
        const one = new Webtoki({ pin: answer, sources })
        open.push(one)
        return one
      }
      const usb = bus.context()
      const failing = page(usb, what === 'a cancel' ? undefined : '654321')
      const rv = what === 'a cancel' ? CKR.FUNCTION_CANCELED : CKR.PIN_INCORRECT
      await expect(failing.login(nonce)).rejects.toMatchObject({ rv })
      const again = page(usb, '123456')
      await again.login(nonce)
      await again.close()
      await expect(failing.login(nonce)).rejects.toMatchObject({ rv })
      await page(bus.context(), '123456').login(nonce)
    },
  )

  it('closes without an error in a `finally`, whatever its source does', async () => {
    const { bus, card } = desk()
    const broken: SlotSource = { slots$: NEVER, close: () => Promise.reject(new Error('broken')) }
    await open.pop()?.close()
    const webtoki = new Webtoki({ pin: async () => undefined, usb: bus.context() })
    const odd = new Webtoki({ pin: async () => undefined, usb: bus.context(), sources: [broken] })
    const attempt = async (one: Webtoki, work: () => Promise<unknown>): Promise<unknown> => {
      try {
        return await work()
      } finally {
        await one.close()
      }
    }
    await expect(attempt(odd, () => Promise.reject(new Error('the site is down')))).rejects.toThrow('site')
    await expect(attempt(webtoki, () => webtoki.login(nonce))).rejects.toMatchObject({
      rv: CKR.FUNCTION_CANCELED,
    })
    const last = new Webtoki({
      pin: async () => ({ pin: new TextEncoder().encode('123456') }),
      usb: bus.context(),
    })
    await attempt(last, () => last.login(nonce))
    expect(card.pinVerified).toBe(false)
  })

  it('names the site or the document in each PIN request, in the words of the page if given', async () => {
    const { bus, webtoki: other } = desk()
    await other.close()
    const asked: (string | undefined)[] = []
    const pin = async (request: PinRequest) => {
      asked.push(request.for)
      return { pin: new TextEncoder().encode('123456') }
    }
    const webtoki = new Webtoki({ pin, usb: bus.context() })
    open.push(webtoki)
    await webtoki.login(nonce)
    await webtoki.logOut()
    await webtoki.login(nonce, { for: 'your bank' })
    await signDocument(webtoki, new File(['Dear reader,'], 'letter.txt'))
    await signDocument(webtoki, new File(['Dear reader,'], 'letter.txt'), { for: 'Letter of May' })
    await signDocument(webtoki, new Blob(['Dear reader,']))
    expect(asked).toEqual([origin, 'your bank', 'letter.txt', 'Letter of May', undefined])
  })

  it('names the reader in each PIN request of a login and a signature', async () => {
    const { bus, webtoki: other } = desk()
    await other.close()
    const asked: (string | undefined)[] = []
    const pin = async ({ purpose, reader }: PinRequest) => {
      asked.push(`${purpose}: ${reader}`)
      return { pin: new TextEncoder().encode('123456') }
    }
    const webtoki = new Webtoki({ pin, usb: bus.context() })
    open.push(webtoki)
    await webtoki.login(nonce)
    await signDocument(webtoki, new Blob(['Dear reader,']))
    expect(asked).toEqual(['login: DUALi DE-ABCM6', 'signature: DUALi DE-ABCM6'])
  })

  it('signs with the key for signatures, which requires the PIN each time', async () => {
    const { webtoki, requests } = desk()
    const file = new Blob(['Dear reader,'])
    for (let times = 0; times < 2; times++) {
      const { valid, signers } = await verifyDetached(await signDocument(webtoki, file), file, {
        trust: trustedBy([demoCa.certificate]),
      })
      expect({ valid, algorithm: signers[0]?.algorithm }).toEqual({
        valid: true,
        algorithm: 'ECDSA with SHA-256',
      })
    }
    expect(requests.filter((purpose) => purpose === 'signature')).toHaveLength(2)
  })

  it('signs with the given time and digest function, and reports progress', async () => {
    const { webtoki } = desk()
    const file = new Blob(['Dear reader,'])
    const signingTime = new Date('2026-11-24T12:00:00Z')
    const read: number[] = []
    await signDocument(webtoki, file, { onProgress: ({ bytes }) => read.push(bytes) })
    expect(read).toEqual([12])
    const digest = async () => new Uint8Array(createHash('sha256').update('Dear reader,').digest())
    const unread = { size: 12, slice: () => expect.fail('It is digested elsewhere.') }
    const signature = await signDocument(webtoki, unread, { signingTime, digest })
    const found = await verifyDetached(signature, file, { trust: trustedBy([demoCa.certificate]) })
    expect(found).toMatchObject({ valid: true, signers: [{ signingTime }] })
  })

  it('signs the bytes and the time as they were at the call', async () => {
    const { webtoki } = desk()
    const letter = new TextEncoder().encode('Dear reader,')
    const data = Uint8Array.from(letter)
    const signingTime = new Date('2026-11-24T12:00:00Z')
    const work = signDocument(webtoki, data, { signingTime })
    data.fill(0)
    signingTime.setUTCFullYear(2031)
    const found = await verifyDetached(await work, letter, { trust: trustedBy([demoCa.certificate]) })
    expect(found).toMatchObject({
      valid: true,
      signers: [{ signingTime: new Date('2026-11-24T12:00:00Z') }],
    })
  })

  it('refuses a stream that was read before, without a PIN request or command', async () => {
    const { webtoki, card, requests } = desk()
    const stream = new Blob(['Dear reader,']).stream()
    const reader = stream.getReader()
    while (!(await reader.read()).done);
    reader.releaseLock()
    await expect(signDocument(webtoki, stream)).rejects.toMatchObject({ reason: 'already-read' })
    expect(requests).toEqual([])
    expect(card.log).toEqual([])
  })

  it('returns certificates that cannot be changed', async () => {
    const { webtoki, card } = desk()
    const [certificate] = await webtoki.certificates('signing')
    if (certificate === undefined) throw new Error('There is no certificate.')
    certificate.der.fill(0)
    certificate.id.fill(9)
    certificate.notAfter.setUTCFullYear(1999)
    expect(() => Object.assign(certificate, { asksEachTime: false })).toThrow(TypeError)
    expect(() => (certificate.purposes as string[]).push('login')).toThrow(TypeError)
    expect(certificate.der).toEqual(card.certificateOf('9C'))
    expect(certificate.notAfter.getUTCFullYear()).toBeGreaterThan(2020)
    await signDocument(webtoki, new Blob(['Dear reader,']), { certificate })
  })

  it('reports activities with number, phase and the code of a failure', async () => {
    const { webtoki, reader, activities } = desk()
    await webtoki.login(nonce)
    expect(activities.map(({ what, phase }) => `${what} ${phase}`)).toEqual([
      'login started',
      'login awaiting-card',
      'login awaiting-pin',
      'login awaiting-card',
      'login done',
    ])
    reader.remove()
    await expect(webtoki.login(nonce)).rejects.toMatchObject({ rv: CKR.TOKEN_NOT_PRESENT })
    expect(activities.at(-1)).toMatchObject({
      operation: 2,
      phase: 'failed',
      code: 'cryptoki/token-not-present',
    })
  })

  it.each([
    { purpose: 'login', other: 'with another certificate', options: { nineA: 'p256' } },
    { purpose: 'signing', other: 'with another certificate', options: { nineA: 'p256' } },
    { purpose: 'login', other: 'without that key', options: { absentKeys: ['9A'] } },
  ] as const)('a card swapped for one $other after the choice signs nothing: $purpose', async (swap) => {
    const { webtoki, reader, requests } = desk()
    const certificates = await webtoki.certificates('login')
    const certificate = certificates.find(({ id }) => id[0] === 1)
    if (certificate === undefined) throw new Error('There is no certificate of 9A.')
    const other = createPivCard(swap.options)
    reader.insert(other)
    const work =
      swap.purpose === 'login'
        ? webtoki.login(nonce, { certificate })
        : signDocument(webtoki, new Blob(['Dear reader,']), { certificate })
    await expect(work).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    expect(requests).toEqual([])
    expect(other.pinTriesLeft).toBe(3)
  })

  it('reports a reader in use rather than a missing card, and logs in after it was released', async () => {
    const { bus, reader, webtoki: first } = desk()
    await first.login(nonce)
    const second = new Webtoki({
      pin: async () => ({ pin: new TextEncoder().encode('123456') }),
      usb: bus.context(),
    })
    open.push(second)
    await expect(second.login(nonce)).rejects.toMatchObject({
      rv: CKR.TOKEN_NOT_PRESENT,
      cause: { code: 'reader/in-use' },
    })
    const inUse = { rv: CKR.TOKEN_NOT_PRESENT, cause: { code: 'reader/in-use' } }
    const powered = reader.counters.messages.get('IccPowerOn')
    await expect(second.certificates('login')).rejects.toMatchObject(inUse)
    expect(reader.counters.messages.get('IccPowerOn')).toBe(powered)
    await first.close()
    // Only a login or signature requests the reader.
    await expect(second.certificates('login')).rejects.toMatchObject(inUse)
    expect(reader.counters.messages.get('IccPowerOn')).toBe(powered)
    await second.login(nonce)
  })

  it.each([
    { other: 'with another certificate', options: { nineA: 'p256' } },
    { other: 'without that key', options: { absentKeys: ['9A'] } },
  ] as const)('a card swapped long ago for one $other signs nothing for the choice either', async (swap) => {
    const { webtoki, reader, requests } = desk()
    const certificate = (await webtoki.certificates('login')).find(({ id }) => id[0] === 1)
    if (certificate === undefined) throw new Error('There is no certificate of 9A.')
    const { slot } = certificate
    const seen = (wanted: string) => firstValueFrom(slot.presence$.pipe(filter((each) => each === wanted)))
    reader.remove()
    await seen('empty')
    const other = createPivCard(swap.options)
    reader.insert(other)
    await seen('present')
    await expect(webtoki.login(nonce, { certificate })).rejects.toMatchObject({
      rv: CKR.DEVICE_REMOVED,
      message: expect.stringContaining('another card') as string,
    })
    expect(requests).toEqual([])
    expect(other.pinTriesLeft).toBe(3)
  })

  it('signs with the requested padding, and reports each phase to `onPhase`', async () => {
    const { webtoki, activities } = desk()
    const phases: string[] = []
    const token = await webtoki.login(nonce, { rsa: 'PS256', onPhase: (phase) => phases.push(phase) })
    expect(JSON.parse(token)).toMatchObject({ algorithm: 'PS256' })
    expect(phases).toEqual(activities.map(({ phase }) => phase))
    expect(phases).toEqual(['started', 'awaiting-card', 'awaiting-pin', 'awaiting-card', 'done'])
  })

  it('does not ask for the PIN of an aborted login', async () => {
    const { webtoki, requests, card } = desk()
    await expect(webtoki.login(nonce, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      rv: CKR.FUNCTION_CANCELED,
    })
    expect([requests, card.pinVerified]).toEqual([[], false])
  })

  it('fails with CKR_DEVICE_REMOVED if the reader of the chosen certificate was unplugged', async () => {
    const { webtoki, reader, bus } = desk()
    const [certificate] = await webtoki.certificates('login')
    if (certificate === undefined) throw new Error('There is no certificate.')
    bus.unplug(reader)
    await expect(webtoki.login(nonce, { certificate })).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
  })

  it('that is closed while a login starts ends it with a Webtoki error, not an error of rxjs', async () => {
    const { webtoki, requests } = desk()
    const login = webtoki.login(nonce)
    const closing = webtoki.close()
    await expect(login).rejects.toMatchObject({ rv: CKR.TOKEN_NOT_PRESENT })
    await closing
    expect(requests).toEqual([])
  })

  it('refuses a nonce that no server should send before it uses the card', async () => {
    const { webtoki, requests } = desk()
    await expect(webtoki.login('short')).rejects.toMatchObject({
      code: 'login/wrong-argument',
      argument: 'nonce',
    })
    expect(requests).toEqual([])
  })
})
