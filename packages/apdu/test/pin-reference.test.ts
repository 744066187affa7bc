/** Attempts left and VERIFY of a made-up application, whose PIN is text and is sent after its length. */
import {
  AbortedError,
  CardApplication,
  type CardChannel,
  fromHex,
  type PinFormat,
  PinPadCancelledError,
  PinPadRefusedError,
  PinPadTimeoutError,
  PinReference,
  type PinReferenceOptions,
  type PinTemplate,
  ReaderTimeoutError,
  toHex,
} from '@webtoki/apdu'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { answering, connectionOf, ScriptedChannel } from './scripted-channel.ts'

type Script = [command: string, response: string][]

const format: PinFormat = {
  minBytes: 4,
  maxBytes: 12,
  alphabet: 'text',
  // Asynchronous, like a key derivation.
  encode: async (pin) => Uint8Array.of(pin.length, ...pin),
  padTemplate: (header) => ({
    command: Uint8Array.of(...header),
    pinOffset: 1,
    blockBytes: 0,
    format: 'ascii',
    minDigits: 4,
    maxDigits: 12,
  }),
}

class Locker extends CardApplication {
  serial = 'A'
  override fingerprint(channel: CardChannel): Promise<string> {
    return this.exchange(channel, { name: 'SERIAL', cla: 0x80, ins: 1, p1: 0, p2: 0 }).then(() => this.serial)
  }
}

function lockerOn(channel: CardChannel, options: Partial<PinReferenceOptions> = {}) {
  const application = new Locker(connectionOf(channel), { name: 'locker', aid: fromHex('f0004c4f434b') })
  const pin = new PinReference(application, { name: 'PIN', reference: () => 5, format, ...options })
  return { application, pin }
}

function setUp(script: Script, options?: Partial<PinReferenceOptions>) {
  const channel = new ScriptedChannel(script)
  return { channel, ...lockerOn(channel, options) }
}

const text = (typed: string) => new TextEncoder().encode(typed)
const status = (sw: string): Script[number] => ['00200005', sw]
const verify = (sw: string): Script[number] => ['0020000505046f70656e', sw]
const logout = (sw: string): Script[number] => ['0020ff05', sw]
const serial: Script[number] = ['80010000', '9000']
const select: Script[number] = ['00a4040006f0004c4f434b00', '9000']
const open = () => text('open')

/** A PIN pad with scripted responses, which records its templates. */
function scriptedPad(...responses: (string | Error)[]) {
  const templates: PinTemplate[] = []
  return {
    templates,
    verify: async (template: PinTemplate) => {
      templates.push(template)
      const response = responses.shift()
      if (response instanceof Error) throw response
      return fromHex(response ?? '9000')
    },
    modify: () => Promise.reject(new Error('No PIN is changed here.')),
  }
}

