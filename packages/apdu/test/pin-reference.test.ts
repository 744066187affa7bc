/** The attempts of a PIN, and VERIFY, at an application that nobody knows: its PIN is text, and goes out with its length. */
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

type Script = [request: string, answer: string][]

const format: PinFormat = {
  minBytes: 4,
  maxBytes: 12,
  alphabet: 'text',
  // Asynchronous, as a key derivation is.
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

function stand(script: Script, options?: Partial<PinReferenceOptions>) {
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

/** A person at the keys, and what the reader was told. */
function keys(...answers: (string | Error)[]) {
  const templates: PinTemplate[] = []
  return {
    templates,
    verify: async (template: PinTemplate) => {
      templates.push(template)
      const answer = answers.shift()
      if (answer instanceof Error) throw answer
      return fromHex(answer ?? '9000')
    },
    modify: () => Promise.reject(new Error('Nobody changes a PIN here.')),
  }
}

describe('VERIFY', () => {
  it('is sent once, in the form of its application, and all copies of the PIN are overwritten', async () => {
    const encoded: Uint8Array[] = []
    const { channel, pin } = stand([status('63c3'), verify('9000')], {
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

  it('carries what was given, whatever is written into the array meanwhile', async () => {
    const { channel, pin } = stand([status('63c3'), verify('9000')])
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
    'is not sent, nor anything else, if "%s" does not fit by its %s',
    async (typed, why, alphabet) => {
      const { channel, pin } = stand([], { format: { ...format, alphabet } })
      const given = text(typed)
      const error: unknown = await pin.verify(channel, given).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'card/pin-format', why })
      expect(given.every((byte) => byte === 0)).toBe(true)
      if (typed !== '') expect(String(error)).not.toContain(typed)
    },
  )

  it.each([
    ['there are no attempts left', '6983', {}, 'card/pin-blocked'],
    ['it would cost the last attempt, and nobody said yes', '63c1', {}, 'card/last-try'],
    ['a no was said to the last attempt', '63c1', { acceptLastTry: false }, 'card/last-try'],
  ])('is not sent if %s', async (_, sw, options, code) => {
    const { channel, pin } = stand([status(sw)])
    const given = open()
    await expect(pin.verify(channel, given, options)).rejects.toMatchObject({ code })
    expect([toHex(given), channel.left, pin.mayBeVerified]).toEqual(['00000000', 0, false])
  })

  it('costs the last attempt after a yes', async () => {
    const { channel, pin } = stand([status('63c1'), verify('9000')])
    await pin.verify(channel, open(), { acceptLastTry: true })
    expect([pin.isVerified, pin.triesLeft]).toEqual([true, 1])
  })

  it.each([
    ['63c2', 'card/pin-wrong', 2],
    ['6302', 'card/pin-wrong', 2],
    ['6300', 'card/pin-wrong', 2],
    ['63c0', 'card/pin-blocked', 0],
    ['6983', 'card/pin-blocked', 0],
  ])('that is answered with %s after three attempts were left is %s', async (sw, code, triesLeft) => {
    const { channel, pin } = stand([status('63c3'), verify(sw)])
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code })
    expect([pin.triesLeft, pin.isVerified, pin.mayBeVerified]).toEqual([triesLeft, false, false])
  })

  it.each(['6f00', '6c08', '6a80', '6985'])(
    'without a clear answer (%s) is not repeated: the PIN may be verified, and the card is asked before the next',
    async (sw) => {
      const { channel, pin } = stand([status('63c3'), verify(sw), status('63c1')])
      await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/status' })
      expect([pin.triesLeft, pin.isVerified, pin.mayBeVerified]).toEqual([undefined, false, true])
      await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/last-try' })
      expect(channel.left).toBe(0)
    },
  )

  it('whose answer is lost may have cost an attempt', async () => {
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

  it('with an answer 6300 at a card that told no count is not a wrong PIN: nobody knows', async () => {
    const { channel, pin } = stand([status('6700'), verify('6300')])
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/status' })
  })

  it('answered by 6982 was wrong if the card then tells fewer attempts than before', async () => {
    const told = stand([status('63c3'), verify('6982'), status('63c2'), verify('6982'), status('6983')])
    await expect(told.pin.verify(told.channel, open())).rejects.toMatchObject({
      code: 'card/pin-wrong',
      triesLeft: 2,
    })
    await expect(told.pin.verify(told.channel, open())).rejects.toMatchObject({ code: 'card/pin-blocked' })
    expect([told.pin.mayBeVerified, told.channel.left]).toEqual([false, 0])
  })

  it('answered by 6982 without an attempt lost was refused for another reason', async () => {
    const { channel, pin } = stand([status('63c3'), verify('6982'), status('63c3')])
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/status', sw: 0x6982 })
    expect([pin.triesLeft, channel.left]).toEqual([3, 0])
  })

  it('that was withdrawn before it was sent leaves the PIN overwritten', async () => {
    const { channel, pin } = stand([status('63c3')])
    const signal = { aborted: false, reason: undefined, addEventListener() {}, removeEventListener() {} }
    channel.onTransmit = () => void (signal.aborted = true)
    const given = open()
    await expect(pin.verify(channel, given, { signal })).rejects.toBeInstanceOf(AbortedError)
    expect(toHex(given)).toBe('00000000')
  })
})

describe('at a reader that does not vouch for its card', () => {
  it('attempts and identity are asked right before each VERIFY', async () => {
    const each = [status('63c3'), serial, verify('9000')]
    const { channel, application, pin } = stand([serial, ...each, ...each])
    channel.vouchesForCard = false
    application.remember(await application.fingerprint(channel))
    await pin.verify(channel, open())
    await pin.verify(channel, open())
    expect(channel.left).toBe(0)
  })

  it('another card gets no PIN, not even from the keys of the reader', async () => {
    const { channel, application, pin } = stand([serial, status('63c3'), serial, status('63c3'), serial])
    channel.vouchesForCard = false
    const pad = keys()
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

describe('the attempts', () => {
  it('are asked once, and again after a logout and a selection', async () => {
    const { channel, application, pin } = stand([
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

  it('that somebody else’s login hides are shown after it was ended', async () => {
    const { channel, pin } = stand([status('9000'), logout('9000'), status('63c2')])
    expect(await pin.learnTries(channel)).toBe(2)
    expect(pin.mayBeVerified).toBe(false)
  })

  it('that our own login hides are full, which is the most that the card ever told', async () => {
    const { channel, application, pin } = stand([
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

  it('of a card that only ever told one are one, also after a selection', async () => {
    const { channel, application, pin } = stand([status('63c1'), verify('9000'), select, status('6700')])
    await pin.verify(channel, open(), { acceptLastTry: true })
    await application.select(channel)
    expect(pin.triesLeft).toBe(1)
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/last-try' })
  })

  it('of a verified PIN are asked by a command of the card’s maker if it only ever told one', async () => {
    let asked = 0
    const { channel, pin } = stand([status('63c1'), verify('9000'), status('9000')], {
      readTries: async () => (asked++, 3),
    })
    await pin.verify(channel, open(), { acceptLastTry: true })
    expect([await pin.learnTries(channel), asked]).toEqual([3, 1])
    expect([await pin.learnTries(channel), asked]).toEqual([3, 1])
  })

  it('of a card that refuses VERIFY without data are asked by the other command, also after a wrong PIN', async () => {
    const tries = [3, 2]
    const readTries = async () => tries.shift()
    const { channel, pin } = stand([status('6700'), verify('6982'), status('6700')], { readTries: readTries })
    expect(await pin.learnTries(channel)).toBe(3)
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/pin-wrong', triesLeft: 2 })
    expect([pin.triesLeft, channel.left]).toEqual([2, 0])
  })

  it('asked by the other command say nothing about whether the PIN is verified', async () => {
    const { channel, pin } = stand([status('6700'), verify('9000'), status('6700')], {
      readTries: async () => 3,
    })
    await pin.verify(channel, open())
    await pin.status(channel)
    expect([pin.mayBeVerified, pin.triesLeft]).toEqual([true, 3])
  })

  it('are not asked again by a maker’s command that the card does not know', async () => {
    let asked = 0
    const one = [status('9000'), verify('9000')]
    const { channel, pin } = stand([status('63c1'), verify('9000'), ...one], {
      readTries: async () => void asked++,
    })
    for (let times = 0; times < 2; times++) await pin.verify(channel, open(), { acceptLastTry: true })
    expect([await pin.learnTries(channel), asked]).toEqual([1, 1])
  })

  it('can be asked in another way, which need not tell whether the PIN is verified', async () => {
    const { channel, pin } = stand([verify('9000'), logout('9000')], {
      readStatus: async () => ({ verified: undefined, triesLeft: 3 }),
    })
    await pin.verify(channel, open())
    expect(await pin.status(channel)).toEqual({ verified: true, triesLeft: 3 })
    expect([pin.isVerified, pin.mayBeVerified]).toEqual([true, true])
    await pin.logout(channel)
    expect(await pin.status(channel)).toEqual({ verified: false, triesLeft: 3 })
  })

  it('are told to whoever wants to remember them', async () => {
    const { channel, pin } = stand([status('63c3'), verify('63c2'), verify('6f00')])
    const told: number[] = []
    pin.onTries = (triesLeft) => told.push(triesLeft)
    await pin.learnTries(channel)
    await pin.verify(channel, open()).catch(() => {})
    await pin.verify(channel, open()).catch(() => {})
    // Learned, learned again for free, wrong, again for free; then two at the most less one: nobody knows but that.
    expect(told).toEqual([3, 3, 2, 2, 1])
  })

  it('that two PINs of an application share are spent by both', async () => {
    const { channel, application, pin } = stand([status('63c3'), verify('63c2'), verify('63c1')])
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

  it('of two PINs that share nothing are apart', async () => {
    const { channel, application, pin } = stand([status('63c1'), ['00200006', '63c3']])
    const second = new PinReference(application, { name: 'second PIN', reference: () => 6, format })
    expect([await pin.learnTries(channel), await second.learnTries(channel)]).toEqual([1, 3])
  })

  it('are forgotten if another PIN is meant', async () => {
    let reference = 5
    const { channel, pin } = stand([status('63c1'), ['00200006', '63c3']], { reference: () => reference })
    expect(await pin.learnTries(channel)).toBe(1)
    reference = 6
    pin.forgetTries()
    expect(pin.triesLeft).toBeUndefined()
    expect(await pin.learnTries(channel)).toBe(3)
  })
})

describe('what has to be read before a PIN is used', () => {
  it('is read once, before the first status or VERIFY, and before the PIN is encoded', async () => {
    const order: string[] = []
    const { channel, application, pin } = stand([status('63c3'), verify('9000'), select, status('9000')], {
      prepare: async () => void order.push('prepared'),
      format: { ...format, encode: (typed) => (order.push('encoded'), Uint8Array.of(4, ...typed)) },
    })
    expect(pin.isPrepared).toBe(false)
    await pin.verify(channel, open())
    await application.select(channel)
    await pin.status(channel)
    expect([order, pin.isPrepared]).toEqual([['prepared', 'encoded'], true])
  })

  it('is read again if it could not be read', async () => {
    let fails = true
    const { channel, pin } = stand([status('63c3')], {
      prepare: async () => {
        if (fails) throw new Error('no answer')
      },
    })
    await expect(pin.verify(channel, open())).rejects.toThrow('no answer')
    expect([channel.received.length, pin.isPrepared]).toEqual([0, false])
    fails = false
    expect(await pin.learnTries(channel)).toBe(3)
  })
})

describe('a logout', () => {
  it('is sent once, and not at all if nothing was verified', async () => {
    const { channel, pin } = stand([status('63c3'), verify('9000'), logout('9000')])
    expect(await pin.logout(channel)).toBe(true)
    await pin.verify(channel, open())
    for (let times = 0; times < 2; times++) expect(await pin.logout(channel)).toBe(true)
    expect([pin.isVerified, pin.mayBeVerified, channel.left]).toEqual([false, false, 0])
  })

  it('sends nothing after a wrong PIN, and is sent after a VERIFY without a clear answer', async () => {
    const { channel, pin } = stand([
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

  it('that the card refuses is false; after the reset everything is forgotten but the fewest attempts', async () => {
    const { channel, application, pin } = stand([status('63c1'), verify('9000'), logout('6a86')])
    await pin.verify(channel, open(), { acceptLastTry: true })
    expect(await pin.logout(channel)).toBe(false)
    expect(pin.mayBeVerified).toBe(true)
    application.forget()
    expect([pin.isVerified, pin.mayBeVerified, pin.triesLeft]).toEqual([false, false, 1])
  })

  it('that the card is known not to have is false without a command', async () => {
    const { channel, pin } = stand([status('63c3'), verify('9000')], { canLogOut: false })
    expect(await pin.logout(channel)).toBe(true)
    await pin.verify(channel, open())
    expect(await pin.logout(channel)).toBe(false)
    expect(channel.left).toBe(0)
  })
})

describe('whether the PIN still stands verified', () => {
  it('is fresh until the next command of the application, and after a wrong PIN it is not', async () => {
    const { channel, application, pin } = stand([status('63c3'), verify('9000'), serial, verify('63c2')])
    expect(pin.isFresh).toBe(false)
    await pin.verify(channel, open())
    expect(pin.isFresh).toBe(true)
    await application.fingerprint(channel)
    expect([pin.isFresh, pin.isVerified]).toEqual([false, true])
    await pin.verify(channel, open()).catch(() => {})
    expect(pin.isFresh).toBe(false)
  })

  it('is not fresh after a selection', async () => {
    const { channel, application, pin } = stand([status('63c3'), verify('9000'), select])
    await pin.verify(channel, open())
    await application.select(channel)
    expect(pin.isFresh).toBe(false)
  })

  it.each([
    ['9000', true],
    ['63c3', false],
    ['6700', true],
  ])('is asked once after somebody else was at the card: %s', async (sw, may) => {
    const { channel, application, pin } = stand([status('63c3'), verify('9000'), select, status(sw)])
    expect(await pin.mayStillBeVerified(channel)).toBe(false)
    await pin.verify(channel, open())
    expect(await pin.mayStillBeVerified(channel)).toBe(true)
    await application.select(channel)
    for (let times = 0; times < 2; times++) expect(await pin.mayStillBeVerified(channel)).toBe(may)
    expect(channel.left).toBe(0)
  })

  it('is not asked after a reset', async () => {
    const { channel, application, pin } = stand([status('63c3'), verify('9000')])
    await pin.verify(channel, open())
    application.forget()
    expect(await pin.mayStillBeVerified(channel)).toBe(false)
  })
})

describe('a PIN typed on the reader', () => {
  it('is asked for by the template of the application', async () => {
    const { channel, pin } = stand([status('63c3')])
    const pad = keys()
    channel.pinPad = pad
    await pin.verifyOnPad(channel)
    expect(pad.templates.map(({ command, pinOffset }) => [toHex(command), pinOffset])).toEqual([
      ['00200005', 1],
    ])
    expect([pin.isVerified, pin.isFresh]).toEqual([true, true])
  })

  it('is not asked for if a pad cannot compute what the card wants', async () => {
    const { padTemplate: _, ...computed } = format
    const { channel, pin } = stand([], { format: computed })
    channel.pinPad = keys()
    await expect(pin.verifyOnPad(channel)).rejects.toMatchObject({ code: 'card/not-supported' })
  })

  it('is asked for after what the card wants was read', async () => {
    const read: string[] = []
    const prepared: PinFormat = {
      ...format,
      get padTemplate() {
        return read.length > 0 ? format.padTemplate : undefined
      },
    }
    const options = { format: prepared, prepare: async () => void read.push('KDF') }
    const { channel, pin } = stand([status('63c3')], options)
    channel.pinPad = keys('9000')
    await pin.verifyOnPad(channel)
    expect([pin.isVerified, read]).toEqual([true, ['KDF']])
  })

  it('is not asked for if no attempt is left, nor for the last one without a yes', async () => {
    for (const [sw, code] of [
      ['6983', 'card/pin-blocked'],
      ['63c1', 'card/last-try'],
    ] as const) {
      const { channel, pin } = stand([status(sw)])
      const pad = keys()
      channel.pinPad = pad
      await expect(pin.verifyOnPad(channel)).rejects.toMatchObject({ code })
      expect(pad.templates).toEqual([])
    }
  })

  it.each([new PinPadCancelledError(), new PinPadTimeoutError(), new PinPadRefusedError()])(
    'and not given changes nothing of what is known: $name',
    async (outcome) => {
      const { channel, pin } = stand([status('63c2'), status('63c2')])
      channel.pinPad = keys(outcome)
      await expect(pin.verifyOnPad(channel)).rejects.toBe(outcome)
      expect([pin.triesLeft, pin.isVerified, pin.mayBeVerified]).toEqual([2, false, false])
      const verified = stand([status('63c3'), verify('9000')])
      verified.channel.pinPad = keys(outcome)
      await verified.pin.verify(verified.channel, open())
      await expect(verified.pin.verifyOnPad(verified.channel)).rejects.toBe(outcome)
      expect([verified.pin.isVerified, verified.pin.mayBeVerified, verified.pin.triesLeft]).toEqual([
        true,
        true,
        3,
      ])
    },
  )

  it('and not given is known as such by the error’s code, of whatever copy of the package it is', async () => {
    const { channel, pin } = stand([status('63c2')])
    channel.pinPad = keys(Object.assign(new Error('cancelled'), { code: 'card/pin-pad-cancelled' }))
    await expect(pin.verifyOnPad(channel)).rejects.toThrow('cancelled')
    expect([pin.triesLeft, pin.mayBeVerified]).toEqual([2, false])
  })

  it('and lost on its way may be verified, and the next attempt may be the last', async () => {
    const { channel, pin } = stand([status('63c2'), status('6700')])
    channel.pinPad = keys(new ReaderTimeoutError('Secure', 30_000))
    await expect(pin.verifyOnPad(channel)).rejects.toMatchObject({ code: 'reader/timeout' })
    expect([pin.triesLeft, pin.isVerified, pin.mayBeVerified]).toEqual([1, false, true])
    await expect(pin.verify(channel, open())).rejects.toMatchObject({ code: 'card/last-try' })
  })

  it('at a reader whose keys have gone is to be typed on the computer: no attempt is lost', async () => {
    const { channel, pin } = stand([status('63c3')])
    await expect(pin.verifyOnPad(channel)).rejects.toMatchObject({ code: 'card/pin-pad-refused' })
    expect([pin.triesLeft, pin.mayBeVerified]).toEqual([3, false])
  })
})

/** A card with one PIN, in as few lines as hold its rules. */
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

  answer(command: Uint8Array): string {
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

it('no sequence of PINs, logouts, selections, resets and lost answers spends a known last attempt', async () => {
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
          const answer = card.answer(command)
          if (isLost && command.length > 5) throw new ReaderTimeoutError('XfrBlock', 1000)
          return fromHex(answer)
        })
        const { application, pin } = lockerOn(channel)
        const tells = kind !== 'silent'
        for (const action of sequence) {
          verifies = 0
          const before = card.left
          isLost = action === 'lost'
          // Somebody else at the card is noticed by a selection.
          if (action === 'elsewhere wrong' && card.left > 1) {
            card.answer(Uint8Array.of(0, 0x20, 0, 5, 1, 0))
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
            // A yes is given for the right PIN only.
            await pin.verify(channel, given, { acceptLastTry: action === 'right' }).catch(() => {})
            expect(given.every((byte) => byte === 0)).toBe(true)
            expect(verifies).toBeLessThanOrEqual(1)
            if (action !== 'right' && before === 1 && tells) expect([action, verifies]).toEqual([action, 0])
          }
          if (card.isVerified) expect(pin.mayBeVerified).toBe(true)
          if (pin.triesLeft !== undefined && tells) expect(pin.triesLeft).toBeLessThanOrEqual(card.left)
        }
        if (tells) expect(card.left).toBeGreaterThan(0)
      },
    ),
    { numRuns: 1000 },
  )
})
