/**
 * Deviations of individual readers from their descriptors or the standard, each with its reason and source. Loaded
 * with the first reader.
 */
import type { CardSlot } from '@webtoki/apdu'

/** Identifies a reader. */
export interface ReaderIds {
  readonly vendorId: number
  readonly productId: number
  /** bcdDevice. Absent: entries for specific firmware versions are skipped. */
  readonly firmware?: number | undefined
  /** Absent: entries for specific interfaces are skipped. */
  readonly interfaceNumber?: number | undefined
}

/** The deviations of one reader. An absent member means no deviation. */
export interface ReaderQuirk {
  /** dwProtocols, dwDefaultClock and dwMaximumClock are shifted by one byte. */
  readonly isShifted?: true
  /** The correct dwMaxIFSD, in bytes. */
  readonly maxIfsdBytes?: number
  /** Upper limit of the data rate, in bits per second. */
  readonly maxDataRateBps?: number
  /** bPINSupport is wrong, so the PIN pad is not used. */
  readonly noPinPad?: true
  /** Takes extended APDUs although its descriptor states short ones. */
  readonly isExtended?: true
  /** Takes only short APDUs although its descriptor states extended ones. */
  readonly isShort?: true
  /** S(IFS request) is not sent, and the descriptor's IFSD applies. */
  readonly settlesIfsd?: true
  /** The card is powered off before each power-on. */
  readonly powersOffFirst?: true
  /** Minimum time-out of each message, in milliseconds. */
  readonly timeoutMs?: number
  /** If power-on fails with this bError, the Escape returns the reader to ISO 7816 mode, and power-on is repeated. */
  readonly isoEscape?: { readonly bError: number; readonly escape: readonly number[] }
  /** The kinds of its slots in order, which no descriptor states. */
  readonly slotKinds?: readonly CardSlot['kind'][]
  /** The first version (bcdDevice) without known faults. */
  readonly goodFirmware?: number
  /** Deviations of its PIN pad from CCID 1.1, 6.1.11. */
  readonly pad?: PadQuirk
}

/** The deviations of a reader's PIN pad. An absent member means no deviation. */
export interface PadQuirk {
  /** bNumberMessage of a verification and of a modification. */
  readonly verifyMessages?: number
  readonly modifyMessages?: number
  /** A modification contains all three bMsgIndex, whatever bNumberMessage states. */
  readonly hasThreeIndices?: true
  /** The two bytes of wPINMaxExtraDigit are swapped. */
  readonly swapsDigits?: true
  /** Pause before a PIN entry, in milliseconds. */
  readonly waitMs?: number
  /** A PIN without a block is appended to a header without Lc, and this Escape is sent first. */
  readonly escapeBeforeBareHeader?: readonly number[]
  /** Only the confirmation key ends an entry. */
  readonly endsByKeyAlone?: true
  /** Minimum and maximum number of digits. */
  readonly pinSizes?: readonly [min: number, max: number]
}

/** One deviation, for display. */
export interface ListedQuirk {
  /** `vendor:product` in hex, or a vendor alone. */
  readonly id: string
  readonly about: 'reader' | 'PIN pad' | 'firmware'
  readonly why: string
  /** Links to the source lines that document the deviation, joined by " and ". */
  readonly source: string
}

interface Entry {
  /** `vendor:product` in hex, or a vendor alone. */
  readonly ids: readonly string[]
  readonly quirk: ReaderQuirk
  readonly why: string
  /** File and lines in the folder `src` of libccid, such as `ccid.c#L65-L67`, or a link. */
  readonly sources: readonly string[]
  /** The firmware versions (bcdDevice) concerned. Absent: all. */
  readonly firmware?: readonly number[]
  readonly interfaceNumber?: number
}

const CCID_REPOSITORY = 'https://github.com/LudovicRousseau/CCID/blob/'
/** libccid 1.8.4, to which the line numbers refer. */
const LIBCCID_SOURCE = `${CCID_REPOSITORY}1.8.4/src/`
const GEMALTO_MODIFICATION = ['commands.c#L630-L659', 'commands.c#L787-L803']
const DELL_KEYS =
  'accepts only bNumberMessage 0, and refuses while Enter of the previous entry is pressed: wait 250 ms'
