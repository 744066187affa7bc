/** Interface classes and ICCD protocols, separate from the descriptor decoder, which is loaded on demand. */

/** The smart card class. Browsers protect it from ordinary pages. */
export const SMART_CARD_CLASS = 0x0b
/** The vendor-specific class. Some CCID readers use it, and pages may claim it. */
export const VENDOR_CLASS = 0xff

/** bInterfaceProtocol of ICCD version A. */
export const ICCD_A = 1
/** bInterfaceProtocol of ICCD version B. */
export const ICCD_B = 2
