/** What transports to readers share: holding and claiming devices, identity, tabs, deadlines, and the browser's errors. */
export * from './claim.ts'
export * from './clock.ts'
export * from './deadline.ts'
export * from './device-hold.ts'
export * from './identity.ts'
export * from './tabs.ts'
export * from './usb-errors.ts'
export * from './usb-support.ts'