describe('VERIFY', () => {
  it('is sent once in the format of its application, and all copies of the PIN are overwritten', async () => {
    const encoded: Uint8Array[] = []
    const { channel, pin } = setUp([status('63c3'), verify('9000')], {
      format: {
        ...format,
        encode: async (typed) => {
          encoded.push(typed, Uint8Array.of(typed.length, ...typed))
          return encoded[1] as Uint8Array
        },
      },
    })
    const given = open()
    await pin.verify(channel, given)
    expect([pin.isVerified, pin.mayBeVerified, channel.left]).toEqual([true, true, 0])
    const zeros = [given, ...encoded, channel.received[1] as Uint8Array]
    expect(zeros.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true, true, true, true])
  })

  it('contains the PIN as it was at the call, even if the array is overwritten meanwhile', async () => {
    const { channel, pin } = setUp([status('63c3'), verify('9000')])
    const given = open()
    channel.onTransmit = () => void given.fill(0x41)
    const verified = pin.verify(channel, given)
    expect(toHex(given)).toBe('00000000')
    await verified
    expect(pin.isVerified).toBe(true)
  })

  it.each([
    ['open the door', 'length', 'text'],
    ['ope', 'length', 'text'],
    ['open', 'alphabet', 'digits'],
    ['12 34', 'alphabet', 'digits'],
    ['1234/', 'alphabet', 'digits'],
    ['1234:', 'alphabet', 'digits'],
    ['', 'length', 'digits'],
  ] as const)(
    'is not sent, nor any other command, if the PIN "%s" has a wrong %s',
    async (typed, why, alphabet) => {
      const { channel, pin } = setUp([], { format: { ...format, alphabet } })
      const given = text(typed)
      const error: unknown = await pin.verify(channel, given).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'card/pin-format', why })
      expect(given.every((byte) => byte === 0)).toBe(true)
      if (typed !== '') expect(String(error)).not.toContain(typed)
    },
  )

  it.each([
    ['there are no attempts left', '6983', {}, 'card/pin-blocked'],
    ['it could use the last attempt and acceptLastTry is absent', '63c1', {}, 'card/last-try'],
    [
      'it could use the last attempt and acceptLastTry is false',
      '63c1',
      { acceptLastTry: false },
      'card/last-try',
    ],
  ])('is not sent if %s', async (_, sw, options, code) => {
    const { channel, pin } = setUp([status(sw)])
    const given = open()
    await expect(pin.verify(channel, given, options)).rejects.toMatchObject({ code })
    expect([toHex(given), channel.left, pin.mayBeVerified]).toEqual(['00000000', 0, false])
  })

  it('is sent with one attempt left if acceptLastTry is true', async () => {
    const { channel, pin } = setUp([status('63c1'), verify('9000')])
    await pin.verify(channel, open(), { acceptLastTry: true })
    expect([pin.isVerified, pin.triesLeft]).toEqual([true, 1])
  })

  it.each([
    ['63c2', 'card/pin-wrong', 2],
    ['6302', 'card/pin-wrong', 2],
    ['6300', 'card/pin-wrong', 2],
    ['63c0', 'card/pin-blocked', 0],
    ['6983', 'card/pin-blocked', 0],
  ])('with the response %s after three attempts were left rejects with %s', async (sw, code, triesLeft) => {
    const { channel, pin } = setUp([status('63c3'), verify(sw)])
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code })
    expect([pin.triesLeft, pin.isVerified, pin.mayBeVerified]).toEqual([triesLeft, false, false])
  })

  it.each(['6f00', '6c08', '6a80', '6985'])(
    'with the ambiguous response %s is not repeated, and the attempts are read before the next one',
    async (sw) => {
      const { channel, pin } = setUp([status('63c3'), verify(sw), status('63c1')])
      await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/status' })
      expect([pin.triesLeft, pin.isVerified, pin.mayBeVerified]).toEqual([undefined, false, true])
      await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/last-try' })
      expect(channel.left).toBe(0)
    },
  )

  it('whose response is lost counts as a possibly used attempt', async () => {
    let isLost = false
    const { pin, channel } = (() => {
      const made = answering((command) => {
        if (isLost && command.length > 5) throw new ReaderTimeoutError('XfrBlock', 1000)
        return fromHex(command.length > 5 ? '63c2' : '6700')
      })
      return { ...lockerOn(made), channel: made }
    })()
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ triesLeft: 2 })
    isLost = true
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'reader/timeout' })
    expect([pin.triesLeft, pin.mayBeVerified]).toEqual([1, true])
  })

  it('with the response 6300 rejects with StatusError if the attempts were not known', async () => {
    const { channel, pin } = setUp([status('6700'), verify('6300')])
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/status' })
  })

  it('with the response 6982 rejects with PinError if the card then reports fewer attempts', async () => {
    const counting = setUp([status('63c3'), verify('6982'), status('63c2'), verify('6982'), status('6983')])
    await expect(counting.pin.verify(counting.channel, open())).rejects.toMatchObject({
      code: 'card/pin-wrong',
      triesLeft: 2,
    })
    await expect(counting.pin.verify(counting.channel, open())).rejects.toMatchObject({
      code: 'card/pin-blocked',
    })
    expect([counting.pin.mayBeVerified, counting.channel.left]).toEqual([false, 0])
  })

  it('with the response 6982 rejects with StatusError if no attempt was used', async () => {
    const { channel, pin } = setUp([status('63c3'), verify('6982'), status('63c3')])
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/status', sw: 0x6982 })
    expect([pin.triesLeft, channel.left]).toEqual([3, 0])
  })

  it('that was aborted before it was sent leaves the PIN overwritten', async () => {
    const { channel, pin } = setUp([status('63c3')])
    const signal = { aborted: false, reason: undefined, addEventListener() {}, removeEventListener() {} }
    channel.onTransmit = () => void (signal.aborted = true)
    const given = open()
    await expect(pin.verify(channel, given, { signal })).rejects.toBeInstanceOf(AbortedError)
    expect(toHex(given)).toBe('00000000')
  })
})

