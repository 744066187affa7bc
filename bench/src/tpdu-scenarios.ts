/** The same work over blocks: a reader that takes TPDUs, driven by us and by libccid, counted in the reader. */
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import { ccidSlots } from '@webtoki/ccid'
import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { startBus } from '@webtoki/simulator/node'
import { firstValueFrom } from 'rxjs'
import type { Counts } from './counted-card.ts'
import { type Ask, withJudge } from './judge-program.ts'

const nineA = pivSlot(0x9a) as PivSlot
const DIGEST = '5a'.repeat(32)
const CERTIFICATE_BYTES = 913

/** What a side cost; `xfrBlocks` are the bulk-OUT messages that carried something to the card. */
export interface BlockCounts extends Counts {
  readonly xfrBlocks: number
}

/** One protocol, both sides. */
export interface TpduScenario {
  readonly name: 'piv-t1' | 'piv-t0'
  readonly protocol: 'T=1' | 'T=0'
  /** How many bulk-OUT messages fewer than libccid's ours has to be, at least. */
  readonly fewer: number
}

/** In the order of the table. */
export const tpduScenarios: readonly TpduScenario[] = [
  { name: 'piv-t1', protocol: 'T=1', fewer: 3 },
  { name: 'piv-t0', protocol: 'T=0', fewer: 0 },
]

/** SELECT PIV, the certificate of 9A, VERIFY and a P-256 signature with 9C. GemPC Twin: IFSD 254, a card of IFSC 254. */
function insertedReader(protocol: 'T=0' | 'T=1'): VirtualCcidReader {
  const reader = new VirtualCcidReader(readerProfiles.gemPcTwin)
  reader.insert(createPivCard({ protocols: protocol }))
  return reader
}

function countsOf({ counters }: VirtualCcidReader): BlockCounts {
  const { apdus, bytesToCard, bytesFromCard, usbTransfers, messages } = counters
  return { apdus, bytesToCard, bytesFromCard, usbTransfers, xfrBlocks: messages.get('XfrBlock') ?? 0 }
}

/** By our driver and applet, in this process. */
export async function tpduByUs({ protocol }: TpduScenario): Promise<BlockCounts> {
  const reader = insertedReader(protocol)
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  try {
    const [slot] = await firstValueFrom(source.slots$)
    if (slot === undefined) throw new Error('The virtual reader did not show up.')
    const connection = await slot.connect({ protocol })
    reader.counters.reset()
    const applet = new PivApplet(connection)
    await connection.transaction(applet, async (channel) => {
      await applet.select(channel)
      const object = await applet.readObject(channel, nineA.certificateTag)
      if (object?.length !== CERTIFICATE_BYTES) throw new Error(`Object 53 has ${object?.length} bytes.`)
      const verify = {
        name: 'VERIFY',
        cla: 0,
        ins: 0x20,
        p1: 0,
        p2: 0x80,
        data: Buffer.from('313233343536ffff', 'hex'),
      }
      await applet.exchange(channel, verify, { sensitive: true })
      const challenge = { tag: 0x81 as const, value: Uint8Array.from(Buffer.from(DIGEST, 'hex')) }
      await applet.generalAuthenticate(channel, 0x11, 0x9c, challenge)
    })
    return countsOf(reader)
  } finally {
    await source.close()
  }
}

/** By libccid, whose caller sends the same commands with Le 00; undefined where it cannot run. */
export async function tpduByLibccid({
  protocol,
}: TpduScenario): Promise<(BlockCounts & { readonly program: string }) | undefined> {
  const bus = await startBus()
  try {
    const reader = insertedReader(protocol)
    bus.plug(reader)
    const source = {
      file: '../packages/simulator/test/bus/pcsc-host.c',
      flags: ['-I/usr/include/PCSC', '-lpcsclite'],
      needs: ['/usr/include/PCSC/winscard.h'],
    }
    return await withJudge(source, bus, reader, async (ask) => {
      await ask('')
      await ask('reader')
      await ask('wait present')
      await ask(`connect ${protocol}`)
      reader.counters.reset()
      await follow(ask, '00a4040009a0000003080000100000')
      const objectBytes = (await follow(ask, '00cb3fff055c035fc10500')).length / 2
      if (objectBytes !== CERTIFICATE_BYTES) throw new Error(`Object 53 has ${objectBytes} bytes.`)
      await follow(ask, '0020008008313233343536ffff')
      await follow(ask, `0087119c267c2482008120${DIGEST}00`)
      return { program: 'pcscd + libccid', ...countsOf(reader) }
    })
  } finally {
    await bus.close()
  }
}

/** One command; what the card still holds is fetched by GET RESPONSE. Resolves to the data in hex. */
async function follow(ask: Ask, apdu: string): Promise<string> {
  let data = ''
  for (let next = apdu; ; ) {
    const answer = (await ask(`transmit ${next}`)).replace('answer ok ', '')
    data += answer.slice(0, -4)
    if (answer.endsWith('9000')) return data
    if (answer.slice(-4, -2) !== '61') throw new Error(`The card answered ${answer}.`)
    next = `00c00000${answer.slice(-2)}`
  }
}
