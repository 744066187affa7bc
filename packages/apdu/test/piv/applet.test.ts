/** What the PIV applet sends and how it reads the answers. */
import { gzipSync, deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeTlvs,
  encodeTlv,
  fromHex,
  inflate,
  LastTryError,
  PinBlockedError,
  PinPadCancelledError,
  PinPadRefusedError,
  PinPadTimeoutError,
  ReaderTimeoutError,
  SmartcardError,
  toHex,
} from '../../src/index.ts'
import {
  decodeCertificate,
  decodeChuid,
  decodeDiscovery,
  PivApplet,
  pivSlot,
  pivSlots,
} from '../../src/piv/index.ts'
import { extended, ScriptedChannel } from '../scripted-channel.ts'

const select: [string, string] = ['00a4040009a0000003080000100000', '61044f0200019000']
const tries = (sw: string): [string, string] => ['00200080', sw]
const verify = (sw: string): [string, string] => ['0020008008313233343536ffff', sw]
const pin = () => fromHex('313233343536')
const der = encodeTlv(0x30, new Uint8Array(300).fill(5))
const object = (stored: Uint8Array, info = 0) =>
  encodeTlv(0x53, encodeTlv(0x70, stored), encodeTlv(0x71, [info]), encodeTlv(0xfe))

describe('PIV PIN', () => {
  it('is sent once, padded, and overwritten', async () => {
    const channel = new ScriptedChannel([tries('63c3'), verify('9000'), ['0020ff80', '9000']])
    const applet = new PivApplet()
    expect(await applet.pinTriesLeft(channel)).toBe(3)
    const given = pin()
    await applet.verifyPin(channel, given)
    expect(toHex(given)).toBe('000000000000')
    expect(toHex(channel.received[1] as Uint8Array)).toBe('00'.repeat(13))
    expect(applet.isVerified).toBe(true)
    expect(await applet.logout(channel)).toBe(true)
    expect(applet.isVerified).toBe(false)
  })

  it('the last try is not spent without a yes', async () => {
    const applet = new PivApplet()
    const channel = new ScriptedChannel([tries('63c2'), verify('63c1'), verify('9000')])
    await applet.pinStatus(channel)
    await expect(applet.verifyPin(channel, pin())).rejects.toMatchObject({
      code: 'card/pin-wrong',
      triesLeft: 1,
    })
    await expect(applet.verifyPin(channel, pin())).rejects.toMatchObject({ code: 'card/last-try' })
    await applet.verifyPin(channel, pin(), { acceptLastTry: true })
    expect(applet.triesLeft).toBe(2)
  })

  it.each([
    ['there are no tries left', '6983', '123456', PinBlockedError],
    ['it would cost the last try', '63c1', '123456', LastTryError],
    ['it is too long for a card', '63c3', '123456789', RangeError],
  ] as const)('is overwritten where %s, and not sent', async (_, status, digits, refusal) => {
    const applet = new PivApplet()
    const channel = new ScriptedChannel([tries(status)])
    await applet.pinStatus(channel)
    const given = new TextEncoder().encode(digits)
    await expect(applet.verifyPin(channel, given)).rejects.toBeInstanceOf(refusal)
    expect(given.every((byte) => byte === 0)).toBe(true)
    expect(channel.received).toHaveLength(1)
  })

  it('blocked, refused and unclear answers are told apart', async () => {
    for (const [sw, code] of [
      ['63c0', 'card/pin-blocked'],
      ['6983', 'card/pin-blocked'],
      ['6302', 'card/pin-wrong'],
      ['6300', 'card/status'],
      ['6c08', 'card/status'],
    ] as const) {
      const channel = new ScriptedChannel([verify(sw)])
      await expect(new PivApplet().verifyPin(channel, pin())).rejects.toMatchObject({ code })
    }
    const logoutless = new ScriptedChannel([['0020ff80', '6a86']])
    expect(await new PivApplet().logout(logoutless)).toBe(false)
  })

  it('goes to the global PIN where discovery prefers it', async () => {
    const channel = new ScriptedChannel([
      ['00cb3fff035c017e00', '7e124f0ba00000030800001000010 05f2f026020'.replace(' ', '') + '9000'],
      ['00200000', '63c3'],
    ])
    const applet = new PivApplet()
    await applet.readDiscovery(channel)
    expect(await applet.pinTriesLeft(channel)).toBe(3)
    expect(decodeDiscovery(fromHex('7e055f2f026010')).pinReference).toBe(0x80)
  })
})

