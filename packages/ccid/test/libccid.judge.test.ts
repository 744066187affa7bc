/** Compares the driver with Debian's pcscd and libccid, each on its own reader of the same kind. */
import {
  decodeResponse,
  exchange,
  type NamedCommand,
  PinPadCancelledError,
  PinPadTimeoutError,
  type PinTemplate,
} from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import {
  createEchoCard,
  createPivCard,
  gemaltoPdt,
  type PinEntry,
  type ReaderProfile,
  readerProfiles,
  type UsbDeviceModel,
  type VirtualCard,
  VirtualCcidReader,
  VirtualIccdToken,
  virtualUsb,
} from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { judgeMissing, pcscHost } from './pcsc-host.ts'

if (judgeMissing !== undefined) console.warn(`Our driver is not compared with libccid: ${judgeMissing}.`)

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

/** VERIFY of SP 800-73-4 without the PIN. */
const pivVerify = '0020008008ffffffffffffffff'

/** The operations that both sides support. */
interface Driver {
  atr(): Promise<string>
  connect(protocol?: 'T=0' | 'T=1'): Promise<void>
  /** The response APDU, or a word for the failure. */
  transmit(apdu: string): Promise<string>
  disconnect(): Promise<void>
  /** VERIFY of a PIV PIN that is entered on the reader: the status word, or a word for the failure. */
  verifyOnPad(): Promise<string>
  /** Waits until the slot reports this presence. */
  until(presence: 'empty' | 'present'): Promise<void>
  end(): Promise<void>
}

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end()
})

async function libccid(reader: UsbDeviceModel): Promise<Driver> {
  const host = await pcscHost(reader, open)
  return {
    atr: async () => (await host.ask('wait present')).slice(3),
    connect: async (protocol) => {
      expect(await host.ask(`connect ${protocol ?? ''}`)).toBe('ok')
    },
    transmit: async (apdu) => {
      const result = await host.ask(`transmit ${apdu}`)
      return result.startsWith('ok ') ? result.slice(3) : 'gone'
    },
    disconnect: async () => {
      await host.ask('disconnect')
    },
    verifyOnPad: async () => {
      // PIN_VERIFY_STRUCTURE of PC/SC part 10, 2.5.2: time-outs, format, limits, prompt, and the command.
      const structure = `3c3c8208000806${'0201090400'}${'000000'}0d000000${pivVerify}`
      const result = await host.ask(`feature 06 ${structure}`)
      // libccid reports the person's own actions as status words.
      const words: Readonly<Record<string, string>> = { 'ok 6401': 'cancelled', 'ok 6400': 'too late' }
      return words[result] ?? result.replace('ok ', '')
    },
    until: async (presence) => {
      expect(await host.ask(`wait ${presence}`)).toMatch(/^ok/)
    },
    end: async () => {},
  }
}

async function ours(reader: UsbDeviceModel): Promise<Driver> {
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }), pollMs: 20 })
  open.push(() => source.close())
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('Our driver shows no slot.')
  let connection: Awaited<ReturnType<typeof slot.connect>> | undefined
  const within = <T>(work: Parameters<NonNullable<typeof connection>['transaction']>[1]) => {
    if (connection === undefined) throw new Error('There is no connection.')
    return connection.transaction({}, work) as Promise<T>
  }
  return {
    atr: async () => {
      await firstValueFrom(slot.presence$.pipe(filter((presence) => presence === 'present')))
      const own = await slot.connect()
      const atr = await own.transaction({}, async (channel) => hex(channel.atr))
      await own.close()
      return atr
    },
    connect: async (protocol) => {
      connection = await slot.connect(protocol === undefined ? {} : { protocol })
    },
    transmit: (apdu) =>
      within<string>(async (channel) => hex(await channel.transmit(bytesOf(apdu)))).catch(() => 'gone'),
    disconnect: async () => {
      await connection?.close()
    },
    verifyOnPad: () =>
      within<string>(async (channel) => {
        const template: PinTemplate = {
          command: bytesOf(pivVerify),
          pinOffset: 0,
          blockBytes: 8,
          format: 'ascii',
          minDigits: 6,
          maxDigits: 8,
        }
        const { pinPad } = channel
        if (pinPad === undefined) throw new Error('There is no pad.')
        return hex(await pinPad.verify(template))
      }).catch((error: unknown) =>
        error instanceof PinPadCancelledError
          ? 'cancelled'
          : error instanceof PinPadTimeoutError
            ? 'too late'
            : String(error),
      ),
    until: async (presence) => {
      await firstValueFrom(slot.presence$.pipe(filter((each) => each === presence)))
    },
    end: async () => {},
  }
}

/**
 * libccid accepts only readers whose ids it lists. Debian 12 lists 080C of the DUALi reader's family, and 0504 of the
 * cyberJack's.
 */
