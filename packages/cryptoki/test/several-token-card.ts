/** A card in memory with several tokens, its driver, and a slot whose card can be changed. */
import {
  CardApplication,
  type CardConnection,
  type CardLink,
  type CardSlot,
  exchange,
  expectOk,
  LockedConnection,
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
  type MechanismInfo,
  type Token,
  type TokenDescription,
  type TokenDriver,
  type TokenObject,
} from '@webtoki/cryptoki'
import { BehaviorSubject, of } from 'rxjs'

/**
 * One token: the last byte of its application's AID, and the reference of its PIN. The PIN is that digit four
 * times.
 */
export interface TokenSpec {
  readonly application: number
  readonly pin: number
}

const ok = Uint8Array.of(0x90, 0)
const status = (sw: number): Uint8Array => Uint8Array.of(sw >> 8, sw & 0xff)
export const aidOf = (application: number): Uint8Array => Uint8Array.of(0xf0, 1, 2, 3, application)
export const pinOf = (pin: number): Uint8Array => new TextEncoder().encode(String(pin).repeat(4))

/** Selecting another application, like a reset, ends every verification. */
export class SeveralTokenCard implements CardLink {
  readonly atr: Uint8Array = Uint8Array.of(0x3b, 0x00)
  readonly limits = { extended: false, commandBytes: 261, responseBytes: 256 }
  readonly vouchesForCard = true
  /** Entries such as 'select 1', 'verify 2', 'logout 2', 'sign 2', 'label', 'reset'. */
  readonly log: string[] = []
  readonly verified = new Set<number>()
  readonly #tokens: readonly TokenSpec[]
  readonly #canLogOut: boolean
  #selected = 0

  constructor(tokens: readonly TokenSpec[], canLogOut = true) {
    this.#tokens = tokens
    this.#canLogOut = canLogOut
  }

  async exchange(command: Uint8Array): Promise<Uint8Array> {
    const [, ins, p1 = 0, p2 = 0, length = 0] = command
    const data = command.length > 5 ? command.subarray(5, 5 + length) : new Uint8Array(0)
    if (ins === 0xa4) return this.#select(data.at(-1) ?? 0)
    const isSelected = this.#tokens.some(
      ({ application, pin }) => application === this.#selected && pin === p2,
    )
    if (ins === 0xca) {
      this.log.push('label')
      return Uint8Array.of(...new TextEncoder().encode(`label ${this.#selected}`), ...ok)
    }
    if (!isSelected) return status(0x6a88)
    if (ins === 0x2a) {
      this.log.push(`sign ${p2}`)
      return this.verified.has(p2) ? Uint8Array.of(p2, p2, ...ok) : status(0x6982)
    }
    if (ins !== 0x20) return status(0x6d00)
    if (p1 === 0xff) {
      if (!this.#canLogOut) return status(0x6a86)
      this.log.push(`logout ${p2}`)
      this.verified.delete(p2)
      return ok
    }
    if (data.length === 0) return this.verified.has(p2) ? ok : status(0x63c3)
    this.log.push(`verify ${p2}`)
    this.verified.delete(p2)
    if (Buffer.compare(data, pinOf(p2)) !== 0) return status(0x63c2)
    this.verified.add(p2)
    return ok
  }

  #select(application: number): Uint8Array {
    if (!this.#tokens.some((each) => each.application === application)) return status(0x6a82)
    if (application !== this.#selected) this.verified.clear()
    this.#selected = application
    this.log.push(`select ${application}`)
    return ok
  }

  async reset(): Promise<Uint8Array> {
    this.log.push('reset')
    this.#selected = 0
    this.verified.clear()
    return this.atr
  }

  async release(): Promise<void> {
    await this.reset()
    this.log.push('off')
  }
}

const info: MechanismInfo = { minKeyBits: 0, maxKeyBits: 0, flags: CKF.SIGN }

class OneToken implements Token {
  readonly name: string
  readonly flags = 0
  readonly mechanisms: ReadonlyMap<number, MechanismInfo> = new Map([[CKM.RSA_PKCS, info]])
  readonly pins: Token['pins']
  readonly #objects: readonly TokenObject[]
  #label: string | undefined