describe('PIV PIN on the reader’s keys', () => {
  /** A person at the keys, and how often they were asked. */
  const keys = (...answers: (string | Error)[]) => {
    const pad = {
      asked: 0,
      verify: async () => {
        pad.asked++
        const answer = answers.shift()
        if (answer instanceof Error) throw answer
        return fromHex(answer ?? '9000')
      },
      modify: () => Promise.reject(new Error('Nobody changes a PIN here.')),
    }
    return pad
  }
  const known = async (...script: [string, string][]) => {
    const applet = new PivApplet()
    const channel = new ScriptedChannel(script)
    await applet.pinStatus(channel)
    return { applet, channel }
  }

  it('is not asked for where there are no tries left, nor for the last one without a yes', async () => {
    const blocked = keys()
    await expect((await known(tries('6983'))).applet.verifyPinOnPad(blocked)).rejects.toBeInstanceOf(
      PinBlockedError,
    )
    const last = keys()
    const { applet } = await known(tries('63c1'))
    await expect(applet.verifyPinOnPad(last)).rejects.toBeInstanceOf(LastTryError)
    expect([blocked.asked, last.asked]).toEqual([0, 0])
    await applet.verifyPinOnPad(last, { acceptLastTry: true })
    expect(last.asked).toBe(1)
  })

  it.each([new PinPadCancelledError(), new PinPadTimeoutError(), new PinPadRefusedError()])(
    'and not given changes nothing of what is known: $name',
    async (outcome) => {
      const { applet } = await known(tries('63c2'))
      await expect(applet.verifyPinOnPad(keys(outcome))).rejects.toBe(outcome)
      expect([applet.triesLeft, applet.isVerified, applet.mayBeVerified]).toEqual([2, false, false])
      const { applet: verified } = await known(tries('9000'))
      await expect(verified.verifyPinOnPad(keys(outcome))).rejects.toBe(outcome)
      expect([verified.isVerified, verified.mayBeVerified]).toEqual([true, true])
    },
  )

  it('and lost on its way: the PIN may be verified, and the next attempt may be the last', async () => {
    const { applet, channel } = await known(tries('63c2'))
    await expect(
      applet.verifyPinOnPad(keys(new ReaderTimeoutError('Secure', 30_000))),
    ).rejects.toBeInstanceOf(ReaderTimeoutError)
    expect([applet.triesLeft, applet.isVerified, applet.mayBeVerified]).toEqual([1, false, true])
    await expect(applet.verifyPin(channel, pin())).rejects.toBeInstanceOf(LastTryError)
  })

  it('and lost at a card with attempts enough leaves their number unknown', async () => {
    const { applet } = await known(tries('63c3'))
    await applet.verifyPinOnPad(keys(new ReaderTimeoutError('Secure', 30_000))).catch(() => {})
    expect(applet.triesLeft).toBeUndefined()
  })

  it('right at the last attempt of a card that never told more: the next is taken to be the last again', async () => {
    const { applet, channel } = await known(tries('63c1'), tries('63c3'), verify('63c2'))
    await applet.verifyPinOnPad(keys('9000'), { acceptLastTry: true })
    expect([applet.isVerified, applet.triesLeft]).toEqual([true, 1])
    await expect(applet.verifyPin(channel, pin())).rejects.toBeInstanceOf(LastTryError)
    await applet.pinStatus(channel)
    await expect(applet.verifyPin(channel, pin())).rejects.toMatchObject({ triesLeft: 2 })
  })
})

describe('PIV selection', () => {
  it('is repeated only when somebody else was at the card', async () => {
    const applet = new PivApplet()
    const channel = new ScriptedChannel([select, select])
    expect(await applet.ensureSelected(channel)).toBe(true)
    expect(await applet.ensureSelected(channel)).toBe(false)
    channel.undisturbed = false
    expect(await applet.ensureSelected(channel)).toBe(true)
    expect(await applet.ensureSelected(channel)).toBe(false)
  })
})

