/**
 * The parts that browser transports share: opening and claiming devices, ids and names, tabs, time limits, and
 * browser errors.
 */
export * from './claim.ts'
export * from './clock.ts'
export * from './deadline.ts'
export * from './device-hold.ts'
export type * from './device-ports.ts'
export * from './device-source.ts'
export * from './identity.ts'
export * from './tabs.ts'
export * from './usb-errors.ts'
export * from './usb-devices.ts'
export * from './usb-support.ts'
