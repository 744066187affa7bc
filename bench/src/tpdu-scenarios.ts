/** Compares Webtoki with libccid at a virtual reader with TPDU level exchange (CCID 1.1, 3.2), which counts the messages. */
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import { ccidSlots } from '@webtoki/ccid'
import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { startBus } from '@webtoki/simulator/node'
import { firstValueFrom } from 'rxjs'
import type { Counts } from './counted-card.ts'
import { type Exchange, withJudge } from './judge-program.ts'

const nineA = pivSlot(0x9a) as PivSlot
const DIGEST = '5a'.repeat(32)
const CERTIFICATE_BYTES = 913

/** The counts of a reader with TPDU level exchange. */
export interface BlockCounts extends Counts {
  /** The number of PC_to_RDR_XfrBlock messages. */
  readonly xfrBlocks: number
}

/** A comparison with one protocol. */
export interface TpduScenario {
  readonly name: 'piv-t1' | 'piv-t0'
  readonly protocol: 'T=1' | 'T=0'
  /** The minimum number of XfrBlock messages that Webtoki must send fewer than libccid. */
  readonly fewer: number
}

/** The comparisons in the order of the table. */
export const tpduScenarios: readonly TpduScenario[] = [
  { name: 'piv-t1', protocol: 'T=1', fewer: 3 },
  { name: 'piv-t0', protocol: 'T=0', fewer: 0 },
]

/** Returns a GemPC Twin, whose IFSD is 254, with a card whose IFSC is 254. */
function insertedReader(protocol: 'T=0' | 'T=1'): VirtualCcidReader {
  const reader = new VirtualCcidReader(readerProfiles.gemPcTwin)
  reader.insert(createPivCard({ protocols: protocol }))
  return reader
}

function countsOf({ counters }: VirtualCcidReader): BlockCounts {
  const { apdus, bytesToCard, bytesFromCard, usbTransfers, messages } = counters
  return { apdus, bytesToCard, bytesFromCard, usbTransfers, xfrBlocks: messages.get('XfrBlock') ?? 0 }
}

/** Runs SELECT, the certificate of 9A, VERIFY and a P-256 signature with 9C through the driver, in this process. */
export async function tpduByUs({ protocol }: TpduScenario): Promise<BlockCounts> {
  const reader = insertedReader(protocol)
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  try {
    const [slot] = await firstValueFrom(source.slots$)
    if (slot === undefined) throw new Error('The virtual reader has no slot.')
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

/** Runs the same commands, with Le 00, through pcscd and libccid. Resolves to undefined if they cannot run. */
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
    return await withJudge(source, bus, reader, async (exchange) => {
      await exchange('')
      await exchange('reader')
      await exchange('wait present')
      await exchange(`connect ${protocol}`)
      reader.counters.reset()
      await transmit(exchange, '00a4040009a0000003080000100000')
      const objectBytes = (await transmit(exchange, '00cb3fff055c035fc10500')).length / 2
      if (objectBytes !== CERTIFICATE_BYTES) throw new Error(`Object 53 has ${objectBytes} bytes.`)
      await transmit(exchange, '0020008008313233343536ffff')
      await transmit(exchange, `0087119c267c2482008120${DIGEST}00`)
      return { program: 'pcscd + libccid', ...countsOf(reader) }
    })
  } finally {
    await bus.close()
  }
}

/** Sends one command, and GET RESPONSE while the card has more data. Resolves to the data in hex. */
async function transmit(exchange: Exchange, apdu: string): Promise<string> {
  let data = ''
  for (let next = apdu; ; ) {
    const response = (await exchange(`transmit ${next}`)).replace('answer ok ', '')
    data += response.slice(0, -4)
    if (response.endsWith('9000')) return data
    if (response.slice(-4, -2) !== '61') throw new Error(`The card returned ${response} to ${next}.`)
    next = `00c00000${response.slice(-2)}`
  }
}
