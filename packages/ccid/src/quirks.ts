/** What single readers do otherwise than their descriptors or the standard say: one table, with reasons and sources. Loaded with the first reader. */
import type { CardSlot } from '@webtoki/apdu'

/** Which reader it is. */
export interface ReaderIds {
  readonly vendorId: number
  readonly productId: number
  /** bcdDevice. Absent: entries for single firmware versions are left out. */
  readonly firmware?: number | undefined
  /** Absent: entries for single interfaces are left out. */
  readonly interfaceNumber?: number | undefined
}

/** Deviations of one reader. Absent members: none. */
export interface ReaderQuirk {
  /** dwProtocols, dwDefaultClock and dwMaximumClock stand one byte behind their place. */
  readonly isShifted?: true
  /** Real dwMaxIFSD, in bytes. */
  readonly maxIfsdBytes?: number
  /** Cards are not spoken to faster than this, in bits a second. */
  readonly maxDataRateBps?: number
  /** bPINSupport is not to be believed: no PIN is typed there. */
  readonly noPinPad?: true
  /** Takes extended APDUs though it says short ones. */
  readonly isExtended?: true
  /** Takes short APDUs alone though it says extended ones. */
  readonly isShort?: true
  /** S(IFS request) is not sent: the IFSD of the descriptor holds. */
  readonly settlesIfsd?: true
  /** The card is powered off before each power-on. */
  readonly powersOffFirst?: true
  /** Least time-out of each message, in milliseconds. */
  readonly timeoutMs?: number
  /** After this bError at power-on the Escape brings the reader back to ISO 7816, and the card is powered on once more. */
  readonly isoEscape?: { readonly bError: number; readonly escape: readonly number[] }
  /** What its slots are for, in order; no descriptor says it. */
  readonly slotKinds?: readonly CardSlot['kind'][]
  /** Firmware before this (bcdDevice) is known to be faulty. */
  readonly goodFirmware?: number
  /** What its keys want otherwise than CCID 1.1, 6.1.11 has it. */
  readonly pad?: PadQuirk
}

/** Deviations of one reader's keys. Absent members: none. */
export interface PadQuirk {
  /** bNumberMessage if a PIN is verified, and if it is changed. */
  readonly verifyMessages?: number
  readonly modifyMessages?: number
  /** All three bMsgIndex stand in a change, whatever bNumberMessage says. */
  readonly hasThreeIndices?: true
  /** The two bytes of wPINMaxExtraDigit change places. */
  readonly swapsDigits?: true
  /** Wait before a PIN is asked for, in milliseconds. */
  readonly waitMs?: number
  /** If the PIN has no block it goes behind a header without Lc, and this Escape comes first. */
  readonly escapeBeforeBareHeader?: readonly number[]
  /** The confirmation key alone ends an entry. */
  readonly endsByKeyAlone?: true
  /** Least and most digits. */
  readonly pinSizes?: readonly [min: number, max: number]
}

/** One entry, for a person who reads or checks it. */
export interface ListedQuirk {
  /** `vendor:product` in hex, or a vendor alone. */
  readonly id: string
  readonly about: 'reader' | 'PIN pad' | 'firmware'
  readonly why: string
  /** Where it is known from. */
  readonly source: string
}

interface Entry {
  /** `vendor:product` in hex, or a vendor alone. */
  readonly ids: readonly string[]
  readonly quirk: ReaderQuirk
  readonly why: string
  readonly source: string
  /** bcdDevice of the versions that it is about. Absent: all. */
  readonly firmware?: readonly number[]
  readonly interfaceNumber?: number
}

const CCID_C = 'libccid, src/ccid.c'
const CCID_USB_C = 'libccid, src/ccid_usb.c'
const COMMANDS = 'libccid, src/commands.c'
const IFDHANDLER = 'libccid, src/ifdhandler.c'
const DELL_KEYS =
  'takes bNumberMessage 0 alone, and refuses while Enter of the entry before is still down: wait 250 ms'
const NO_DISPLAY = 'has no display: a change has bNumberMessage 0 and all three bMsgIndex all the same'

