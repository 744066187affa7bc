/**
 * Profiles of readers at character level, from the descriptor dumps of libccid. Each comment starts with the file name
 * of the dump.
 */
import type { ReaderProfile } from './reader-profile.ts'

/** Readers whose dwFeatures states no exchange level, so the host implements T=0 and T=1 byte by byte. */
export const characterReaderProfiles: Readonly<Record<'oz776' | 'winbond', ReaderProfile>> = {
  /**
   * Oz776S.txt: Smart Card class; the host sends the PPS request. libccid never requests a response that would end with
   * a full packet (https://github.com/LudovicRousseau/CCID/blob/1.8.4/src/commands.c#L1981-L2004).
   */
  oz776: {
    vendorId: 0x0b97,
    productId: 0x7762,
    deviceVersion: 0x0110,
    manufacturer: 'O2',
    product: 'O2Micro CCID SC Reader',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36210001000303000000a00f0000a00f0000008025000000b0040000fe0000000000000000000000300000000f010000000000000001',
    interrupt: true,
    clockFrequenciesKHz: [4000],
    dataRatesBps: [9600],
    emptyPackets: false,
  },
  /** Winbond.txt: Smart Card class, PPS request at SetParameters, short messages. */
  winbond: {
    vendorId: 0x0416,
    productId: 0x3815,
    deviceVersion: 0x0006,
    manufacturer: 'Winbond',
    product: 'CCID SmartCard Controller',
    interfaceClass: 0x0b,
    ccidDescriptor:
      '36210001000103000000b80b0000b80b000001811f0000027e0000037b0000000000000000000000b20400008a000000ffff00000001',
    interrupt: true,
    clockFrequenciesKHz: [3000],
    dataRatesBps: [8065, 16129, 32258],
  },
}
