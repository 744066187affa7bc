/** What every layer knows of certificates and of the DER that they are written in. */
export * from './certificate-use.ts'
export * from './certificate.ts'
export * from './der.ts'
export * from './errors.ts'
export * from './extensions.ts'
export * from './name.ts'
export * from './time.ts'
