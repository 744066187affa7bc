/**
 * Main entry point: APDUs, status words, TLV, ATRs, card applications, PINs, ports and errors. Each applet has its own
 * entry point.
 */
export type * from './abort.ts'
export * from './apdu-lengths.ts'
export * from './atr.ts'
export * from './bytes.ts'
export * from './card-application.ts'
export * from './command.ts'
export * from './errors.ts'
export * from './exchange.ts'
export * from './historical-bytes.ts'
export * from './inflate.ts'
export * from './locked-connection.ts'
export * from './no-card.ts'
export * from './pin-format.ts'
export * from './pin-reference.ts'
export type * from './ports.ts'
export * from './sealed.ts'
export * from './status-words.ts'
export * from './tlv.ts'