describe('at a reader that would not notice another card', () => {
  it('attempts and fingerprint are read before each VERIFY', async () => {
    const each = [status('63c3'), serial, verify('9000')]
    const { channel, application, pin } = setUp([serial, ...each, ...each])
    channel.vouchesForCard = false
    application.remember(await application.fingerprint(channel))
    await pin.verify(channel, open())
    await pin.verify(channel, open())
    expect(channel.left).toBe(0)
  })

  it('another card gets no PIN, not even from the PIN pad', async () => {
    const { channel, application, pin } = setUp([serial, status('63c3'), serial, status('63c3'), serial])
    channel.vouchesForCard = false
    const pad = scriptedPad()
    channel.pinPad = pad
    application.remember(await application.fingerprint(channel))
    application.serial = 'B'
    const given = open()
    const gone = { code: 'card/gone', why: 'replaced' }
    await expect(pin.verify(channel, given)).rejects.toMatchObject(gone)
    await expect(pin.verifyOnPad(channel)).rejects.toMatchObject(gone)
    expect([toHex(given), pad.templates.length, pin.mayBeVerified]).toEqual(['00000000', 0, false])
  })
})

describe('the attempts left', () => {
  it('are read once, and again after a logout or a selection', async () => {
    const { channel, application, pin } = setUp([
      status('63c3'),
      verify('9000'),
      logout('9000'),
      status('63c2'),
      select,
      status('63c1'),
    ])
    for (let times = 0; times < 2; times++) expect(await pin.learnTries(channel)).toBe(3)
    await pin.verify(channel, open())
    await pin.logout(channel)
    expect(await pin.learnTries(channel)).toBe(2)
    await application.select(channel)
    expect(pin.triesLeft).toBeUndefined()
    expect(await pin.learnTries(channel)).toBe(1)
    expect(channel.left).toBe(0)
  })

  it('that the login of another program hides are read after a logout', async () => {
    const { channel, pin } = setUp([status('9000'), logout('9000'), status('63c2')])
    expect(await pin.learnTries(channel)).toBe(2)
    expect(pin.mayBeVerified).toBe(false)
  })

  it('are the most that the card ever reported while our own login hides them', async () => {
    const { channel, application, pin } = setUp([
      status('63c3'),
      verify('63c2'),
      verify('9000'),
      select,
      status('9000'),
    ])
    await pin.verify(channel, open()).catch(() => {})
    await pin.verify(channel, open())
    expect(pin.triesLeft).toBe(3)
    await application.select(channel)
    expect([pin.isVerified, pin.mayBeVerified, pin.triesLeft]).toEqual([false, true, undefined])
    expect(await pin.learnTries(channel)).toBe(3)
    expect(pin.isVerified).toBe(true)
  })

  it('stay one after a selection if the card never reported more', async () => {
    const { channel, application, pin } = setUp([status('63c1'), verify('9000'), select, status('6700')])
    await pin.verify(channel, open(), { acceptLastTry: true })
    await application.select(channel)
    expect(pin.triesLeft).toBe(1)
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/last-try' })
  })

  it('of a verified PIN are read with the proprietary command if the card never reported more than one', async () => {
    let reads = 0
    const { channel, pin } = setUp([status('63c1'), verify('9000'), status('9000')], {
      readTries: async () => (reads++, 3),
    })
    await pin.verify(channel, open(), { acceptLastTry: true })
    expect([await pin.learnTries(channel), reads]).toEqual([3, 1])
    expect([await pin.learnTries(channel), reads]).toEqual([3, 1])
  })

  it('are read with readTries if the card refuses VERIFY without data, also after a wrong PIN', async () => {
    const tries = [3, 2]
    const readTries = async () => tries.shift()
    const { channel, pin } = setUp([status('6700'), verify('6982'), status('6700')], { readTries: readTries })
    expect(await pin.learnTries(channel)).toBe(3)
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/pin-wrong', triesLeft: 2 })
    expect([pin.triesLeft, channel.left]).toEqual([2, 0])
  })

  it('from readTries do not change whether the PIN is verified', async () => {
    const { channel, pin } = setUp([status('6700'), verify('9000'), status('6700')], {
      readTries: async () => 3,
    })
    await pin.verify(channel, open())
    await pin.status(channel)
    expect([pin.mayBeVerified, pin.triesLeft]).toEqual([true, 3])
  })

  it('are not read with readTries again after it resolved to undefined', async () => {
    let reads = 0
    const one = [status('9000'), verify('9000')]
    const { channel, pin } = setUp([status('63c1'), verify('9000'), ...one], {
      readTries: async () => void reads++,
    })
    for (let times = 0; times < 2; times++) await pin.verify(channel, open(), { acceptLastTry: true })
    expect([await pin.learnTries(channel), reads]).toEqual([1, 1])
  })

  it('can come from readStatus, which need not report whether the PIN is verified', async () => {
    const { channel, pin } = setUp([verify('9000'), logout('9000')], {
      readStatus: async () => ({ verified: undefined, triesLeft: 3 }),
    })
    await pin.verify(channel, open())
    expect(await pin.status(channel)).toEqual({ verified: true, triesLeft: 3 })
    expect([pin.isVerified, pin.mayBeVerified]).toEqual([true, true])
    await pin.logout(channel)
    expect(await pin.status(channel)).toEqual({ verified: false, triesLeft: 3 })
  })

  it('are reported to onTries each time they were checked', async () => {
    const { channel, pin } = setUp([status('63c3'), verify('63c2'), verify('6f00')])
    const reported: number[] = []
    pin.onTries = (triesLeft) => reported.push(triesLeft)
    await pin.learnTries(channel)
    await pin.verify(channel, open()).catch(() => {})
    await pin.verify(channel, open()).catch(() => {})
    // Read; known before VERIFY; one used; known before VERIFY; one possibly used, so one is left for certain.
    expect(reported).toEqual([3, 3, 2, 2, 1])
  })

  it('that two references share are used up by both', async () => {
    const { channel, application, pin } = setUp([status('63c3'), verify('63c2'), verify('63c1')])
    const second = new PinReference(application, {
      name: 'second PIN',
      reference: () => 6,
      format,
      sharesTriesWith: pin,
    })
    for (let wrong = 0; wrong < 2; wrong++) await pin.verify(channel, open()).catch(() => {})
    expect(second.triesLeft).toBe(1)
    await expect(second.verify(channel, open())).rejects.toMatchObject({ code: 'card/last-try' })
  })

  it('of two references that share nothing are independent', async () => {
    const { channel, application, pin } = setUp([status('63c1'), ['00200006', '63c3']])
    const second = new PinReference(application, { name: 'second PIN', reference: () => 6, format })
    expect([await pin.learnTries(channel), await second.learnTries(channel)]).toEqual([1, 3])
  })

  it('are unknown after forgetTries', async () => {
    let reference = 5
    const { channel, pin } = setUp([status('63c1'), ['00200006', '63c3']], { reference: () => reference })
    expect(await pin.learnTries(channel)).toBe(1)
    reference = 6
    pin.forgetTries()
    expect(pin.triesLeft).toBeUndefined()
    expect(await pin.learnTries(channel)).toBe(3)
  })
})

