/**
 * The base class of all errors, and the errors of cards and readers. They are in several files, so that a page loads only
 * those that can occur on it.
 */
export * from './any-error.ts'
export * from './card-errors.ts'
export * from './card-garbled-error.ts'
export * from './pin-pad-errors.ts'
export * from './reader-errors.ts'
export * from './reader-firmware-error.ts'
export * from './webtoki-error.ts'
