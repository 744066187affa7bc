/** A token in memory behind the token port, and a slot for it: what PIV cards cannot do (encrypt, decrypt, random), and waits on demand. */
import {
  type CardConnection,
  CardGoneError,
  type CardSlot,
  type Presence,
  type SlotSource,
  type TransmitOptions,
} from '@webtoki/apdu'
import {
  type Attributes,
  CKA,
  CKF,
  CKK,
  CKM,
  CKO,
  type LoginUser,
  type MechanismInfo,
  type PinSource,
  type SignRequest,
  type Token,
  type TokenCipher,
  type TokenDriver,
  type TokenInfo,
  type TokenLoginOptions,
  type TokenObject,
} from '@webtoki/cryptoki'
import { BehaviorSubject, of } from 'rxjs'

const info = (flags: number): MechanismInfo => ({ minKeyBits: 0, maxKeyBits: 0, flags })

function key(id: number, isPrivate: boolean, more: Attributes = {}): TokenObject {
  const known: Attributes = {
    [CKA.CLASS]: isPrivate ? CKO.PRIVATE_KEY : CKO.PUBLIC_KEY,
    [CKA.ID]: Uint8Array.of(id),
    [CKA.PRIVATE]: isPrivate,
    [CKA.TOKEN]: true,
  }
  const all: Attributes = {
    ...known,
    [CKA.KEY_TYPE]: CKK.RSA,
    [CKA.SIGN]: isPrivate,
    [CKA.VERIFY]: !isPrivate,
    [CKA.ENCRYPT]: true,
    [CKA.DECRYPT]: true,
    ...more,
  }
  return { known, load: async () => all }
}

/** Ciphers exclusive-or with 5A, and hold two bytes back until the end; signatures are the data they are given. */
class Cipher implements TokenCipher {
  #held: number[] = []
  async update(chunk: Uint8Array): Promise<Uint8Array> {
    const bytes = [...this.#held, ...chunk]
    this.#held = bytes.splice(Math.max(0, bytes.length - 2))
    return Uint8Array.from(bytes, (byte) => byte ^ 0x5a)
  }
  async final(): Promise<Uint8Array> {
    return Uint8Array.from(this.#held, (byte) => byte ^ 0x5a)
  }
}

export class SoftwareToken implements Token {
  readonly flags: number
  readonly mechanisms: ReadonlyMap<number, MechanismInfo> = new Map([
    [CKM.SHA256_RSA_PKCS, info(CKF.SIGN | CKF.VERIFY | CKF.ENCRYPT | CKF.DECRYPT)],
    [CKM.RSA_PKCS, info(CKF.SIGN | CKF.ENCRYPT | CKF.DECRYPT)],
  ])
  /** Set: signing waits until the promise is settled. */
  signing: Promise<void> | undefined
  mayBeVerified = false
  logins = 0
  logouts = 0
  signatures = 0
  readonly #objects: readonly TokenObject[]

  /** `more`: attributes of its private keys. */
  constructor(isDual: boolean, more: Attributes = {}) {
    this.#objects = [key(1, true, more), key(1, false), key(2, true, more)]
    this.flags = CKF.LOGIN_REQUIRED | CKF.RNG | (isDual ? CKF.DUAL_CRYPTO_OPERATIONS : 0)
  }

  async describe(): Promise<TokenInfo> {
    return {
      label: 'memory',
      manufacturer: '',
      model: '',
      serialNumber: '1',
      flags: this.flags,
      minPinBytes: 4,
      maxPinBytes: 8,
    }
  }
  objects(): readonly TokenObject[] {
    return this.#objects
  }
  async triesLeft(): Promise<number> {
    return 3
  }
  async login(_user: LoginUser, pin: PinSource, options: TokenLoginOptions = {}): Promise<void> {
    options.onAwaitPin?.()
    await pin({
      user: 'user',
      label: 'memory',
      triesLeft: 3,
      lastTry: false,
      signal: options.signal ?? new AbortController().signal,
    })
    this.logins++
    this.mayBeVerified = true
  }
  async logout(): Promise<void> {
    this.logouts++
    this.mayBeVerified = false
  }
  async sign(request: SignRequest, options?: TransmitOptions): Promise<Uint8Array> {
    options?.onWait?.('queue')
    await request.logIn?.()
    await this.signing
    this.signatures++
    return request.data
  }
  async encrypt(): Promise<TokenCipher> {
    return new Cipher()
  }
  async decrypt(): Promise<TokenCipher> {
    return new Cipher()
  }
  async random(bytes: number): Promise<Uint8Array> {
    return new Uint8Array(bytes).fill(4)
  }
}

/** A slot with that token in it, which can be pulled. */
export class MemorySlot implements CardSlot, SlotSource {
  readonly id = 'memory'
  readonly name = 'memory'
  readonly kind = 'token'
  readonly presence$ = new BehaviorSubject<Presence>('present')
  readonly slots$ = of([this])
  pull: () => void = () => {}
  closed = 0

  async connect(): Promise<CardConnection> {
    let tell!: (error: CardGoneError) => void
    const gone = new Promise<CardGoneError>((resolve) => {
      tell = resolve
    })
    this.pull = () => tell(new CardGoneError('removed'))
    return {
      gone,
      access: 'exclusive',
      transaction: () => Promise.reject(new Error('This token needs no card.')),
      close: async () => {
        this.closed++
        tell(new CardGoneError('closed'))
      },
    }
  }

  async close(): Promise<void> {}
}

export function softwareDriver(token: Token): TokenDriver {
  return { name: 'memory', open: async () => token }
}