const faultyFirmware = (id: string, goodFirmware: number): Entry => ({
  ids: [id],
  quirk: { goodFirmware },
  why: `firmware before ${versionOf(goodFirmware)} is known to be faulty`,
  source: CCID_USB_C,
})

/** By vendor and product, as the descriptor dumps name them. What stands later counts more. */
const table: readonly Entry[] = [
  {
    // O2Micro OZ776 and its sibling.
    ids: ['0b97:7762', '0b97:7772'],
    quirk: { maxDataRateBps: 9600 },
    why: 'loses bytes above 9600 baud',
    source: CCID_C,
  },
  {
    // SCR331-DI, its sibling for NTT, SDI010.
    ids: ['04e6:5111', '04e6:5120', '04e6:5121'],
    quirk: { slotKinds: ['contact', 'contactless'] },
    why: 'its second slot is the contactless one',
    source: CCID_C,
  },
  {
    // MySmartPad.
    ids: ['09be:0002'],
    quirk: { isShifted: true, maxIfsdBytes: 254 },
    why: 'its descriptor has protocols and clocks one byte behind their place, and an IFSD of 0',
    source: `${CCID_C}, and readers/MySmartPad.txt`,
  },
  {
    // HP USB Smart Card Keyboard, HP CCID keyboard, Chicony HP Skylab, Fujitsu SmartCase KB.
    ids: ['03f0:1024', '03f0:0036', '04f2:1469', '0bf8:1017'],
    quirk: { noPinPad: true },
    why: 'digits typed as a PIN reach the computer',
    source: CCID_C,
  },
  {
    // C3PO LTC31 v2.
    ids: ['0783:0006'],
    quirk: { noPinPad: true },
    why: 'announces a PIN pad that it has not',
    source: CCID_C,
  },
  {
    // bit4id miniLector EVO.
    ids: ['25dd:3111'],
    quirk: { noPinPad: true },
    why: 'announces a PIN pad for verifying and changing PINs, and has no keys: every login fails on it',
    source: 'OpenSC, issue 2313',
  },
  {
    // OMNIKEY 3x21, 6121 and Aviator, Cherry Smart Terminal xx44, Fujitsu D323: one design.
    ids: ['076b:3031', '076b:6632', '076b:3a21', '046a:00a7', '0bf8:1024'],
    quirk: { noPinPad: true, isExtended: true },
    why: 'announces a PIN pad that it has not, and takes extended APDUs though it says short ones',
    source: CCID_C,
  },
  {
    // Kobil TriBank (EMV CAP, class 3).
    ids: ['0d46:3010'],
    quirk: { isShort: true },
    why: 'says extended APDUs, and takes short ones alone',
    source: CCID_C,
  },
  {
    // Cherry KC 1000 SC. The rule that a chained answer is followed at any level serves it; the entry says why.
    ids: ['046a:00a1'],
    firmware: [0x0100],
    quirk: {},
    why: 'says short APDUs, and sends answers of more than 128 bytes over T=1 in chained parts',
    source: CCID_C,
  },
  {
    // Diebold Nixdorf PN7362au.
    ids: ['2f7c:6007'],
    quirk: {},
    why: 'says short APDUs, and sends long answers in chained parts',
    source: CCID_C,
  },
  {
    // SafeNet eToken 5110 SC.
    ids: ['0529:0620'],
    firmware: [0x0012, 0x0013],
    quirk: { settlesIfsd: true },
    why: 'its card does not bear S(IFS request)',
    source: CCID_C,
  },
  {
    // Kobil IDToken.
    ids: ['0d46:301d'],
    quirk: { powersOffFirst: true },
    why: 'its German eID card wakes up only if it was powered off before',
    source: IFDHANDLER,
  },
  {
    // Microchip SEC1210, the second interface.
    ids: ['0424:1202'],
    interfaceNumber: 1,
    quirk: { powersOffFirst: true },
    why: 'the card of its second interface wakes up only if it was powered off before',
    source: IFDHANDLER,
  },
  {
    // id3 CL1356.
    ids: ['0b81:0200'],
    quirk: { timeoutMs: 60_000 },
    why: 'needs up to a minute for an answer',
    source: CCID_C,
  },
  {
    // GemPC433 SL, Cherry SmartBoard XX33.
    ids: ['08e6:4433', '046a:0005'],
    quirk: { isoEscape: { bError: 0xbb, escape: [0x1f, 0x01] } },
    why: 'may be in EMV mode and then refuses cards (bError BB): Escape 1F 01 brings it back to ISO 7816',
    source: COMMANDS,
  },
  {
    // Gemalto. Firmware that tells by Escape 6A that it was mended is served as well by three sentences.
    ids: ['08e6'],
    quirk: { pad: { hasThreeIndices: true } },
    why: 'a change has all three bMsgIndex, whatever bNumberMessage says',
    source: COMMANDS,
  },
  {
    // GemPC Pinpad, and Covadis Véga-Alpha with the same firmware.
    ids: ['08e6:3478', '0982:0008'],
    quirk: { pad: { verifyMessages: 1, hasThreeIndices: true, endsByKeyAlone: true, pinSizes: [4, 8] } },
    why: 'takes bNumberMessage 1 alone for a PIN and the confirmation key alone as its end; a change has all three bMsgIndex',
    source: `${COMMANDS} and ifdhandler.c`,
  },
  {
    // SCM SPR532.
    ids: ['04e6:e003'],
    quirk: { pad: { modifyMessages: 0, hasThreeIndices: true, escapeBeforeBareHeader: [0x80, 0x02, 0x00] } },
    why: `${NO_DISPLAY}; a PIN without a block goes behind a bare header after Escape 80 02 00, else it is padded`,
    source: COMMANDS,
  },
  {
    // Cherry SmartTerminal ST-2xxx.
    ids: ['046a:003e'],
    quirk: { pad: { modifyMessages: 0, hasThreeIndices: true, endsByKeyAlone: true, pinSizes: [0, 25] } },
    why: NO_DISPLAY,
    source: `${COMMANDS} and ifdhandler.c`,
  },
  {
    // Cherry SmartTerminal XX44.
    ids: ['046a:0010'],
    quirk: { pad: { modifyMessages: 3, hasThreeIndices: true } },
    why: 'a change with fewer than three sentences reaches the card garbled (6B80)',
    source: COMMANDS,
  },
  {
    // Cherry KC 1000 SC.
    ids: ['046a:00a1'],
    quirk: { pad: { pinSizes: [0, 32] } },
    why: 'PINs of at most 32 digits',
    source: `${IFDHANDLER} (PC/SC part 10 properties)`,
  },
  {
    // OMNIKEY 3821.
    ids: ['076b:3821'],
    quirk: { pad: { pinSizes: [1, 31] } },
    why: 'PINs of 1 to 31 digits',
    source: `${IFDHANDLER} (PC/SC part 10 properties)`,
  },
  {
    // Dell SK-3106.
    ids: ['413c:2100'],
    quirk: { pad: { verifyMessages: 0, waitMs: 250, swapsDigits: true } },
    why: `${DELL_KEYS}; least and most digits change places`,
    source: COMMANDS,
  },
  {
    // The Dell keyboard after it.
    ids: ['413c:2101'],
    quirk: { pad: { verifyMessages: 0, waitMs: 250 } },
    why: DELL_KEYS,
    source: COMMANDS,
  },
  // SCR331, SCR331-DI, SPR532, SCL010.
  faultyFirmware('04e6:e001', 0x0516),
  faultyFirmware('04e6:5111', 0x0620),
  faultyFirmware('04e6:e003', 0x0510),
  faultyFirmware('04e6:5291', 0x0112),
  // KAAN Base and Advanced.
  faultyFirmware('0d46:3001', 0x0037),
  faultyFirmware('0d46:3002', 0x0037),
  // ActivCard V2.
  faultyFirmware('09c3:0008', 0x0203),
  // ASE IIIe and IIIe KB, Athena IDProtect Key v2.
  faultyFirmware('0dc3:1004', 0x0502),
  faultyFirmware('0dc3:1102', 0x0607),
  faultyFirmware('0dc3:0900', 0x0200),
  // Alcor AU9520-G.
  faultyFirmware('058f:9520', 0x0102),
  // ACS ACR122U.
  faultyFirmware('072f:2200', 0x0206),
  // Precise 200 MC and 250 MC.
  faultyFirmware('08c3:0402', 0x5000),
  faultyFirmware('08c3:0401', 0x5000),
  // Todos Argos Mini II.
  faultyFirmware('0b0c:0050', 0x0101),
  // HP CCID keyboard.
  faultyFirmware('03f0:0036', 0x0124),
  // THRC reader.
  faultyFirmware('062d:0001', 0x0102),
  // O2Micro OZ776S.
  faultyFirmware('0b97:7762', 0x0111),
]