const NO_DISPLAY = 'has no display: a modification has bNumberMessage 0 and still all three bMsgIndex'

const faultyFirmware = (id: string, goodFirmware: number, line: number): Entry => ({
  ids: [id],
  quirk: { goodFirmware },
  why: `firmware before ${versionOf(goodFirmware)} is known to be faulty`,
  sources: [`ccid_usb.c#L${line}`],
})

/** By vendor and product id, as in the descriptor dumps. Later entries take precedence. */
const table: readonly Entry[] = [
  {
    // O2Micro OZ776 and its variant.
    ids: ['0b97:7762', '0b97:7772'],
    quirk: { maxDataRateBps: 9600 },
    why: 'loses bytes above 9600 baud',
    sources: ['ccid.c#L90-L93'],
  },
  {
    // SCR331-DI, its variant for NTT, SDI010.
    ids: ['04e6:5111', '04e6:5120', '04e6:5121'],
    quirk: { slotKinds: ['contact', 'contactless'] },
    why: 'its second slot is the contactless one',
    sources: ['ccid.c#L558-L564'],
  },
  {
    // MySmartPad.
    ids: ['09be:0002'],
    quirk: { isShifted: true, maxIfsdBytes: 254 },
    why: 'its descriptor has protocols and clocks one byte too late, and an IFSD of 0',
    sources: [
      'ccid.c#L65-L67',
      `${CCID_REPOSITORY}909efd9f44debbb00aca3016e5cf5f2951a744ac/readers/MySmartPad.txt#L25-L34`,
    ],
  },
  {
    // HP USB Smart Card Keyboard, HP CCID keyboard, Chicony HP Skylab, Fujitsu SmartCase KB.
    ids: ['03f0:1024', '03f0:0036', '04f2:1469', '0bf8:1017'],
    quirk: { noPinPad: true },
    why: 'the digits of a PIN reach the computer',
    sources: ['ccid.c#L518-L530'],
  },
  {
    // C3PO LTC31 v2.
    ids: ['0783:0006'],
    quirk: { noPinPad: true },
    why: 'announces a PIN pad but has none',
    sources: ['ccid.c#L529-L531'],
  },
  {
    // bit4id miniLector EVO.
    ids: ['25dd:3111'],
    quirk: { noPinPad: true },
    why: 'announces PIN verification and modification but has no keys, so every login would fail',
    sources: ['ccid.c#L618-L622', 'https://github.com/OpenSC/OpenSC/issues/2313'],
  },
  {
    // OMNIKEY 3x21, 6121 and Aviator, Cherry Smart Terminal xx44, Fujitsu D323: the same design.
    ids: ['076b:3031', '076b:6632', '076b:3a21', '046a:00a7', '0bf8:1024'],
    quirk: { noPinPad: true, isExtended: true },
    why: 'announces a PIN pad but has none, and accepts extended APDUs although it states short ones',
    sources: ['ccid.c#L533-L543'],
  },
  {
    // Kobil TriBank (EMV CAP, class 3).
    ids: ['0d46:3010'],
    quirk: { isShort: true },
    why: 'states extended APDUs but accepts only short ones',
    sources: ['ccid.c#L545-L549'],
  },
  {
    // Cherry KC 1000 SC. Needs no special code, because chained responses are followed at any level. The entry
    // documents why.
    ids: ['046a:00a1'],
    firmware: [0x0100],
    quirk: {},
    why: 'states short APDUs but chains responses of more than 128 bytes over T=1',
    sources: ['ccid.c#L595-L608'],
  },
  {
    // Diebold Nixdorf PN7362au.
    ids: ['2f7c:6007'],
    quirk: {},
    why: 'states short APDUs but chains long responses',
    sources: ['ccid.c#L551-L555'],
  },
  {
    // SafeNet eToken 5110 SC.
    ids: ['0529:0620'],
    firmware: [0x0012, 0x0013],
    quirk: { settlesIfsd: true },
    why: 'its card does not tolerate S(IFS request)',
    sources: ['ccid.c#L624-L630'],
  },
  {
    // Kobil IDToken.
    ids: ['0d46:301d'],
    quirk: { powersOffFirst: true },
    why: 'its German eID card powers on only after it was powered off',
    sources: ['ifdhandler.c#L1346-L1348'],
  },
  {
    // Microchip SEC1210, the second interface.
    ids: ['0424:1202'],
    interfaceNumber: 1,
    quirk: { powersOffFirst: true },
    why: 'the card of its second interface powers on only after it was powered off',
    sources: ['ifdhandler.c#L1350-L1352'],
  },
  {
    // id3 CL1356.
    ids: ['0b81:0200'],
    quirk: { timeoutMs: 60_000 },
    why: 'needs up to a minute for a response',
    sources: ['ccid.c#L69-L73'],
  },
  {
    // GemPC433 SL, Cherry SmartBoard XX33.
    ids: ['08e6:4433', '046a:0005'],
    quirk: { isoEscape: { bError: 0xbb, escape: [0x1f, 0x01] } },
    why: 'may be in EMV mode and then refuses cards (bError BB): Escape 1F 01 returns it to ISO 7816 mode',
    sources: ['commands.c#L245-L262'],
  },
  {
    // Gemalto. Firmware that reports by Escape 6A that the fault is fixed also accepts three indices.
    ids: ['08e6'],
    quirk: { pad: { hasThreeIndices: true } },
    why: 'a modification has all three bMsgIndex, whatever bNumberMessage states',
    sources: GEMALTO_MODIFICATION,
  },
  {
    // GemPC Pinpad, and Covadis Véga-Alpha with the same firmware.
    ids: ['08e6:3478', '0982:0008'],
    quirk: { pad: { verifyMessages: 1, hasThreeIndices: true, endsByKeyAlone: true, pinSizes: [4, 8] } },
    why: 'accepts only bNumberMessage 1 and the confirmation key as the end; a modification has all three bMsgIndex',
    sources: ['commands.c#L372-L394', ...GEMALTO_MODIFICATION, 'ifdhandler.c#L1826-L1846'],
  },
  {
    // SCM SPR532.
    ids: ['04e6:e003'],
    quirk: { pad: { modifyMessages: 0, hasThreeIndices: true, escapeBeforeBareHeader: [0x80, 0x02, 0x00] } },
    why: `${NO_DISPLAY}; a PIN without a block follows a bare header after Escape 80 02 00, otherwise it is padded`,
    sources: ['commands.c#L481-L503', 'commands.c#L740-L750'],
  },
  {
    // Cherry SmartTerminal ST-2xxx.
    ids: ['046a:003e'],
    quirk: { pad: { modifyMessages: 0, hasThreeIndices: true, endsByKeyAlone: true, pinSizes: [0, 25] } },
    why: NO_DISPLAY,
    sources: ['commands.c#L740-L750', 'ifdhandler.c#L1848-L1865'],
  },
  {
    // Cherry SmartTerminal XX44.
    ids: ['046a:0010'],
    quirk: { pad: { modifyMessages: 3, hasThreeIndices: true } },
    why: 'a modification with fewer than three prompts reaches the card corrupted (6B80)',
    sources: ['commands.c#L752-L759'],
  },
  {
    // Cherry KC 1000 SC.
    ids: ['046a:00a1'],
    quirk: { pad: { pinSizes: [0, 32] } },
    why: 'PINs of at most 32 digits',
    sources: ['ifdhandler.c#L1867-L1879'],
  },
  {
    // OMNIKEY 3821.
    ids: ['076b:3821'],
    quirk: { pad: { pinSizes: [1, 31] } },
    why: 'PINs of 1 to 31 digits',
    sources: ['ifdhandler.c#L1881-L1893'],
  },
  {
    // Dell SK-3106.
    ids: ['413c:2100'],
    quirk: { pad: { verifyMessages: 0, waitMs: 250, swapsDigits: true } },
    why: `${DELL_KEYS}; minimum and maximum digits are swapped`,
    sources: ['commands.c#L408-L434'],
  },
  {
    // The successor of the Dell SK-3106.
    ids: ['413c:2101'],
    quirk: { pad: { verifyMessages: 0, waitMs: 250 } },
    why: DELL_KEYS,
    sources: ['commands.c#L408-L423'],
  },
  // SCR331, SCR331-DI, SPR532, SCL010.
  faultyFirmware('04e6:e001', 0x0516, 95),
  faultyFirmware('04e6:5111', 0x0620, 96),
  faultyFirmware('04e6:e003', 0x0510, 97),
  faultyFirmware('04e6:5291', 0x0112, 111),
  // KAAN Base and Advanced.
  faultyFirmware('0d46:3001', 0x0037, 98),
  faultyFirmware('0d46:3002', 0x0037, 99),
  // ActivCard V2.
  faultyFirmware('09c3:0008', 0x0203, 100),
  // ASE IIIe and IIIe KB, Athena IDProtect Key v2.
  faultyFirmware('0dc3:1004', 0x0502, 101),
  faultyFirmware('0dc3:1102', 0x0607, 102),
  faultyFirmware('0dc3:0900', 0x0200, 108),
  // Alcor AU9520-G.
  faultyFirmware('058f:9520', 0x0102, 103),
  // ACS ACR122U.
  faultyFirmware('072f:2200', 0x0206, 104),
  // Precise 200 MC and 250 MC.
  faultyFirmware('08c3:0402', 0x5000, 105),
  faultyFirmware('08c3:0401', 0x5000, 106),
  // Todos Argos Mini II.
  faultyFirmware('0b0c:0050', 0x0101, 107),
  // HP CCID keyboard.
  faultyFirmware('03f0:0036', 0x0124, 109),
  // THRC reader.
  faultyFirmware('062d:0001', 0x0102, 110),
  // O2Micro OZ776S.
  faultyFirmware('0b97:7762', 0x0111, 116),
]

