/** Main entry point: algorithms, public keys, certificates and DER. */
export * from './algorithms.ts'
export * from './certificate-use.ts'
export * from './curves.ts'
export {
  type CertificateView,
  readCertificate,
  type ReadCertificate,
  viewCertificate,
} from './certificate.ts'
export * from './der.ts'
export * from './encode.ts'
export * from './errors.ts'
export * from './extensions.ts'
export * from './hashes.ts'
export * from './holder.ts'
export * from './name.ts'
export * from './public-key.ts'
export * from './public-key-info.ts'
export * from './time.ts'
