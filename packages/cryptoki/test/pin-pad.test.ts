/** A reader with a PIN pad: the PIN is entered there, and the page never gets it. */
import { ccidSlots } from '@webtoki/ccid'
import {
  CKA,
  CKF,
  CKM,
  CKO,
  CKR,
  CKU,
  Cryptoki,
  type CryptokiError,
  type OperationEvent,
  type PinRequest,
} from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createPivCard,
  type PinPadPerson,
  type PinEntry,
  type ReaderProfile,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it, vi } from 'vitest'

/** The same reader with extended APDUs and a PIN pad. */
const apduPad: ReaderProfile = {
  ...readerProfiles.dualiAbcm6,
  ccidDescriptor: `${readerProfiles.dualiAbcm6.ccidDescriptor.slice(0, 104)}0301`,
}
const profiles = {
  APDUs: { profile: apduPad, protocols: 'T=1' },
  'TPDUs over T=1': { profile: readerProfiles.cherrySt2000, protocols: 'T=1' },
  'TPDUs over T=0': { profile: readerProfiles.cherrySt2000, protocols: 'T=0' },
  'TPDUs, SPR532': { profile: readerProfiles.spr532, protocols: 'T=1' },
  'TPDUs, cyberJack pinpad(a)': { profile: readerProfiles.cyberJackPinpad, protocols: 'T=1' },
  'TPDUs, Dell SK-3106': { profile: readerProfiles.dellSk3106, protocols: 'T=1' },
} as const

const open: Cryptoki[] = []
afterEach(async () => {
  for (const cryptoki of open.splice(0)) await cryptoki.close()
})

async function setUp(
  person: PinPadPerson,
  pin?: (request: PinRequest) => Promise<{ pin: Uint8Array; acceptLastTry?: true } | undefined>,
  { profile, protocols }: { readonly profile: ReaderProfile; readonly protocols: 'T=0' | 'T=1' } = profiles[
    'TPDUs over T=1'
  ],
) {
  const reader = new VirtualCcidReader(profile)
  const card = createPivCard({ protocols })
  reader.insert(card)
  reader.person = person
  const usb = virtualUsb([reader])
  const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [pivDriver()], login: 'on-demand' })
  open.push(cryptoki)
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession(pin === undefined ? {} : { pin })
  return { reader, card, slot, session }
}

const key = async ({ session }: Awaited<ReturnType<typeof setUp>>, id: number) => {
  const [found] = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(id) })
  if (found === undefined) throw new Error('No such key found.')
  return found
}

describe.each(Object.entries(profiles))('a reader with a PIN pad that exchanges %s', (_, how) => {
  it('logs in without a PIN request to the page, and has CKF_PROTECTED_AUTHENTICATION_PATH', async () => {
    const entries: string[] = []
    const made = await setUp(
      async ({ operation, entry, minDigits, maxDigits }) => {
        entries.push(`${operation} ${entry} ${minDigits} to ${maxDigits}`)
        return { digits: '123456' }
      },
      undefined,
      how,
    )
    expect((await made.slot.tokenInfo()).flags & CKF.PROTECTED_AUTHENTICATION_PATH).not.toBe(0)
    const phases: string[] = []
    await made.session.login(CKU.USER, undefined, { onEvent: ({ phase }) => phases.push(phase) })
    expect(entries).toEqual(['verify pin 6 to 8'])
    expect(phases).toContain('awaiting-pin-pad')
    expect(phases).not.toContain('awaiting-pin')
    expect(made.card.pinVerified).toBe(true)
  })

  it('signs with a PIN-always key after an entry on the PIN pad', async () => {
    const made = await setUp(async () => ({ digits: '123456' }), undefined, how)
    const phases: OperationEvent<Uint8Array>['phase'][] = []
    const operation = made.session.sign({ type: CKM.ECDSA_SHA256 }, await key(made, 2), new Uint8Array(3))
    const signature = await new Promise<Uint8Array>((resolve, reject) => {
      operation.events$.subscribe({
        next: (event) => {
          phases.push(event.phase)
          if (event.phase === 'done') resolve(event.value)
        },
        error: reject,
      })
    })
    expect(signature).toHaveLength(64)
    expect(phases).toContain('awaiting-pin-pad')
    expect(phases).not.toContain('awaiting-pin')
  })

  it('takes the PIN for one operation before its data, as in C', async () => {
    const made = await setUp(async () => ({ digits: '123456' }), undefined, how)
    const signing = { type: 'sign', mechanism: { type: CKM.ECDSA_SHA256 }, key: await key(made, 2) } as const
    const [operation] = made.session.begin(signing)
    await made.session.login(CKU.CONTEXT_SPECIFIC)
    expect(await operation?.single(new Uint8Array(3))).toHaveLength(64)
    expect(made.card.log.slice(-2).map(({ ins }) => ins)).toEqual([0x20, 0x87])
  })

  it('a wrong PIN costs one attempt, and the next entry starts again', async () => {
    const entries = ['654321', '123456']
    const made = await setUp(async () => ({ digits: entries.shift() ?? '' }), undefined, how)
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
    expect(made.card.pinTriesLeft).toBe(2)
    await made.session.login(CKU.USER)
    expect(made.card.pinTriesLeft).toBe(3)
  })

  it.each([
    { what: 'cancel', code: 'card/pin-pad-cancelled' },
    { what: 'timeout', code: 'card/pin-pad-timeout' },
  ] as const)(
    '$what is not a wrong PIN: no attempt is lost, and the next login works',
    async ({ what, code }) => {
      const entries: PinEntry[] = [what, { digits: '123456' }]
      const made = await setUp(async () => entries.shift() ?? 'timeout', undefined, how)
      await expect(made.session.login(CKU.USER)).rejects.toMatchObject({
        rv: CKR.FUNCTION_CANCELED,
        cause: { code },
      })
      expect(made.card.pinTriesLeft).toBe(3)
      await made.session.login(CKU.USER)
      expect(made.card.pinVerified).toBe(true)
    },
  )
})

