/** A signer for a private key on a card: JOSE algorithms (RFC 7518, 3.1) as PKCS#11 mechanisms. */
import {
  CKA,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CryptokiError,
  type OperationEvent,
  type PinOptions,
  type Session,
  type SessionPolicy,
  type SignatureMechanism,
} from '@webtoki/cryptoki'
import { curveOfParameters, type CurveOfAlgorithm, type SignatureAlgorithm } from '@webtoki/crypto'
import type { Signer } from '@webtoki/trust'

/** Options of `cardSigner`. */
export interface CardSignerOptions extends PinOptions {
  /** CKA_ID of the certificate and the private key. */
  readonly id: Uint8Array
  /** Algorithm for RSA keys. Default: 'RS256' (PKCS#1 v1.5), which every verifier supports. */
  readonly rsa?: 'RS256' | 'PS256' | undefined
  /** Intermediate certificates in DER, because cards do not store them. */
  readonly chain?: readonly Uint8Array[] | undefined
  /** What a signature does if its session is busy. Default: 'wait', so that several signatures can be started at once. */
  readonly onConflict?: SessionPolicy['onConflict'] | undefined
  /** Called with the events of each signature, such as the wait for a PIN or a touch. */
  readonly onEvent?: ((event: OperationEvent<Uint8Array>) => void) | undefined
}

/** Copies the curves from the registry, so that a login page need not load it. The type checks them against the registry. */
const algorithms = {
  ES256: { mechanism: { type: CKM.ECDSA_SHA256 }, curve: 'P-256' },
  ES384: { mechanism: { type: CKM.ECDSA_SHA384 }, curve: 'P-384' },
  RS256: { mechanism: { type: CKM.SHA256_RSA_PKCS }, curve: undefined },
  PS256: { mechanism: { type: CKM.SHA256_RSA_PKCS_PSS }, curve: undefined },
} as const satisfies {
  readonly [A in SignatureAlgorithm]?: {
    readonly mechanism: SignatureMechanism
    readonly curve: CurveOfAlgorithm<A>
  }
}
type CardAlgorithm = keyof typeof algorithms
const cardAlgorithms = Object.keys(algorithms) as CardAlgorithm[]

/**
 * Finds a certificate and its private key and resolves to a signer for them. Rejects with CKR_KEY_HANDLE_INVALID if the
 * session has no such object (with `login: 'explicit'`, log in first) and with CKR_KEY_SIZE_RANGE if no algorithm fits the
 * key.
 */
export async function cardSigner(session: Session, options: CardSignerOptions): Promise<Signer> {
  const { pin, for: description, onEvent, onConflict = 'wait', rsa = 'RS256' } = options
  const id = new Uint8Array(options.id)
  const chain = (options.chain ?? []).map((der) => new Uint8Array(der))
  const certificate = await findFirst(session, CKO.CERTIFICATE, id)
  const key = await findFirst(session, CKO.PRIVATE_KEY, id)
  const algorithm = algorithmFor(key, rsa)
  const { mechanism } = algorithms[algorithm]
  return {
    certificate: certificate.get(CKA.VALUE),
    chain,
    algorithm,
    sign: (bytes, { signal } = {}) =>
      session.sign(mechanism, key, bytes, { onConflict, pin, for: description }).result({ signal, onEvent }),
  }
}

async function findFirst(session: Session, objectClass: CKO, id: Uint8Array): Promise<CkObject> {
  const [object] = await session.findObjects({ [CKA.CLASS]: objectClass, [CKA.ID]: id })
  if (object === undefined) throw new CryptokiError(CKR.KEY_HANDLE_INVALID)
  return object
}

function algorithmFor(key: CkObject, rsa: 'RS256' | 'PS256'): CardAlgorithm {
  if (key.get(CKA.KEY_TYPE) === CKK.RSA) return rsa
  const name = curveOfParameters(key.get(CKA.EC_PARAMS))?.name
  const algorithm = name && cardAlgorithms.find((each) => algorithms[each].curve === name)
  if (algorithm === undefined) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return algorithm
}

/** Returns true if `cardSigner` supports this private key. If not, it rejects with CKR_KEY_SIZE_RANGE. */
export function canSignWith(key: CkObject): boolean {
  try {
    algorithmFor(key, 'RS256')
    return true
  } catch {
    return false
  }
}