/** Returns the bcdDevice of a device. */
export function firmwareOf({
  deviceVersionMajor,
  deviceVersionMinor,
  deviceVersionSubminor,
}: USBDevice): number {
  return (deviceVersionMajor << 8) | (deviceVersionMinor << 4) | deviceVersionSubminor
}

const hex4 = (value: number): string => value.toString(16).padStart(4, '0')

/** Formats a bcdDevice as manufacturers print it, for example 5.16. */
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

/** An entry about faulty firmware applies unless the version is known to be good. */
function isFaulty({ quirk: { goodFirmware } }: Entry, firmware: number | undefined): boolean {
  return goodFirmware === undefined || firmware === undefined || firmware < goodFirmware
}

/** Returns all deviations of a reader as one object; empty if none is known. */
export function quirkOf(ids: ReaderIds): ReaderQuirk {
  return Object.freeze(Object.assign({}, ...entriesOf(ids).map(({ quirk }) => quirk)) as ReaderQuirk)
}

/** Returns the entries that apply to a reader. */
export function quirksOf(ids: ReaderIds): readonly ListedQuirk[] {
  const entries = entriesOf(ids)
  const product = productOf(ids)
  const lastPad = entries.findLast(({ quirk }) => quirk.pad !== undefined)
  return entries
    .filter((entry) => entry.quirk.pad === undefined || entry === lastPad)
    .map((entry) => listed(entry, entry.ids.includes(product) ? product : hex4(ids.vendorId)))
}

/** Returns all entries, sorted by id. */
export function listQuirks(): readonly ListedQuirk[] {
  return table
    .flatMap((entry) => entry.ids.map((id) => listed(entry, id)))
    .sort((one, other) => one.id.localeCompare(other.id))
}

function listed(entry: Entry, id: string): ListedQuirk {
  const { quirk, firmware, interfaceNumber } = entry
  const about = quirk.pad !== undefined ? 'PIN pad' : quirk.goodFirmware !== undefined ? 'firmware' : 'reader'
  const versions = firmware === undefined ? '' : `firmware ${firmware.map(versionOf).join(' and ')}: `
  const place = interfaceNumber === undefined ? '' : `interface ${interfaceNumber}: `
  const source = entry.sources.map(linkTo).join(' and ')
  return { id, about, why: `${versions}${place}${entry.why}`, source }
}

const linkTo = (source: string): string =>
  source.startsWith('https:') ? source : `${LIBCCID_SOURCE}${source}`