describe('what the page sees of a PIN pad', () => {
  it.each(Object.entries(profiles))(
    'does not include the PIN entered on a reader that exchanges %s',
    async (_, how) => {
      const typed = '739164'
      const made = await setUp(async () => ({ digits: typed }), undefined, how)
      const seen: Buffer[] = []
      const spy = vi.spyOn(made.reader, 'out')
      const submit = made.reader.submitIn.bind(made.reader)
      vi.spyOn(made.reader, 'submitIn').mockImplementation((endpoint, length, complete) =>
        submit(endpoint, length, (got) => {
          seen.push(Buffer.from(got.data))
          complete(got)
        }),
      )
      const error: unknown = await made.session.login(CKU.USER).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ rv: CKR.PIN_INCORRECT })
      seen.push(...spy.mock.calls.map(([, bytes]) => Buffer.from(bytes)))
      // PC_to_RDR_Secure is among the messages, so the check covers the place where the PIN would be.
      expect(seen.some(([type]) => type === 0x69)).toBe(true)
      expect(seen.some((bytes) => bytes.includes(typed))).toBe(false)
      expect(made.card.pinTriesLeft).toBe(2)
    },
  )

  it('with broken keys is CKR_DEVICE_ERROR, not a cancellation, and no attempt is lost', async () => {
    const entries: PinEntry[] = ['broken', { digits: '123456' }]
    const made = await setUp(async () => entries.shift() ?? 'timeout')
    const error = (await made.session.login(CKU.USER).catch((reason: unknown) => reason)) as CryptokiError
    expect(error.rv).toBe(CKR.DEVICE_ERROR)
    expect(error.cause).toMatchObject({ code: 'reader/refused', errorName: 'HW_ERROR' })
    expect(made.card.pinTriesLeft).toBe(3)
    await made.session.login(CKU.USER)
    expect(made.card.pinVerified).toBe(true)
  })

  it('for a reader whose digits leak does not include CKF_PROTECTED_AUTHENTICATION_PATH', async () => {
    const made = await setUp(async () => ({ digits: '123456' }), undefined, {
      profile: { ...readerProfiles.hpKus0133, interfaceClass: 0xff },
      protocols: 'T=1',
    })
    expect((await made.slot.tokenInfo()).flags & CKF.PROTECTED_AUTHENTICATION_PATH).toBe(0)
  })
})

describe('the last attempt', () => {
  const oneLeft = async (pin?: Parameters<typeof setUp>[1]) => {
    const typed: string[] = []
    const made = await setUp(async () => {
      typed.push('typed')
      return { digits: typed.length < 3 ? '654321' : '123456' }
    }, pin)
    for (let tries = 0; tries < 2; tries++) await made.session.login(CKU.USER).catch(() => {})
    expect(made.card.pinTriesLeft).toBe(1)
    return { ...made, typed }
  }

  it('is not started on the PIN pad without consent', async () => {
    const made = await oneLeft()
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED })
    expect(made.typed).toHaveLength(2)
    expect(made.card.pinTriesLeft).toBe(1)
  })

  it('is started with consent from the page; a PIN returned with it is ignored', async () => {
    const requests: PinRequest[] = []
    const made = await oneLeft(async (request) => {
      requests.push(request)
      return { pin: new TextEncoder().encode('000000'), acceptLastTry: true }
    })
    await made.session.login(CKU.USER)
    expect(requests.map(({ pinPad, lastTry }) => ({ pinPad, lastTry }))).toEqual([
      { pinPad: true, lastTry: true },
    ])
    expect(made.card.pinVerified).toBe(true)
  })
})
