/** The signer port, which `login` and `documents` sign through, and the verification of signatures. */
export { type Indication, type SubIndication, TrustArgumentError } from './errors.ts'
export { notChecked } from './not-checked.ts'
export { checkedPublicKey } from './public-key.ts'
export { type SignatureVerdict, SignatureVerifier } from './signature.ts'
export { type SignatureAlgorithm, signatureAlgorithms } from '@webtoki/crypto'
export { type Signer, signerFault, type SignOptions, type SignSignal } from './signer.ts'