describe('prepare', () => {
  it('runs once, before the first status or VERIFY and before the PIN is encoded', async () => {
    const order: string[] = []
    const { channel, application, pin } = setUp([status('63c3'), verify('9000'), select, status('9000')], {
      prepare: async () => void order.push('prepared'),
      format: { ...format, encode: (typed) => (order.push('encoded'), Uint8Array.of(4, ...typed)) },
    })
    expect(pin.isPrepared).toBe(false)
    await pin.verify(channel, open())
    await application.select(channel)
    await pin.status(channel)
    expect([order, pin.isPrepared]).toEqual([['prepared', 'encoded'], true])
  })

  it('runs again if it rejected', async () => {
    let fails = true
    const { channel, pin } = setUp([status('63c3')], {
      prepare: async () => {
        if (fails) throw new Error('no response')
      },
    })
    await expect(pin.verify(channel, open())).rejects.toThrow('no response')
    expect([channel.received.length, pin.isPrepared]).toEqual([0, false])
    fails = false
    expect(await pin.learnTries(channel)).toBe(3)
  })
})

describe('a logout', () => {
  it('is sent once, and not at all if no PIN was verified', async () => {
    const { channel, pin } = setUp([status('63c3'), verify('9000'), logout('9000')])
    expect(await pin.logout(channel)).toBe(true)
    await pin.verify(channel, open())
    for (let times = 0; times < 2; times++) expect(await pin.logout(channel)).toBe(true)
    expect([pin.isVerified, pin.mayBeVerified, channel.left]).toEqual([false, false, 0])
  })

  it('sends nothing after a wrong PIN, but is sent after a VERIFY with an ambiguous response', async () => {
    const { channel, pin } = setUp([
      status('63c3'),
      verify('63c2'),
      status('63c2'),
      verify('6f00'),
      logout('9000'),
    ])
    await pin.verify(channel, open()).catch(() => {})
    expect(await pin.logout(channel)).toBe(true)
    await pin.verify(channel, open()).catch(() => {})
    expect(await pin.logout(channel)).toBe(true)
    expect(channel.left).toBe(0)
  })

  it('that the card refuses resolves to false, and a reset keeps only the minimum of the attempts', async () => {
    const { channel, application, pin } = setUp([status('63c1'), verify('9000'), logout('6a86')])
    await pin.verify(channel, open(), { acceptLastTry: true })
    expect(await pin.logout(channel)).toBe(false)
    expect(pin.mayBeVerified).toBe(true)
    application.forget()
    expect([pin.isVerified, pin.mayBeVerified, pin.triesLeft]).toEqual([false, false, 1])
  })

  it('resolves to false without a command if canLogOut is false', async () => {
    const { channel, pin } = setUp([status('63c3'), verify('9000')], { canLogOut: false })
    expect(await pin.logout(channel)).toBe(true)
    await pin.verify(channel, open())
    expect(await pin.logout(channel)).toBe(false)
    expect(channel.left).toBe(0)
  })
})