/** bcdDevice of a device. */
export function firmwareOf({
  deviceVersionMajor,
  deviceVersionMinor,
  deviceVersionSubminor,
}: USBDevice): number {
  return (deviceVersionMajor << 8) | (deviceVersionMinor << 4) | deviceVersionSubminor
}

const hex4 = (value: number): string => value.toString(16).padStart(4, '0')

/** A bcdDevice as makers print it: 5.16. */
export function versionOf(bcdDevice: number): string {
  const low = (bcdDevice & 0xff).toString(16).padStart(2, '0')
  return `${(bcdDevice >> 8).toString(16)}.${low}`
}

const productOf = ({ vendorId, productId }: ReaderIds): string => `${hex4(vendorId)}:${hex4(productId)}`

function entriesOf({ vendorId, productId, firmware, interfaceNumber }: ReaderIds): readonly Entry[] {
  const vendor = hex4(vendorId)
  const product = productOf({ vendorId, productId })
  return table.filter(
    (entry) =>
      (entry.ids.includes(product) || entry.ids.includes(vendor)) &&
      (entry.firmware === undefined || (firmware !== undefined && entry.firmware.includes(firmware))) &&
      (entry.interfaceNumber === undefined || entry.interfaceNumber === interfaceNumber) &&
      isFaulty(entry, firmware),
  )
}

