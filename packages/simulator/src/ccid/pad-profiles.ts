/**
 * Profiles of readers with a PIN pad, from the descriptor dumps of libccid. Each comment starts with the file name of
 * the dump; `pad` holds deviations of the firmware.
 */
import type { ReaderProfile } from './reader-profile.ts'

/** SPR532 and Cherry ST-2xxx have no display: a modification has no messages, but all three message indices. */
const scmPad = { modifyMessages: 0, hasThreeIndices: true } as const

/** Readers with a PIN pad. */
export const padProfiles: Readonly<
  Record<
    | 'cherrySt2000'
    | 'cherryKc1000'
    | 'cyberJackPinpad'
    | 'dellSk3106'
    | 'ezioShield'
    | 'gemPcPinpad'
    | 'hpKus0133'
    | 'qemuUsbCcid'
    | 'spr532',
    ReaderProfile
  >
> = {
  /** CherrySmartTerminalST2XXX.txt: vendor class, TPDU level. */
  cherrySt2000: {
    vendorId: 0x046a,
    productId: 0x003e,
    deviceVersion: 0x0601,
    manufacturer: 'Cherry GmbH',
    product: 'SmartTerminal ST-2xxx',
    interfaceClass: 0xff,
    ccidDescriptor:
      '36210001000103000000a00f0000401f000000012a00002940050000fe0000000000000000000000ba0001000e010000ffff00000301',
    interrupt: true,
    pad: scmPad,
  },
  /** Cherry_KC_1000_SC.txt: Smart Card class, extended APDU level. */
  cherryKc1000: {
    vendorId: 0x046a,
    productId: 0x00a1,
    deviceVersion: 0x0102,
    manufacturer: 'Cherry',
    product: 'KC 1000 SC',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000703000000c0120000401f000004002a0000e74c060060fe0000000700000000000000ba0704000f010000ffff00000301',
    interrupt: true,
    clockFrequenciesKHz: [4000, 4800, 6000, 8000],
    dataRatesBps: [
      10752, 21505, 43010, 86021, 172043, 344086, 129032, 215053, 12903, 25806, 51612, 103225, 206451, 412903,
      154838, 258064, 7168, 14336, 28673, 57347, 114695, 229390, 143369, 8602, 17204, 34408, 68817, 137634,
      275268, 5376, 64516, 107526, 6451, 77419, 8064, 16129, 32258, 96774, 161290, 3584, 4301, 2688, 53763,
      3225, 38709, 4032, 48387, 80645, 2150, 2580, 5161, 10322, 20645, 41290, 82580, 30967, 7812, 15625,
      31250, 62500, 125000, 250000, 93750, 156250, 9375, 18750, 37500, 75000, 150000, 300000, 112500, 187500,
      5208, 10416, 20833, 41666, 83333, 166666, 104166, 6250, 12500, 25000, 50000, 100000, 200000, 3906,
      46875, 78125, 4687, 56250, 5859, 11718, 23437, 70312, 117187, 2604,
    ],
  },
  /** ReinerSCT.txt: vendor class, TPDU level; the host sends the PPS request. */
  cyberJackPinpad: {
    vendorId: 0x0c4b,
    productId: 0x0300,
    deviceVersion: 0x0100,
    manufacturer: 'Reiner-SCT',
    product: 'cyberJack pinpad(a)',
    interfaceClass: 0xff,
    ccidDescriptor:
      '36210010000703000000a00f0000401f0000005827000090d0030000fe0000000700000000000000300001000e010000ffff00000301',
    interrupt: true,
  },
  /** DellSK-3106.txt: vendor class, TPDU level, PIN verification only; its class descriptor has type FF. */
  dellSk3106: {
    vendorId: 0x413c,
    productId: 0x2100,
    deviceVersion: 0x0101,
    manufacturer: 'Gemplus',
    product: 'Dell USB Smartcard Keyboard',
    interfaceClass: 0xff,
    ccidDescriptor:
      '36ff0001000303000000a00f0000a00f000000002a000008f8010000fe0000000000000000000000300201000f010000000000000101',
    interrupt: true,
    pad: { verifyMessages: 0, swapsDigits: true, keyReleaseMs: 200 },
  },
  /** Gemalto_Ezio_Shield.txt: Smart Card class, short APDU level, display with 2 lines of 17 characters. */
  ezioShield: {
    vendorId: 0x08e6,
    productId: 0x34c0,
    deviceVersion: 0x0102,
    manufacturer: 'Gemalto',
    product: 'Ezio Shield',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000103000000a00f0000a00f000000002a00001640050000fe0000000000000000000000ba0402000f010000000011020301',
    interrupt: true,
    clockFrequenciesKHz: [4000],
    dataRatesBps: [10753],
    pad: { hasThreeIndices: true },
  },
  /** GemPCPinpad.txt: Smart Card class, TPDU level; the host sends the PPS request. */
  gemPcPinpad: {
    vendorId: 0x08e6,
    productId: 0x3478,
    deviceVersion: 0x0100,
    manufacturer: 'Gemplus',
    product: 'USB GemPCPinpad SmartCard Reader',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36210001000703000000a00f0000a00f000000002a000020a1070000fe0000000000000000000000300201000f010000000000000301',
    interrupt: true,
    clockFrequenciesKHz: [4000],
    dataRatesBps: [
      10753, 14337, 15625, 17204, 20833, 21505, 23438, 25806, 28674, 31250, 32258, 34409, 39063, 41667, 43011,
      46875, 52083, 53763, 57348, 62500, 64516, 68817, 71685, 78125, 83333, 86022, 93750, 104167, 107527,
      114695, 125000, 129032, 143369, 156250, 166667, 172043, 215054, 229391, 250000, 344086, 500000,
    ],
    // Hosts load the messages for the display with this command when they open the reader.
    escapes: ['b2a000'],
    pad: { validation: 2, verifyMessages: 1, hasThreeIndices: true },
  },
  /** HP_kus-0133.txt: Smart Card class, TPDU level, card accept mechanism (dwMechanical 1). */
  hpKus0133: {
    vendorId: 0x03f0,
    productId: 0x0036,
    deviceVersion: 0x0124,
    manufacturer: 'Hewlett-Packard Company',
    product: 'HP USB CCID Smartcard Keyboard',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000303000000c0120000401f0000006732000000b0040000fc0000000000000001000000ba0001000f010000ffff00000301',
    interrupt: true,
    clockFrequenciesKHz: [4800, 6000, 8000, 12000],
  },
  /**
   * QEMU 10.2 (https://gitlab.com/qemu-project/qemu/-/blob/v10.2.2/hw/usb/dev-smartcard-reader.c#L407-410): Smart
   * Card class, TPDU level, T=0; announces a PIN pad (bPINSupport 1) that it does not have.
   */
  qemuUsbCcid: {
    vendorId: 0x08e6,
    productId: 0x4433,
    deviceVersion: 0x0000,
    manufacturer: 'QEMU',
    product: 'QEMU USB CCID',
    interfaceName: 'CCID Interface',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000701000000a00f0000000001000080250000' +
      '00c2010000fe0000000000000000000000fe04010012000100ffff00000101',
    interrupt: true,
    pad: { unknown: ['verify', 'modify'] },
  },
  /** SPR532.txt: vendor class, TPDU level, PPS request at SetParameters. */
  spr532: {
    vendorId: 0x04e6,
    productId: 0xe003,
    deviceVersion: 0x0510,
    manufacturer: 'SCM Microsystems Inc.',
    product: 'SPRx32 USB Smart Card Reader',
    interfaceClass: 0xff,
    ccidDescriptor:
      '36210001000103000000a00f0000401f000000012a00002940050000fe0000000000000000000000ba0001000e010000ffff00000301',
    interrupt: true,
    escapes: ['800200'],
    pad: { ...scmPad, escapeBeforeBareHeader: '800200' },
  },
}
