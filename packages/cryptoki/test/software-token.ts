/**
 * A token in memory that implements the token port, and a slot for it: its keys do what PIV cards cannot, and
 * wait on demand. A minimal card with VERIFY verifies its PIN.
 */
import {
  CardApplication,
  type CardConnection,
  type CardLink,
  type CardSlot,
  LockedConnection,
  type PinPad,
  PinReference,
  type Presence,
  type SlotSource,
} from '@webtoki/apdu'
import {
  type Attributes,
  CKA,
  CKF,
  CKK,
  CKM,
  CKO,
  CKR,
  CryptokiError,
  type KeyAccess,
  type KeyPurpose,
  type KeyStream,
  type KeyUse,
  type MechanismInfo,
  type RawMechanism,
  type Token,
  type TokenDescription,
  type TokenDriver,
  type TokenObject,
} from '@webtoki/cryptoki'
import { BehaviorSubject, of } from 'rxjs'

const info = (flags: number): MechanismInfo => ({ minKeyBits: 0, maxKeyBits: 0, flags })

/** Encrypts and decrypts by exclusive or with 5A, and holds back two bytes until `final`. */
class Cipher implements KeyStream {
  #held: number[] = []
  isAborted = false
  async update(chunk: Uint8Array): Promise<Uint8Array> {
    const bytes = [...this.#held, ...chunk]
    this.#held = bytes.splice(Math.max(0, bytes.length - 2))
    return Uint8Array.from(bytes, (byte) => byte ^ 0x5a)
  }
  updateBytes(inputBytes: number): number {
    return Math.max(0, this.#held.length + inputBytes - 2)
  }
  async final(): Promise<Uint8Array> {
    return Uint8Array.from(this.#held, (byte) => byte ^ 0x5a)
  }
  abort(): void {
    this.isAborted = true
  }
}

/** A card with SELECT and VERIFY alone that counts logins, logouts and releases. */
export class MemoryCard implements CardLink {
  readonly atr: Uint8Array = Uint8Array.of(0x3b, 0x00)
  readonly limits = { extended: false, commandBytes: 261, responseBytes: 256 }
  readonly vouchesForCard = true
  pinPad: PinPad | undefined
  logins = 0
  logouts = 0
  closed = 0
  #isVerified = false

  async exchange(command: Uint8Array): Promise<Uint8Array> {
    const [, ins, p1] = command
    if (ins === 0xa4) return Uint8Array.of(0x90, 0)
    if (ins !== 0x20) return Uint8Array.of(0x6d, 0)
    if (p1 === 0xff) {
      this.logouts++
      this.#isVerified = false
      return Uint8Array.of(0x90, 0)
    }
    if (command.length <= 5) return this.#isVerified ? Uint8Array.of(0x90, 0) : Uint8Array.of(0x63, 0xc3)
    this.logins++
    this.#isVerified = true
    return Uint8Array.of(0x90, 0)
  }

  async reset(): Promise<Uint8Array> {
    return this.atr
  }

  async release(): Promise<void> {
    this.closed++
  }
}

export class SoftwareToken implements Token {
  readonly name = 'memory'
  readonly label = 'memory'
  readonly flags = 0
  readonly mechanisms: ReadonlyMap<number, MechanismInfo> = new Map([
    [CKM.SHA256_RSA_PKCS, info(CKF.SIGN | CKF.VERIFY | CKF.ENCRYPT | CKF.DECRYPT)],
    [CKM.RSA_PKCS, info(CKF.SIGN | CKF.ENCRYPT | CKF.DECRYPT)],
  ])
  /** If set, a signature waits until the promise settles. */
  signing: Promise<void> | undefined
  signatures = 0
  readonly ciphers: Cipher[] = []
  readonly pins: { user: PinReference; so: PinReference }
  readonly #more: Attributes
  readonly #objects: readonly TokenObject[]

  /** `more`: further attributes of its keys. */
  constructor(connection: CardConnection, more: Attributes = {}) {
    this.#more = more
    const application = new CardApplication(connection, { name: 'memory', aid: Uint8Array.of(1, 2, 3, 4, 5) })
    const pin = (reference: number): PinReference =>
      new PinReference(application, {
        name: 'PIN',
        reference: () => reference,
        format: {
          minBytes: 4,
          maxBytes: 8,
          alphabet: 'text',
          encode: (typed) => Uint8Array.from(typed),
          padTemplate: (header) => ({
            command: Uint8Array.from([...header, 0]),
            pinOffset: 0,
            blockBytes: 0,
            format: 'ascii',
            minDigits: 4,
            maxDigits: 8,
          }),
        },
      })
    this.pins = { user: pin(1), so: pin(2) }
    this.#objects = [this.#key(1, true), this.#key(1, false), this.#key(2, true)]
  }

  #key(id: number, isPrivate: boolean): TokenObject {
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
      ...this.#more,
    }
    const access: KeyAccess = {
      application: this.pins.user.application,
      needs: this.#more[CKA.ALWAYS_AUTHENTICATE] === true ? 'context-pin' : 'login',
      learnContextPin: () => {},
    }
    return {
      known,
      load: async () => all,
      ...(isPrivate ? { access } : {}),
      use: (purpose, mechanism) => this.#use(purpose, mechanism, isPrivate ? access : undefined),
    }
  }

  /** A signature is the data, hashed if the mechanism hashes. */
  #use(purpose: KeyPurpose, { type, pss }: RawMechanism, access: KeyAccess | undefined): KeyUse {
    const flag = { encrypt: CKF.ENCRYPT, decrypt: CKF.DECRYPT, sign: CKF.SIGN, verify: CKF.VERIFY }
    const needed = flag[purpose as keyof typeof flag] ?? 0
    if (((this.mechanisms.get(type)?.flags ?? 0) & needed) === 0)
      throw new CryptokiError(CKR.MECHANISM_INVALID)
    if (pss !== undefined) throw new CryptokiError(CKR.MECHANISM_PARAM_INVALID)
    if (purpose === 'encrypt' || purpose === 'decrypt') {
      const open = (): Cipher => {
        const cipher = new Cipher()
        this.ciphers.push(cipher)
        return cipher
      }
      return { gathers: 'stream', outputBytes: (inputBytes) => inputBytes, open }
    }
    return {
      gathers: type === CKM.SHA256_RSA_PKCS ? { hash: 'SHA-256' } : { maxBytes: 2048 },
      ...(access === undefined ? {} : { access }),
      outputBytes: () => (purpose === 'verify' ? 0 : 32),
      prepare: async (data, signature) => ({
        perform: async () => {
          if (purpose === 'verify') {
            if (Buffer.compare(data, signature ?? new Uint8Array(0)) === 0) return new Uint8Array(0)
            throw new CryptokiError(CKR.SIGNATURE_INVALID)
          }
          await this.signing
          this.signatures++
          return Uint8Array.from(data)
        },
      }),
    }
  }

