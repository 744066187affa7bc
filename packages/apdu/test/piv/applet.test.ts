/** The commands that the PIV applet sends and the responses that it decodes. */
import { gzipSync, deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeTlvs,
  encodeTlv,
  fromHex,
  inflate,
  type PinTemplate,
  WebtokiError,
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
import { connectionOf, extended, ScriptedChannel } from '../scripted-channel.ts'

const noDiscovery: [string, string] = ['00cb3fff035c017e00', '6a82']
const tries = (sw: string): [string, string] => ['00200080', sw]
const verify = (sw: string): [string, string] => ['0020008008313233343536ffff', sw]
const der = encodeTlv(0x30, new Uint8Array(300).fill(5))
const object = (stored: Uint8Array, info = 0) =>
  encodeTlv(0x53, encodeTlv(0x70, stored), encodeTlv(0x71, [info]), encodeTlv(0xfe))

describe('the PIN of PIV', () => {
  it('is sent once, padded with FF to eight bytes, and overwritten after use', async () => {
    const channel = new ScriptedChannel([noDiscovery, tries('63c3'), verify('9000'), ['0020ff80', '9000']])
    const { pin } = new PivApplet(connectionOf(channel))
    expect(await pin.learnTries(channel)).toBe(3)
    const given = fromHex('313233343536')
    await pin.verify(channel, given)
    expect(toHex(given)).toBe('000000000000')
    expect(toHex(channel.received[2] as Uint8Array)).toBe('00'.repeat(13))
    expect(pin.isVerified).toBe(true)
    expect(await pin.logout(channel)).toBe(true)
    expect(pin.isVerified).toBe(false)
  })

  it.each([
    ['abcdef', 'alphabet'],
    ['12345a', 'alphabet'],
    ['12345', 'length'],
    ['123456789', 'length'],
    ['', 'length'],
    ['１２', 'length'],
    ['十二三四五六', 'alphabet'],
  ])('"%s" is refused because of its %s, and nothing is sent', async (typed, why) => {
    const channel = new ScriptedChannel([])
    const given = new TextEncoder().encode(typed)
    const { pin } = new PivApplet(connectionOf(channel))
    await expect(pin.verify(channel, given)).rejects.toMatchObject({ code: 'card/pin-format', why })
    expect(given.every((byte) => byte === 0)).toBe(true)
    expect(channel.received).toEqual([])
  })

  it('is the global PIN if the discovery object prefers it', async () => {
    const channel = new ScriptedChannel([
      ['00cb3fff035c017e00', '7e124f0ba0000003080000100001005f2f0260209000'],
      ['00200000', '63c3'],
      ['0020000008313233343536ffff', '9000'],
      ['0020ff00', '9000'],
    ])
    const applet = new PivApplet(connectionOf(channel))
    await applet.pin.verify(channel, fromHex('313233343536'))
    expect([applet.pinReference, applet.pin.triesLeft]).toEqual([0, 3])
    expect(await applet.pin.logout(channel)).toBe(true)
    expect(decodeDiscovery(fromHex('7e055f2f026010')).pinReference).toBe(0x80)
  })

  it('loses its known attempts if the discovery object changes the reference', async () => {
    const channel = new ScriptedChannel([
      noDiscovery,
      tries('63c1'),
      ['00cb3fff035c017e00', '7e124f0ba0000003080000100001005f2f0260209000'],
      ['00200000', '63c3'],
    ])
    const applet = new PivApplet(connectionOf(channel))
    expect(await applet.pin.learnTries(channel)).toBe(1)
    await applet.readDiscovery(channel)
    expect(applet.pin.triesLeft).toBeUndefined()
    expect(await applet.pin.learnTries(channel)).toBe(3)
  })

  it.each([
    ['01010506020803', 3],
    ['0602030106028888', 1],
    ['06020301ffff', 1],
    ['060203', undefined],
    ['0101ff', undefined],
    ['', undefined],
  ])('with metadata %s has %s attempts left', async (metadata, triesLeft) => {
    const channel = new ScriptedChannel([['00f7008000', `${metadata}9000`]])
    expect(await new PivApplet(connectionOf(channel)).readPinTries(channel)).toBe(triesLeft)
  })

  it.each([
    ['010107020201020301010403810100', { pin: 'never', touch: true }],
    ['02020201', { pin: 'once', touch: false }],
    ['02020303', { pin: 'always', touch: undefined }],
    ['02020401', { pin: 'once', touch: false }],
    ['02020501', { pin: 'always', touch: false }],
    ['02020900', { pin: undefined, touch: undefined }],
    ['0200', { pin: undefined, touch: undefined }],
    ['0101ff', undefined],
    ['0203', undefined],
    ['', undefined],
  ])('has the key policy that metadata "%s" report', async (metadata, policy) => {
    const channel = new ScriptedChannel([['00f7009a00', `${metadata}9000`]])
    const applet = new PivApplet(connectionOf(channel))
    expect(await applet.readKeyPolicy(channel, 0x9a)).toEqual(policy)
  })

  it('is typed on a PIN pad as six to eight ASCII digits', async () => {
    const channel = new ScriptedChannel([noDiscovery, tries('63c3')])
    const templates: PinTemplate[] = []
    channel.pinPad = {
      verify: async (template) => {
        templates.push(template)
        return fromHex('9000')
      },
      modify: () => Promise.reject(new Error('No PIN is changed here.')),
    }
    await new PivApplet(connectionOf(channel)).pin.verifyOnPad(channel)
    const [{ command, ...rest }] = templates as [PinTemplate]
    expect(toHex(command)).toBe('0020008008ffffffffffffffff')
    expect(rest).toEqual({ pinOffset: 0, blockBytes: 8, format: 'ascii', minDigits: 6, maxDigits: 8 })
  })
})

describe('PIV objects', () => {
  it('such as a certificate are read whole with extended APDUs, and their head with one short APDU', async () => {
    const whole = object(der)
    const channel = new ScriptedChannel(
      [
        ['00cb3fff0000055c035fc1050000', `${toHex(whole)}9000`],
        ['00cb3fff055c035fc10500', `${toHex(whole.subarray(0, 256))}6140`],
        ['00cb3fff0000055c035fc10a0000', '6a82'],
      ],
      extended,
    )
    const applet = new PivApplet(connectionOf(channel))
    const [nineA, nineC] = pivSlots
    const read = await applet.readCertificate(channel, nineA!)
    expect(toHex(read!.der)).toBe(toHex(der))
    expect(toHex(read!.object)).toBe(toHex(whole))
    expect((await applet.readObjectHead(channel, nineA!.certificateTag))?.length).toBe(256)
    expect(await applet.readCertificate(channel, nineC!)).toBeUndefined()
  })

  it('with a compressed certificate are inflated even if CertInfo is wrong', async () => {
    const netId = new Uint8Array([1, 0, der.length & 0xff, der.length >> 8, ...deflateSync(der)])
    for (const stored of [gzipSync(der), deflateSync(der), netId, der]) {
      for (const info of [0, 1])
        expect(toHex((await decodeCertificate(object(new Uint8Array(stored), info)))!.der)).toBe(toHex(der))
    }
    expect(await decodeCertificate(fromHex('5300'))).toBeUndefined()
  })

  it('with decompression bombs, truncated streams or random bytes throw only WebtokiErrors', async () => {
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
              if (!(error instanceof WebtokiError)) throw error
            })
          }
        },
      ),
    )
  })

  it('with one byte changed, removed or added are decoded or throw a WebtokiError', async () => {
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
          // Changes in the headers have more effect than changes in the content.
          const at = place % Math.min(good.length, 40)
          const middle = how === 'change' ? [byte] : how === 'add' ? [byte, good[at] as number] : []
          const bytes = Uint8Array.from([...good.subarray(0, at), ...middle, ...good.subarray(at + 1)])
          for (const work of [decodeCertificate, decodeChuid, decodeDiscovery, decodeTlvs]) {
            try {
              await work(bytes)
              outcomes.read++
            } catch (error) {
              expect(error).toBeInstanceOf(WebtokiError)
              outcomes.refused++
            }
          }
        },
      ),
      { numRuns: 2000 },
    )
    // Both outcomes occur.
    expect(Math.min(outcomes.read, outcomes.refused)).toBeGreaterThan(400)
  })

  it('such as a CHUID with a GUID of zeros have no GUID', () => {
    const chuid = (guid: string) => encodeTlv(0x53, encodeTlv(0x30, [1]), encodeTlv(0x34, fromHex(guid)))
    expect(decodeChuid(chuid('00'.repeat(16))).guid).toBeUndefined()
    expect(decodeChuid(chuid('01'.repeat(16))).guid?.length).toBe(16)
    expect(() => decodeChuid(chuid('01'))).toThrow(WebtokiError)
    expect(pivSlot(0x95)?.certificateTag).toBe(0x5fc120)
  })

  it('GENERAL AUTHENTICATE for RSA-2048 takes one extended or three short APDUs', async () => {
    const block = new Uint8Array(256).fill(0xaa)
    const data = `7c8201068200818201 00${'aa'.repeat(256)}`.replace(' ', '')
    const response = `7c82010482820100${'bb'.repeat(256)}`
    const one = new ScriptedChannel([[`0087079a00010a${data}0000`, `${response}9000`]], extended)
    const three = new ScriptedChannel([
      [`1087079aff${data.slice(0, 510)}`, '9000'],
      [`0087079a0b${data.slice(510)}00`, `${response.slice(0, 512)}6108`],
      ['00c0000008', `${response.slice(512)}9000`],
    ])
    for (const channel of [one, three]) {
      const result = await new PivApplet(connectionOf(channel)).generalAuthenticate(channel, 7, 0x9a, {
        tag: 0x81,
        value: block,
      })
      expect(toHex(result)).toBe('bb'.repeat(256))
    }
  })
})
