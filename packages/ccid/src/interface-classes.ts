/** What interfaces say of themselves: classes, and the protocols of ICCD. Apart from the descriptors, which are read when a device is there. */

/** The class of smart card interfaces: the browser keeps it from ordinary pages. */
export const SMART_CARD_CLASS = 0x0b
/** The class of vendors: some CCID readers use it, and those a page may claim. */
export const VENDOR_CLASS = 0xff

/** bInterfaceProtocol of ICCD version A. */
export const ICCD_A = 1
/** bInterfaceProtocol of ICCD version B. */
export const ICCD_B = 2