describe('the verified state', () => {
  it('is fresh until the next command of the application, and not after a wrong PIN', async () => {
    const { channel, application, pin } = setUp([status('63c3'), verify('9000'), serial, verify('63c2')])
    expect(pin.isFresh).toBe(false)
    await pin.verify(channel, open())
    expect(pin.isFresh).toBe(true)
    await application.fingerprint(channel)
    expect([pin.isFresh, pin.isVerified]).toEqual([false, true])
    await pin.verify(channel, open()).catch(() => {})
    expect(pin.isFresh).toBe(false)
  })

  it('is not fresh after a selection', async () => {
    const { channel, application, pin } = setUp([status('63c3'), verify('9000'), select])
    await pin.verify(channel, open())
    await application.select(channel)
    expect(pin.isFresh).toBe(false)
  })

  it.each([
    ['9000', true],
    ['63c3', false],
    ['6700', true],
  ])('is read once after another owner used the card, with the response %s', async (sw, may) => {
    const { channel, application, pin } = setUp([status('63c3'), verify('9000'), select, status(sw)])
    expect(await pin.mayStillBeVerified(channel)).toBe(false)
    await pin.verify(channel, open())
    expect(await pin.mayStillBeVerified(channel)).toBe(true)
    await application.select(channel)
    for (let times = 0; times < 2; times++) expect(await pin.mayStillBeVerified(channel)).toBe(may)
    expect(channel.left).toBe(0)
  })

  it('is not read after a reset', async () => {
    const { channel, application, pin } = setUp([status('63c3'), verify('9000')])
    await pin.verify(channel, open())
    application.forget()
    expect(await pin.mayStillBeVerified(channel)).toBe(false)
  })
})

