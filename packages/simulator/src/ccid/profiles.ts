/** Profiles of readers, from the descriptor dumps of libccid. Each comment starts with the file name of the dump. */
import { fromHex } from '../bytes.ts'
import {
  configurationDescriptor,
  deviceDescriptor,
  endpointDescriptor,
  interfaceDescriptor,
} from '../usb/descriptors.ts'
import type { PacketDeviceParts } from '../usb/packet-device.ts'
import { padProfiles } from './pad-profiles.ts'
import type { CompositeProfile, DeviceProfile, InterfaceProfile, ReaderProfile } from './reader-profile.ts'

/** Endpoint addresses. They are invented, because the dumps do not contain them. */
export const endpoints = { bulkIn: 0x81, bulkOut: 0x02, interruptIn: 0x83 } as const

const INTERRUPT_BYTES = 8

/** Readers with one CCID interface. */
export const readerProfiles: Readonly<
  Record<
    | 'dualiAbcm6'
    | 'omnikey3021'
    | 'yubikey4'
    | 'nitrokey3'
    | 'rutokenLite'
    | 'scr331'
    | 'gemPcTwin'
    | 'gemPc433Sl'
    | 'hsic'
    | 'jinmuyuMr800'
    | 'weneo'
    | 'scr3310Ntt'
    | 'sdi011'
    | 'springCardE518'
    | 'sysmoOctsim'
    | keyof typeof padProfiles,
    ReaderProfile
  >
