/** A signer whose private key never leaves its card: JOSE algorithms (RFC 7518, 3.1) as PKCS#11 mechanisms. */
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

/** Which key, and who is asked and told. */
export interface CardSignerOptions extends PinOptions {
  /** CKA_ID that certificate and key share. */
  readonly id: Uint8Array
  /** Padding of RSA keys. Default: PKCS#1 v1.5, which every verifier takes. */
  readonly rsa?: 'RS256' | 'PS256' | undefined
  /** Certificates between the card's own and the root, in DER; cards do not keep them. */
  readonly chain?: readonly Uint8Array[] | undefined
  /** What a signature does if its session is busy. Default: 'wait', so that `Promise.all` of several works. */
  readonly onConflict?: SessionPolicy['onConflict'] | undefined
  /** Told how each signature comes along. */
  readonly onEvent?: ((event: OperationEvent<Uint8Array>) => void) | undefined
}

/** The compiler holds each curve against the registry's, which a page that logs people in need not load for it. */
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
 * Finds certificate and private key. Rejects with CKR_KEY_HANDLE_INVALID where the session shows no such key (with
 * `login: 'explicit'`, log in first), CKR_KEY_SIZE_RANGE where no algorithm fits it.
 */
export async function cardSigner(session: Session, options: CardSignerOptions): Promise<Signer> {
  const { pin, for: what, onEvent, onConflict = 'wait', rsa = 'RS256' } = options
  const id = new Uint8Array(options.id)
  const chain = (options.chain ?? []).map((der) => new Uint8Array(der))
  const certificate = await only(session, CKO.CERTIFICATE, id)
  const key = await only(session, CKO.PRIVATE_KEY, id)
  const algorithm = algorithmFor(key, rsa)
  const { mechanism } = algorithms[algorithm]
  return {
    certificate: certificate.get(CKA.VALUE),
    chain,
    algorithm,
    sign: (bytes, { signal } = {}) =>
      session.sign(mechanism, key, bytes, { onConflict, pin, for: what }).result({ signal, onEvent }),
  }
}

async function only(session: Session, objectClass: CKO, id: Uint8Array): Promise<CkObject> {
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

/** Whether there is an algorithm for this private key: `cardSigner` rejects with CKR_KEY_SIZE_RANGE if not. */
export function canSignWith(key: CkObject): boolean {
  try {
    algorithmFor(key, 'RS256')
    return true
  } catch {
    return false
  }
}
