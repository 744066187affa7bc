/** Options that all virtual readers share. */
import type { SimulatorClock } from '../clock.ts'

/** Options of a virtual reader. */
export interface VirtualReaderOptions {
  /**
   * Default 'V0000001'. Null for a reader without a serial number; a browser forgets the permission for it when it is
   * unplugged.
   */
  readonly serialNumber?: string | null
  /** The clock for slow cards and time extensions. Default: the platform's timers. */
  readonly clock?: SimulatorClock
}

/** Returns the serial number for the device descriptor. */
export function serialNumberOf({ serialNumber }: VirtualReaderOptions): string | undefined {
  return serialNumber === null ? undefined : (serialNumber ?? 'V0000001')
}