> = {
  /** DUALi_DE-ABCM6.txt: vendor class, extended APDU level. */
  dualiAbcm6: {
    vendorId: 0x1db2,
    productId: 0x0600,
    deviceVersion: 0x0100,
    manufacturer: 'DUALi',
    product: 'DE-ABCM6',
    interfaceClass: 0xff,
    ccidDescriptor:
      '36211001000303000000100e0000100e000000cd2500005a73090006fe0000000000000000000000ba060400f6030000000000000001',
    interrupt: true,
  },
  /** CardMan3021.txt: Smart Card class, short APDU level. */
  omnikey3021: {
    vendorId: 0x076b,
    productId: 0x3021,
    deviceVersion: 0x0302,
    manufacturer: 'OMNIKEY AG',
    product: 'Smart Card Reader USB',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36210001000703000000c0120000401f000004002a0000e74c06006afe0000000700000000000000b20702000f010000ffff00000001',
    interrupt: true,
    clockFrequenciesKHz: [4000, 4800, 6000, 8000],
    dataRatesBps: [
      10752, 21505, 43010, 86021, 172043, 344086, 129032, 215053, 12903, 25806, 51612, 103225, 206451, 412903,
      154838, 258064, 7168, 14336, 28673, 57347, 114695, 229390, 143369, 8602, 17204, 34408, 68817, 137634,
      275268, 5376, 64516, 107526, 6451, 77419, 8064, 16129, 32258, 96774, 161290, 3584, 71684, 4301, 2688,
      53763, 3225, 38709, 4032, 48387, 80645, 2150, 2580, 5161, 10322, 20645, 41290, 82580, 30967, 7812,
      15625, 31250, 62500, 125000, 250000, 93750, 156250, 9375, 18750, 37500, 75000, 150000, 300000, 112500,
      187500, 5208, 10416, 20833, 41666, 83333, 166666, 104166, 6250, 12500, 25000, 50000, 100000, 200000,
      3906, 46875, 78125, 4687, 56250, 5859, 11718, 23437, 70312, 117187, 2604, 52083, 3125, 1953, 39062,
      2343, 28125, 2929, 35156, 58593,
    ],
  },
  /** Yubico_Yubikey_4_CCID.txt: Smart Card class, extended APDU level, a card that cannot be removed. */
  yubikey4: {
    vendorId: 0x1050,
    productId: 0x0404,
    deviceVersion: 0x0503,
    manufacturer: 'Yubico',
    product: 'YubiKey CCID',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36210001000702000000a00f0000a00f00000000b0040000b0040000f60b00000000000000000000fe000400000c0000ffff00000001',
    interrupt: true,
  },
  /** Nitrokey_Nitrokey_3.txt: Smart Card class, extended APDU level, no interrupt endpoint. */
  nitrokey3: {
    vendorId: 0x20a0,
    productId: 0x42b2,
    deviceVersion: 0x0002,
    manufacturer: 'Nitrokey',
    product: 'Nitrokey 3',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000102000000fc0d0000fc0d000000802500008025000000fe000000000000000000000040080400000c0000ffff00000001',
    interrupt: false,
    clockFrequenciesKHz: [3580],
    dataRatesBps: [9600],
  },
  /** Aktiv_Rutoken_Lite.txt: Smart Card class, short APDU level, no interrupt endpoint. */
  rutokenLite: {
    vendorId: 0x0a89,
    productId: 0x0025,
    deviceVersion: 0x0100,
    manufacturer: 'Aktiv',
    product: 'Rutoken lite',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000102000000fc0d0000fc0d000000802500008025000000fe0000000000000000000000400802000f010000ffff00000001',
    interrupt: false,
  },
  /**
   * Jinmuyu_Electronics_MR800.txt: Smart Card class, extended APDU level, two slots, no interrupt endpoint, activation
   * at insertion.
   */
  jinmuyuMr800: {
    vendorId: 0x03eb,
    productId: 0x6100,
    deviceVersion: 0x0100,
    manufacturer: 'Jinmuyu Electronics Co., Ltd.',
    product: 'MR800',
    interfaceName: 'CCID',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001010103000000660e0000660e000000802500008025000000fe0000000000000000000000be0104000f020000000000000001',
    interrupt: false,
  },
  /** SCR331.txt: Smart Card class, TPDU level, PPS request at SetParameters. */
  scr331: {
    vendorId: 0x04e6,
    productId: 0xe001,
    deviceVersion: 0x0525,
    manufacturer: 'SCM Microsystems Inc.',
    product: 'SCRx31 USB Smart Card Reader',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000103000000a00f0000401f000000012a00002940050000fc0000000000000000000000ba0001000f010000ffff00000001',
    interrupt: true,
  },
  /** GemPCTwin.txt: Smart Card class, TPDU level; the host sends the PPS request. */
  gemPcTwin: {
    vendorId: 0x08e6,
    productId: 0x3437,
    deviceVersion: 0x0100,
    manufacturer: 'Gemplus',
    product: 'USB SmartCard Reader',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000703000000a00f0000a00f000000002a00001640050000fe0000000000000000000000300201000f010000000000000001',
    interrupt: true,
  },
  /** SCR3310-NTTCom.txt: vendor class, TPDU level, five clock frequencies; the clock can be stopped. */
  scr3310Ntt: {
    vendorId: 0x04e6,
    productId: 0x511a,
    deviceVersion: 0x0203,
    manufacturer: 'NTT Communications Corp.',
    product: 'SCR3310-NTTCom USB SmartCard Reader',
    interfaceClass: 0xff,
    ccidDescriptor:
      '36211001000703000000c0120000401f00000067320000e74c060000fc0000000000000000000000ba0101000f010000ffff00000001',
    interrupt: true,
    clockFrequenciesKHz: [4000, 4800, 6000, 8000, 12000],
    // As in the dump, without duplicates.
    dataRatesBps: [
      10752, 21505, 43010, 86021, 172043, 344086, 129032, 215053, 12903, 25806, 51612, 103225, 206451, 412903,
      154838, 258064, 7168, 14336, 28673, 57347, 114695, 229390, 143369, 5376, 64516, 107526, 4301, 8602,
      17204, 34408, 68817, 137634, 9375, 18750, 37500, 75000, 150000, 300000, 112500, 187500, 7812, 15625,
      31250, 62500, 125000, 250000, 93750, 156250, 5208, 10416, 20833, 41666, 83333, 166666, 104166, 3906,
      46875, 78125,
    ],
  },
  /**
   * SCM_SDI011_512C.txt: vendor class, TPDU level, a contact and a contactless slot, of which one can be busy at a
   * time.
   */
  sdi011: {
    vendorId: 0x04e6,
    productId: 0x512c,
    deviceVersion: 0x0745,
    manufacturer: 'SCM Microsystems Inc.',
    product: 'SDI011 Contactless Reader',
    interfaceName: 'Vendor Interface',
    interfaceClass: 0xff,
    ccidDescriptor:
      '36211001010103000000a00f0000401f000000012a00002940050000fc0000000000000000000000ba0001000f010000ffff00000001',
    interrupt: true,
  },
  /** SpringCard_E518_6112.txt: Smart Card class, extended APDU level, two slots that can be busy at the same time. */
  springCardE518: {
    vendorId: 0x1c34,
    productId: 0x6112,
    deviceVersion: 0x0108,
    manufacturer: 'SpringCard',
    product: 'E518',
    interfaceName: 'CCID',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001010703000000a00f0000a00f000000002a0000900d030000fe00000000000000000000007e04040012000100ffff00000005',
    interrupt: true,
  },
  /** sysmocom_sysmoOCTSIM.txt: Smart Card class, TPDU level, eight slots that can be busy at the same time. */
  sysmoOctsim: {
    vendorId: 0x1d50,
    productId: 0x6141,
    deviceVersion: 0x0000,
    manufacturer: 'sysmocom - s.f.m.c. GmbH',
    product: 'sysmoOCTSIM 0.2.40-172b',
    interfaceName: 'CCID',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001070701000000c4090000204e000004401a000000100e0000000000000000000000000000b000010010010000ffff00000008',
    interrupt: true,
  },
  /**
   * GemPC433_SL.txt: Smart Card class, short APDU level. The packet size of 8, the smallest at full speed (USB 2.0,
   * 5.8.3), is invented, because the dump does not contain it.
   */
  gemPc433Sl: {
    vendorId: 0x08e6,
    productId: 0x4433,
    deviceVersion: 0x0001,
    manufacturer: 'GEMPLUS',
    product: 'Gemplus USB SmartCard Reader 433-Swap',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36210001000103000000a00f0000a00f000000002a00001640050000fe0000000000000000000000720402000f010000000000000001',
    interrupt: true,
    packetBytes: 8,
  },
  /** HSIC_CCID-Reader.txt: Smart Card class, TPDU level, six data rates; the host sends the PPS request. */
  hsic: {
    vendorId: 0x1d99,
    productId: 0x0016,
    deviceVersion: 0x0100,
    manufacturer: 'HSIC',
    product: 'CCID-Reader',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000303000000a00f0000a00f000001002a000090d0030006fe0000000000000000000000000001000f010000000000000001',
    interrupt: true,
    clockFrequenciesKHz: [4000],
    dataRatesBps: [10752, 15625, 31250, 62500, 125000, 250000],
  },
  /**
   * Neowave_Weneo.txt: Smart Card class, TPDU level, five data rates; the host sends the PPS request. At 4 MHz, a card
   * can use only the default rate.
   */
  weneo: {
    vendorId: 0x1e0d,
    productId: 0x8033,
    deviceVersion: 0x0005,
    manufacturer: 'Neowave',
    product: 'Weneo',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36211001000203000000a00f0000a00f0000018025000000c2010005fe0000000000000000000000300001000f010000ffff00000001',
    interrupt: true,
    clockFrequenciesKHz: [4000],
    dataRatesBps: [9600, 19200, 38400, 57600, 115200],
  },
  ...padProfiles,
}