const known: Readonly<Record<string, ReaderProfile>> = {
  ...readerProfiles,
  dualiAbcm6: { ...readerProfiles.dualiAbcm6, productId: 0x080c },
  // HSIC's reader is newer than that list, so it is compared under the ids of a similar reader.
  hsic: { ...readerProfiles.hsic, vendorId: 0x1e0d, productId: 0x8033 },
  cyberJackPinpad: { ...readerProfiles.cyberJackPinpad, productId: 0x0504 },
}
/** Readers with several slots are compared in several-slots.judge.test.ts. */
const judged = Object.fromEntries(
  Object.entries(known).filter(([, each]) => each.ccidDescriptor.slice(8, 10) === '00'),
)
const isTpdu = (profile: ReaderProfile): boolean => profile.ccidDescriptor.slice(84, 86) === '01'
const isExtended = (profile: ReaderProfile): boolean => profile.ccidDescriptor.slice(84, 86) === '04'

/** The results of one scenario on a reader and its card, line by line. */
async function runScenario(
  drive: (reader: VirtualCcidReader) => Promise<Driver>,
  profile: ReaderProfile,
  protocol?: 'T=0' | 'T=1',
) {
  const reader = new VirtualCcidReader(profile)
  reader.insert(createEchoCard())
  const driver = await drive(reader)
  const lines: string[] = [`ATR ${await driver.atr()}`]
  await driver.connect(protocol)
  const long = Uint8Array.from({ length: 4096 }, (_, at) => (at * 7) & 0xff)
  if (isExtended(profile)) lines.push(await driver.transmit(`00100000001000${hex(long)}0000`))
  else {
    for (let at = 0; at < long.length; at += 241) {
      const part = long.slice(at, at + 241)
      const isLast = at + 241 >= long.length
      const length = part.length.toString(16).padStart(2, '0')
      lines.push(
        await driver.transmit(`${isLast ? '00' : '10'}100000${length}${hex(part)}${isLast ? '00' : ''}`),
      )
    }
    for (let rounds = 0; rounds < 20 && /61..$/.test(lines.at(-1) ?? ''); rounds++)
      lines.push(await driver.transmit('00c0000000'))
  }
  reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames: 3 })
  lines.push(`slow ${await driver.transmit('0010000002aabb00')}`)
  reader.remove()
  await driver.until('empty')
  lines.push(`out ${await driver.transmit('0010000002aabb00')}`)
  await driver.disconnect()
  reader.insert(createEchoCard())
  lines.push(`in ${await driver.atr()}`)
  await driver.connect(protocol)
  lines.push(await driver.transmit('0010000002ccdd00'))
  await driver.disconnect()
  return lines
}

describe.skipIf(judgeMissing !== undefined)(
  'libccid and the driver get the same results from a reader',
  () => {
    it.each(Object.entries(judged).filter(([, each]) => !isTpdu(each)))('%s', async (_, profile) => {
      const theirs = await runScenario(libccid, profile)
      expect(await runScenario(ours, profile)).toEqual(theirs)
      expect(theirs.filter((line) => line.includes('gone'))).toEqual(['out gone'])
    })

    it.each(
      Object.entries(judged)
        .filter(([, each]) => isTpdu(each))
        .flatMap(([name, each]) =>
          (['T=0', 'T=1'] as const)
            .filter((_, bit) => Number(`0x${each.ccidDescriptor.slice(12, 14)}`) & (1 << bit))
            .map((protocol) => [name, protocol, each] as const),
        ),
    )('%s, %s', async (_, protocol, profile) => {
      const theirs = await runScenario(libccid, profile, protocol)
      expect(await runScenario(ours, profile, protocol)).toEqual(theirs)
      expect(theirs.filter((line) => line.includes('gone'))).toEqual(['out gone'])
    })
  },
)

describe.skipIf(judgeMissing !== undefined)(
  'libccid and the driver get the same results from a token on the control pipe',
  () => {
    async function run(drive: (token: UsbDeviceModel) => Promise<Driver>): Promise<string[]> {
      const token = new VirtualIccdToken(gemaltoPdt, createEchoCard())
      const driver = await drive(token)
      const lines = [`ATR ${await driver.atr()}`]
      await driver.connect()
      const long = Uint8Array.from({ length: 3000 }, (_, at) => (at * 7) & 0xff)
      lines.push(await driver.transmit(`0010000000${(3000).toString(16).padStart(4, '0')}${hex(long)}0000`))
      for (const delay of [0, 3]) {
        token.pollAgain = { times: 3, delay }
        lines.push(await driver.transmit('0010000002aabb00'))
      }
      await driver.disconnect()
      return lines
    }

    it('Gemalto PDT: the ATR, a long echo in parts, and repeated polling', async () => {
      const theirs = await run(libccid)
      expect(theirs[1]).toHaveLength(2 * 3002)
      expect(await run(ours)).toEqual(theirs)
    })
  },
)

/** Records the PC_to_RDR_Secure messages of a driver, without their ten header bytes. */
class WatchedReader extends VirtualCcidReader {
  readonly secure: string[] = []
  protected override outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    if (bytes[0] === 0x69) this.secure.push(hex(bytes.subarray(10)))
    return super.outReceived(endpoint, bytes)
  }
}