describe('PIN entry on the reader', () => {
  it('uses the template of the application', async () => {
    const { channel, pin } = setUp([status('63c3')])
    const pad = scriptedPad()
    channel.pinPad = pad
    await pin.verifyOnPad(channel)
    expect(pad.templates.map(({ command, pinOffset }) => [toHex(command), pinOffset])).toEqual([
      ['00200005', 1],
    ])
    expect([pin.isVerified, pin.isFresh]).toEqual([true, true])
  })

  it('rejects with NotSupportedError if the format has no template', async () => {
    const { padTemplate: _, ...computed } = format
    const { channel, pin } = setUp([], { format: computed })
    channel.pinPad = scriptedPad()
    await expect(pin.verifyOnPad(channel)).rejects.toMatchObject({ code: 'card/not-supported' })
  })

  it('runs prepare before it reads the template', async () => {
    const read: string[] = []
    const prepared: PinFormat = {
      ...format,
      get padTemplate() {
        return read.length > 0 ? format.padTemplate : undefined
      },
    }
    const options = { format: prepared, prepare: async () => void read.push('KDF') }
    const { channel, pin } = setUp([status('63c3')], options)
    channel.pinPad = scriptedPad('9000')
    await pin.verifyOnPad(channel)
    expect([pin.isVerified, read]).toEqual([true, ['KDF']])
  })

  it('does not start without attempts left, nor with the last one unless acceptLastTry is true', async () => {
    for (const [sw, code] of [
      ['6983', 'card/pin-blocked'],
      ['63c1', 'card/last-try'],
    ] as const) {
      const { channel, pin } = setUp([status(sw)])
      const pad = scriptedPad()
      channel.pinPad = pad
      await expect(pin.verifyOnPad(channel)).rejects.toMatchObject({ code })
      expect(pad.templates).toEqual([])
    }
  })

  it.each([new PinPadCancelledError(), new PinPadTimeoutError(), new PinPadRefusedError()])(
    'leaves attempts and verified state unchanged after $name',
    async (outcome) => {
      const { channel, pin } = setUp([status('63c2'), status('63c2')])
      channel.pinPad = scriptedPad(outcome)
      await expect(pin.verifyOnPad(channel)).rejects.toBe(outcome)
      expect([pin.triesLeft, pin.isVerified, pin.mayBeVerified]).toEqual([2, false, false])
      const verified = setUp([status('63c3'), verify('9000')])
      verified.channel.pinPad = scriptedPad(outcome)
      await verified.pin.verify(verified.channel, open())
      await expect(verified.pin.verifyOnPad(verified.channel)).rejects.toBe(outcome)
      expect([verified.pin.isVerified, verified.pin.mayBeVerified, verified.pin.triesLeft]).toEqual([
        true,
        true,
        3,
      ])
    },
  )

  it('recognizes a cancellation by the code of the error, from any copy of the package', async () => {
    const { channel, pin } = setUp([status('63c2')])
    channel.pinPad = scriptedPad(Object.assign(new Error('cancelled'), { code: 'card/pin-pad-cancelled' }))
    await expect(pin.verifyOnPad(channel)).rejects.toThrow('cancelled')
    expect([pin.triesLeft, pin.mayBeVerified]).toEqual([2, false])
  })

  it('whose response is lost may have verified the PIN or used an attempt', async () => {
    const { channel, pin } = setUp([status('63c2'), status('6700')])
    channel.pinPad = scriptedPad(new ReaderTimeoutError('Secure', 30_000))
    await expect(pin.verifyOnPad(channel)).rejects.toMatchObject({ code: 'reader/timeout' })
    expect([pin.triesLeft, pin.isVerified, pin.mayBeVerified]).toEqual([1, false, true])
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/last-try' })
  })

  it('rejects with PinPadRefusedError if the reader has no PIN pad, and uses no attempt', async () => {
    const { channel, pin } = setUp([status('63c3')])
    await expect(pin.verifyOnPad(channel)).rejects.toMatchObject({ code: 'card/pin-pad-refused' })
    expect([pin.triesLeft, pin.mayBeVerified]).toEqual([3, false])
  })
})