/** The class descriptor of the contact interface and of both SAM interfaces of the Feitian R502. */
const R502_CONTACT =
  '36210001000703000000a00f0000a00f000000002a00002c800a002cfc0000000700000000000000b80201000f010000ffff00000001'

/** Devices with several CCID interfaces. */
export const compositeProfiles: Readonly<
  Record<'feitianR502' | 'identiveCloud4510' | 'identivUtrust4701', CompositeProfile>
> = {
  /**
   * Feitian_R502.txt: contactless (extended APDU level), contact and two SAM interfaces (TPDU level). The SAM
   * interfaces have no interrupt endpoint.
   */
  feitianR502: {
    vendorId: 0x096e,
    productId: 0x060d,
    deviceVersion: 0x0347,
    manufacturer: 'Feitian',
    product: 'R502',
    interfaces: [
      {
        interfaceName: 'R502 Contactless Reader',
        interfaceClass: 0x0b,
        ccidDescriptor:
          '36210001000102000000a00f0000a00f000000002a00002c800a002cfc0000000700000000000000be0404000f010000ffff00000001',
        interrupt: true,
      },
      {
        interfaceName: 'R502 Contact Reader',
        interfaceClass: 0x0b,
        ccidDescriptor: R502_CONTACT,
        interrupt: true,
      },
      {
        interfaceName: 'R502 SAM1 Reader',
        interfaceClass: 0x0b,
        ccidDescriptor: R502_CONTACT,
        interrupt: false,
      },
      {
        interfaceName: 'R502 SAM2 Reader',
        interfaceClass: 0x0b,
        ccidDescriptor: R502_CONTACT,
        interrupt: false,
      },
    ],
  },
  /** Identive_CLOUD_4510_F.txt: extended APDU level. The SAM interface precedes the contactless one. */
  identiveCloud4510: {
    vendorId: 0x04e6,
    productId: 0x5721,
    deviceVersion: 0x0100,
    manufacturer: 'Identive',
    product: 'Identive CLOUD 4510 F Contactless + SAM Reader',
    interfaces: [
      {
        interfaceName: 'CLOUD 4510 F SAM Reader',
        interfaceClass: 0x0b,
        ccidDescriptor:
          '36211001000703000000c0120000e02e00000067320000e74c060000fe0000000000000000000000ba0404000a040000ffff00000001',
        interrupt: true,
      },
      {
        interfaceName: 'CLOUD 4510 F Contactless Reader',
        interfaceClass: 0x0b,
        ccidDescriptor:
          '36211001000103000000c0120000e02e00000067320000e74c060000000400000000000001000000be0404000a040000ffff00000001',
        interrupt: true,
      },
    ],
  },
  /**
   * Identiv_Identiv_uTrust_4701_F_Dual_Interface_Reader.txt: contact (TPDU level) and contactless (extended APDU
   * level).
   */
  identivUtrust4701: {
    vendorId: 0x04e6,
    productId: 0x5724,
    deviceVersion: 0x0104,
    manufacturer: 'Identiv',
    product: 'Identiv uTrust 4701 F Dual Interface Reader',
    interfaces: [
      {
        interfaceName: 'uTrust 4701 F Contact Reader',
        interfaceClass: 0x0b,
        ccidDescriptor:
          '36211001000703000000c0120000e02e00000067320000e74c060000fe0000000000000000000000ba0401000f010000ffff00000001',
        interrupt: true,
      },
      {
        interfaceName: 'uTrust 4701 F CL Reader',
        interfaceClass: 0x0b,
        ccidDescriptor:
          '36211001000103000000c0120000e02e00000067320000e74c060000000400000000000001000000be0404000a040000ffff00000001',
        interrupt: true,
      },
    ],
  },
}