/** An entry about faulty firmware counts until the version is known to be a good one. */
function isFaulty({ quirk: { goodFirmware } }: Entry, firmware: number | undefined): boolean {
  return goodFirmware === undefined || firmware === undefined || firmware < goodFirmware
}

/** All that is known of a reader, in one; empty: nothing. */
export function quirkOf(ids: ReaderIds): ReaderQuirk {
  return Object.freeze(Object.assign({}, ...entriesOf(ids).map(({ quirk }) => quirk)) as ReaderQuirk)
}

/** The entries that count for a reader. */
export function quirksOf(ids: ReaderIds): readonly ListedQuirk[] {
  const entries = entriesOf(ids)
  const product = productOf(ids)
  const lastPad = entries.findLast(({ quirk }) => quirk.pad !== undefined)
  return entries
    .filter((entry) => entry.quirk.pad === undefined || entry === lastPad)
    .map((entry) => listed(entry, entry.ids.includes(product) ? product : hex4(ids.vendorId)))
}

/** All entries, by their ids. */
export function listQuirks(): readonly ListedQuirk[] {
  return table
    .flatMap((entry) => entry.ids.map((id) => listed(entry, id)))
    .sort((one, other) => one.id.localeCompare(other.id))
}

function listed(entry: Entry, id: string): ListedQuirk {
  const { quirk, source, firmware, interfaceNumber } = entry
  const about = quirk.pad !== undefined ? 'PIN pad' : quirk.goodFirmware !== undefined ? 'firmware' : 'reader'
  const versions = firmware === undefined ? '' : `firmware ${firmware.map(versionOf).join(' and ')}: `
  const place = interfaceNumber === undefined ? '' : `interface ${interfaceNumber}: `
  return { id, about, why: `${versions}${place}${entry.why}`, source }
}