/** A minimal model of a card with one PIN. */
class PinCard {
  left: number
  isVerified = false
  readonly #limit: number
  readonly #kind: CardKind
  constructor(limit: number, kind: CardKind) {
    this.left = limit
    this.#limit = limit
    this.#kind = kind
  }

  respond(command: Uint8Array): string {
    const [, ins, p1] = command
    if (ins !== 0x20) return '9000'
    if (p1 === 0xff) {
      if (this.#kind === 'unforgetting') return '6a86'
      this.isVerified = false
      return '9000'
    }
    if (command.length <= 5) {
      if (this.#kind === 'silent') return '6700'
      return this.isVerified ? '9000' : this.#count()
    }
    if (this.left === 0) return '6983'
    this.isVerified = toHex(command.subarray(6)) === toHex(open())
    this.left = this.isVerified ? this.#limit : this.left - 1
    return this.isVerified ? '9000' : this.#kind === 'uncounted' ? '6300' : this.#count()
  }

  #count(): string {
    return this.left === 0 ? '6983' : this.#kind === 'old' ? `630${this.left}` : `63c${this.left}`
  }
}
const kinds = ['modern', 'old', 'uncounted', 'unforgetting', 'silent'] as const
type CardKind = (typeof kinds)[number]

const actions = ['right', 'wrong', 'lost', 'log out', 'ask', 'select', 'reset', 'elsewhere wrong'] as const

it('no sequence of PINs, logouts, selections, resets and lost responses uses a known last attempt', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom(...kinds),
      fc.array(fc.constantFrom(...actions), { maxLength: 12 }),
      async (limit, kind, sequence) => {
        const card = new PinCard(limit, kind)
        let isLost = false
        let verifies = 0
        const channel = answering((command) => {
          if (command[1] === 0x20 && command.length > 5) verifies++
          const response = card.respond(command)
          if (isLost && command.length > 5) throw new ReaderTimeoutError('XfrBlock', 1000)
          return fromHex(response)
        })
        const { application, pin } = lockerOn(channel)
        const reportsTries = kind !== 'silent'
        for (const action of sequence) {
          verifies = 0
          const before = card.left
          isLost = action === 'lost'
          // The selection shows that another program used the card.
          if (action === 'elsewhere wrong' && card.left > 1) {
            card.respond(Uint8Array.of(0, 0x20, 0, 5, 1, 0))
            card.isVerified = false
            await application.select(channel)
          } else if (action === 'log out') {
            if (!(await pin.logout(channel))) {
              card.isVerified = false
              application.forget()
            }
            expect(card.isVerified).toBe(false)
          } else if (action === 'ask') await pin.learnTries(channel)
          else if (action === 'select') await application.select(channel)
          else if (action === 'reset') {
            card.isVerified = false
            application.forget()
          } else if (action !== 'elsewhere wrong') {
            const given = text(action === 'right' ? 'open' : 'shut')
            // The last attempt is allowed for the right PIN only.
            await pin.verify(channel, given, { acceptLastTry: action === 'right' }).catch(() => {})
            expect(given.every((byte) => byte === 0)).toBe(true)
            expect(verifies).toBeLessThanOrEqual(1)
            if (action !== 'right' && before === 1 && reportsTries)
              expect([action, verifies]).toEqual([action, 0])
          }
          if (card.isVerified) expect(pin.mayBeVerified).toBe(true)
          if (pin.triesLeft !== undefined && reportsTries)
            expect(pin.triesLeft).toBeLessThanOrEqual(card.left)
        }
        if (reportsTries) expect(card.left).toBeGreaterThan(0)
      },
    ),
    { numRuns: 1000 },
  )
})