describe('PIV objects', () => {
  it('a certificate is read whole at extended level and its head in one short APDU', async () => {
    const whole = object(der)
    const channel = new ScriptedChannel(
      [
        ['00cb3fff0000055c035fc1050000', `${toHex(whole)}9000`],
        ['00cb3fff055c035fc10500', `${toHex(whole.subarray(0, 256))}6140`],
        ['00cb3fff0000055c035fc10a0000', '6a82'],
      ],
      extended,
    )
    const applet = new PivApplet()
    const [nineA, nineC] = pivSlots
    const read = await applet.readCertificate(channel, nineA!)
    expect(toHex(read!.der)).toBe(toHex(der))
    expect(toHex(read!.object)).toBe(toHex(whole))
    expect((await applet.readObjectHead(channel, nineA!.certificateTag))?.length).toBe(256)
    expect(await applet.readCertificate(channel, nineC!)).toBeUndefined()
  })

  it('compressed certificates are inflated, whatever CertInfo says', async () => {
    const netId = new Uint8Array([1, 0, der.length & 0xff, der.length >> 8, ...deflateSync(der)])
    for (const stored of [gzipSync(der), deflateSync(der), netId, der]) {
      for (const info of [0, 1])
        expect(toHex((await decodeCertificate(object(new Uint8Array(stored), info)))!.der)).toBe(toHex(der))
    }
    expect(await decodeCertificate(fromHex('5300'))).toBeUndefined()
  })

  it('bombs, cut streams and garbage are refused with a typed error', async () => {
    const bomb = gzipSync(new Uint8Array(1_000_000))
    const cut = gzipSync(der).subarray(0, 20)
    for (const bytes of [bomb, cut, fromHex('1f8b'), fromHex('789c'), fromHex('0100')]) {
      await expect(inflate(new Uint8Array(bytes))).rejects.toMatchObject({ code: 'wire/malformed' })
    }
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('1f8b08', '789c', '', '5300', '30'),
        fc.uint8Array({ maxLength: 60 }),
        async (head, tail) => {
          const bytes = new Uint8Array([...fromHex(head), ...tail])
          for (const work of [
            () => inflate(bytes),
            () => decodeCertificate(object(bytes)),
            () => decodeCertificate(bytes),
            async () => decodeChuid(bytes),
            async () => decodeDiscovery(bytes),
          ]) {
            await work().catch((error: unknown) => {
              if (!(error instanceof SmartcardError)) throw error
            })
          }
        },
      ),
    )
  })

  it('good ones with a byte changed, lost or added are read or refused with a typed error', async () => {
    const goods = [
      object(der),
      object(new Uint8Array(gzipSync(der)), 1),
      fromHex('7e124f0ba0000003080000100001005f2f024000'),
      encodeTlv(0x53, encodeTlv(0x30, [1]), encodeTlv(0x34, new Uint8Array(16).fill(7)), encodeTlv(0xfe)),
    ]
    const outcomes = { read: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...goods),
        fc.nat(),
        fc.nat(255),
        fc.constantFrom('change', 'lose', 'add'),
        async (good, place, byte, how) => {
          // The heads decide more than what they hold.
          const at = place % Math.min(good.length, 40)
          const middle = how === 'change' ? [byte] : how === 'add' ? [byte, good[at] as number] : []
          const bytes = Uint8Array.from([...good.subarray(0, at), ...middle, ...good.subarray(at + 1)])
          for (const work of [decodeCertificate, decodeChuid, decodeDiscovery, decodeTlvs]) {
            try {
              await work(bytes)
              outcomes.read++
            } catch (error) {
              expect(error).toBeInstanceOf(SmartcardError)
              outcomes.refused++
            }
          }
        },
      ),
      { numRuns: 2000 },
    )
    // Neither way is the only one taken.
    expect(Math.min(outcomes.read, outcomes.refused)).toBeGreaterThan(400)
  })

  it('a GUID of zeros is no identity', () => {
    const chuid = (guid: string) => encodeTlv(0x53, encodeTlv(0x30, [1]), encodeTlv(0x34, fromHex(guid)))
    expect(decodeChuid(chuid('00'.repeat(16))).guid).toBeUndefined()
    expect(decodeChuid(chuid('01'.repeat(16))).guid?.length).toBe(16)
    expect(() => decodeChuid(chuid('01'))).toThrow(SmartcardError)
    expect(pivSlot(0x95)?.certificateTag).toBe(0x5fc120)
  })

  it('GENERAL AUTHENTICATE of RSA-2048 takes three short APDUs and one extended', async () => {
    const block = new Uint8Array(256).fill(0xaa)
    const data = `7c8201068200818201 00${'aa'.repeat(256)}`.replace(' ', '')
    const answer = `7c82010482820100${'bb'.repeat(256)}`
    const one = new ScriptedChannel([[`0087079a00010a${data}0000`, `${answer}9000`]], extended)
    const three = new ScriptedChannel([
      [`1087079aff${data.slice(0, 510)}`, '9000'],
      [`0087079a0b${data.slice(510)}00`, `${answer.slice(0, 512)}6108`],
      ['00c0000008', `${answer.slice(512)}9000`],
    ])
    for (const channel of [one, three]) {
      const result = await new PivApplet().generalAuthenticate(channel, 7, 0x9a, { tag: 0x81, value: block })
      expect(toHex(result)).toBe('bb'.repeat(256))
    }
  })
})