  async describe(): Promise<TokenDescription> {
    return { label: 'memory', manufacturer: '', model: '', serialNumber: '1' }
  }
  objects(): readonly TokenObject[] {
    return this.#objects
  }
  async random(bytes: number): Promise<Uint8Array> {
    return new Uint8Array(bytes).fill(4)
  }
}

/** A slot with a card in it, which can be pulled. */
export class MemorySlot implements CardSlot, SlotSource {
  readonly id = 'memory'
  readonly name = 'memory'
  readonly kind = 'token'
  readonly presence$: BehaviorSubject<Presence> = new BehaviorSubject<Presence>('present')
  readonly slots$ = of([this])
  readonly card: MemoryCard = new MemoryCard()
  pull: () => void = () => {}

  async connect(): Promise<CardConnection> {
    const connection = new LockedConnection(this.card)
    this.pull = () => void connection.lost('removed')
    return connection
  }

  async close(): Promise<void> {}
}

/** Opens one token on each card and keeps the latest. */
export class SoftwareDriver implements TokenDriver {
  readonly name = 'memory'
  #token: SoftwareToken | undefined
  readonly #more: Attributes | undefined

  constructor(more?: Attributes) {
    this.#more = more
  }

  get token(): SoftwareToken {
    if (this.#token === undefined) throw new Error('No token has been opened.')
    return this.#token
  }

  async open(connection: CardConnection): Promise<readonly Token[]> {
    this.#token = new SoftwareToken(connection, this.#more)
    return [this.#token]
  }
}
