/** The curves of ECDSA and ECDH, without their arithmetic: what an Init needs. */
import { toHex } from '@webtoki/apdu'
import { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'

/** By CKA_EC_PARAMS in DER, the bytes of a coordinate: P-256, P-384, P-521. */
const fieldBytes: ReadonlyMap<string, number> = /* @__PURE__ */ new Map([
  ['06082a8648ce3d030107', 32],
  ['06052b81040022', 48],
  ['06052b81040023', 66],
])

/** edwards25519 by its object identifier, and as a PrintableString (PKCS#11 v3.0 mechanisms, 2.3.5). */
const edwards: readonly string[] = ['06032b6570', '130c656477617264733235353139']

/** Throws CKR_KEY_SIZE_RANGE for a curve that is not known. */
export function fieldBytesOf(ecParams: Uint8Array | undefined): number {
  const bytes = fieldBytes.get(toHex(ecParams ?? new Uint8Array(0)))
  if (bytes === undefined) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return bytes
}

/** Throws CKR_KEY_SIZE_RANGE for any curve but edwards25519. */
export function checkEdwards(ecParams: Uint8Array | undefined): void {
  if (!edwards.includes(toHex(ecParams ?? new Uint8Array(0)))) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
}