  constructor(application: CardApplication, { pin }: TokenSpec, canLogOut: boolean) {
    this.name = `token ${pin}`
    const user = new PinReference(application, {
      name: 'PIN',
      reference: () => pin,
      canLogOut,
      format: { minBytes: 4, maxBytes: 8, alphabet: 'digits', encode: (typed) => Uint8Array.from(typed) },
    })
    this.pins = { user }
    const access: KeyAccess = { application, needs: 'login', learnContextPin: () => {} }
    const attributes: Attributes = {
      [CKA.CLASS]: CKO.PRIVATE_KEY,
      [CKA.KEY_TYPE]: CKK.RSA,
      [CKA.ID]: Uint8Array.of(pin),
      [CKA.PRIVATE]: true,
      [CKA.TOKEN]: true,
      [CKA.SIGN]: true,
    }
    this.#objects = [
      {
        known: attributes,
        load: async () => attributes,
        access,
        use: () => ({
          gathers: { maxBytes: 100 },
          access,
          outputBytes: () => 2,
          prepare: async (data) => ({
            perform: async (channel, options) => {
              if (channel === undefined) throw new CryptokiError(CKR.FUNCTION_FAILED)
              const command = { name: 'SIGN', cla: 0, ins: 0x2a, p1: 0, p2: pin, data, responseBytes: 256 }
              return expectOk(await application.exchange(channel, command, options), command.name)
            },
          }),
        }),
      },
    ]
  }

  get label(): string {
    return this.#label ?? this.name
  }

  async describe({ mayRead }: { readonly mayRead: boolean }): Promise<TokenDescription> {
    const { application } = this.pins.user
    if (mayRead && this.#label === undefined) {
      const command = { name: 'LABEL', cla: 0, ins: 0xca, p1: 0, p2: 0, responseBytes: 256 }
      const response = await application.transaction(async (channel) => exchange(channel, command))
      this.#label = new TextDecoder().decode(expectOk(response, command.name))
    }
    return { label: this.label, manufacturer: '', model: '', serialNumber: '' }
  }

  objects(): readonly TokenObject[] {
    return this.#objects
  }
}

/** Finds the tokens of a SeveralTokenCard, in the order of `specs`. */
export class SeveralTokenDriver implements TokenDriver {
  readonly name = 'several'
  readonly #specs: readonly TokenSpec[]
  readonly #canLogOut: boolean

  constructor(specs: readonly TokenSpec[], canLogOut = true) {
    this.#specs = specs
    this.#canLogOut = canLogOut
  }

  async open(connection: CardConnection): Promise<readonly Token[]> {
    const applications = new Map<number, CardApplication>()
    for (const { application } of this.#specs) {
      const found = new CardApplication(connection, {
        name: `application ${application}`,
        aid: aidOf(application),
      })
      const isFound = await found.transaction(async () => true).catch(() => false)
      if (isFound && !applications.has(application)) applications.set(application, found)
    }
    return this.#specs.flatMap((spec) => {
      const application = applications.get(spec.application)
      return application === undefined ? [] : [new OneToken(application, spec, this.#canLogOut)]
    })
  }
}

/** A slot whose card the test inserts and pulls. */
export class ChangingSlot implements CardSlot, SlotSource {
  readonly id = 'reader'
  readonly name = 'Reader'
  readonly kind = 'contact'
  readonly presence$: BehaviorSubject<Presence> = new BehaviorSubject<Presence>('empty')
  readonly slots$ = of([this])
  #card: CardLink | undefined
  #connection: LockedConnection | undefined

  insert(card: CardLink): void {
    this.#card = card
    this.presence$.next('present')
  }

  pull(): void {
    this.#card = undefined
    this.#connection?.lost('removed')
    this.presence$.next('empty')
  }

  async connect(): Promise<CardConnection> {
    if (this.#card === undefined) throw new CryptokiError(CKR.TOKEN_NOT_PRESENT)
    this.#connection = new LockedConnection(this.#card)
    return this.#connection
  }

  async close(): Promise<void> {}
}