describe.skipIf(judgeMissing !== undefined)(
  'libccid and the driver send the same PIN entry to a PIN pad',
  () => {
    it.each(['T=1', 'T=0'] as const)(
      'over %s: correct, wrong, cancelled, timed out, correct again',
      async (protocol) => {
        async function run(drive: (reader: UsbDeviceModel) => Promise<Driver>) {
          const reader = new WatchedReader(readerProfiles.cherrySt2000)
          const card = createPivCard({ protocols: protocol })
          reader.insert(card)
          const entries: PinEntry[] = [
            { digits: '123456' },
            { digits: '654321' },
            'cancel',
            'timeout',
            { digits: '123456' },
          ]
          reader.person = async () => entries.shift() ?? 'timeout'
          const driver = await drive(reader)
          await driver.atr()
          await driver.connect(protocol)
          const lines = [await driver.transmit('00a4040009a00000030800001000')]
          for (let count = 0; count < 5; count++) {
            lines.push(await driver.verifyOnPad())
            lines.push(`${card.pinTriesLeft} left`)
          }
          lines.push(await driver.transmit('0020008000'))
          await driver.disconnect()
          return { lines, secure: reader.secure }
        }
        const theirs = await run(libccid)
        const own = await run(ours)
        expect(own).toEqual(theirs)
        expect(theirs.lines.slice(1)).toEqual([
          ...[
            '9000',
            '3 left',
            '63c2',
            '2 left',
            'cancelled',
            '2 left',
            'too late',
            '2 left',
            '9000',
            '3 left',
          ],
          '9000',
        ])
      },
    )
  },
)

/**
 * SELECT PIV, the certificate of 9A, VERIFY, a P-256 signature with 9C, as APDUs with Le 00 that callers of libccid
 * send.
 */
async function byHand(driver: Driver, card: VirtualCard): Promise<void> {
  const follow = async (apdu: string): Promise<string> => {
    let response = await driver.transmit(apdu)
    let data = response.slice(0, -4)
    while (response.slice(-4, -2) === '61') {
      response = await driver.transmit(`00c00000${response.slice(-2)}`)
      data += response.slice(0, -4)
    }
    expect(response.slice(-4)).toBe('9000')
    return data
  }
  expect(card.atr.length).toBeGreaterThan(2)
  await follow('00a4040009a0000003080000100000')
  expect((await follow('00cb3fff055c035fc10500')).length / 2).toBeGreaterThan(900)
  await follow('0020008008313233343536ffff')
  await follow(`0087119c267c2482008120${'5a'.repeat(32)}00`)
}

/** The same through the layer that the applets use, which knows the capacity of a block. */
async function byOurs(reader: VirtualCcidReader, protocol: 'T=0' | 'T=1'): Promise<void> {
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  open.push(() => source.close())
  const [slot] = await firstValueFrom(source.slots$)
  const connection = await slot?.connect({ protocol })
  reader.counters.reset()
  const send = (name: string, [cla, ins, p1, p2]: number[], data: string, responseBytes: number) =>
    connection?.transaction({}, async (channel) => {
      const command = { name, cla, ins, p1, p2, data: bytesOf(data), responseBytes } as NamedCommand
      const response = await exchange(channel, command)
      expect(decodeResponse(Uint8Array.of(response.sw >> 8, response.sw & 0xff)).sw).toBe(0x9000)
    })
  await send('SELECT', [0, 0xa4, 4, 0], 'a00000030800001000', 256)
  await send('GET DATA', [0, 0xcb, 0x3f, 0xff], '5c035fc105', 65_536)
  await send('VERIFY', [0, 0x20, 0, 0x80], '313233343536ffff', 0)
  await send('GENERAL AUTHENTICATE', [0, 0x87, 0x11, 0x9c], `7c2482008120${'5a'.repeat(32)}`, 256)
}

describe.skipIf(judgeMissing !== undefined)('the number of blocks for the same commands', () => {
  it.each([
    { protocol: 'T=1', fewer: 3 },
    { protocol: 'T=0', fewer: 0 },
  ] as const)('is at least $fewer lower than with libccid over $protocol', async ({ protocol, fewer }) => {
    const profile = readerProfiles.gemPcTwin
    const make = () => {
      const card = createPivCard({ protocols: protocol })
      const reader = new VirtualCcidReader(profile)
      reader.insert(card)
      return { card, reader }
    }
    const theirs = make()
    const driver = await libccid(theirs.reader)
    await driver.atr()
    await driver.connect(protocol)
    theirs.reader.counters.reset()
    await byHand(driver, theirs.card)
    const own = make()
    await byOurs(own.reader, protocol)
    const blocks = ({ counters }: VirtualCcidReader): number => counters.messages.get('XfrBlock') ?? 0
    console.log(`${protocol}: ${blocks(own.reader)} XfrBlock messages, libccid ${blocks(theirs.reader)}`)
    expect(blocks(own.reader)).toBeLessThanOrEqual(blocks(theirs.reader) - fewer)
  })
})