/** Number of endpoint addresses reserved for each interface. */
const ENDPOINTS_PER_INTERFACE = 3
/** The first string index for interface names. Strings 1 to 3 belong to the device. */
const FIRST_NAME = 4

/** Returns the device's address for an endpoint of the interface with this number. */
export function addressOf(endpoint: number, interfaceNumber: number): number {
  return endpoint + ENDPOINTS_PER_INTERFACE * interfaceNumber
}

/** Returns the number of the interface to which an endpoint address of the device belongs. */
export function interfaceOf(address: number): number {
  return Math.floor(((address & 0x0f) - 1) / ENDPOINTS_PER_INTERFACE)
}

function interfaceParts(profile: InterfaceProfile, interfaceNumber: number): Uint8Array[] {
  const { packetBytes = 64 } = profile
  const classDescriptor = fromHex(profile.ccidDescriptor)
  const at = (endpoint: number): number => addressOf(endpoint, interfaceNumber)
  const endpointDescriptors = [
    endpointDescriptor(at(endpoints.bulkIn), 'bulk', packetBytes),
    endpointDescriptor(at(endpoints.bulkOut), 'bulk', packetBytes),
    ...(profile.interrupt
      ? [endpointDescriptor(at(endpoints.interruptIn), 'interrupt', INTERRUPT_BYTES)]
      : []),
  ]
  const name = profile.interfaceName === undefined ? 0 : FIRST_NAME + interfaceNumber
  const classes = [profile.interfaceClass, 0, profile.habits?.interfaceProtocol ?? 0] as const
  const usbInterface = interfaceDescriptor(interfaceNumber, 0, endpointDescriptors.length, classes, name)
  return profile.descriptorPlace === 'after-endpoints'
    ? [usbInterface, ...endpointDescriptors, classDescriptor]
    : [usbInterface, classDescriptor, ...endpointDescriptors]
}

/** Builds the descriptors of a device with these interfaces and this serial number. */
export function deviceParts(
  profile: DeviceProfile,
  interfaces: readonly InterfaceProfile[],
  serialNumber: string | undefined,
): PacketDeviceParts {
  const { manufacturer, product } = profile
  const parts = interfaces.flatMap(interfaceParts)
  return {
    deviceDescriptor: deviceDescriptor(profile, {
      manufacturer: true,
      product: true,
      serialNumber: serialNumber !== undefined,
    }),
    configurationDescriptors: [configurationDescriptor(1, interfaces.length, parts)],
    strings: [
      undefined,
      manufacturer,
      product,
      serialNumber,
      ...interfaces.map(({ interfaceName }) => interfaceName),
    ],
  }
}
