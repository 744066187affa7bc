/** A PIV card behind the token port: SP 800-73-4 part 2, read as lazily as the standard allows. */
import {
  type CardChannel,
  type CardConnection,
  copyOf,
  equalBytes,
  isWebtokiError,
  sealed,
  type TransmitOptions,
} from '@webtoki/apdu'
import { decodeCertificate, PivApplet, type PivSlot } from '@webtoki/apdu/piv'
import { holderOf, viewCertificate } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { CKF } from '../ckf.ts'
import { CKA } from '../constants.ts'
import type { LowCards } from '../few-tries.ts'
import type { KeyPurpose, KeyUse } from '../key-use.ts'
import type { Mechanism, MechanismInfo } from '../mechanisms.ts'
import type { ObjectCache } from '../object-cache.ts'
import type { Token, TokenDescription, TokenObject } from '../token.ts'
import { type Deciphering, PivKeyAccess, pivKey, type PivSecrets } from './key.ts'
import { withDefaults } from '../token-attributes.ts'
import { pivMechanisms } from './mechanisms.ts'
import { allAttributes, knownAttributes, type PivObjectKind, shownSlots } from './objects.ts'

/** The slot whose certificate names the holder: 9A. */
const authenticationSlot = shownSlots[0] as PivSlot

/** What all tokens of one driver share. */
export interface PivShared extends PivSecrets {
  readonly cache: ObjectCache
  /** GUIDs of cards that told few attempts when they were last asked. */
  readonly low: LowCards
}

/** One card for as long as it is connected. */
export class PivToken implements Token {
  readonly name = 'PIV'
  readonly flags: number = CKF.WRITE_PROTECTED
  readonly mechanisms: ReadonlyMap<number, MechanismInfo> = pivMechanisms
  readonly pins: Token['pins']
  readonly #shared: PivShared
  readonly #applet: PivApplet
  readonly #objects: readonly TokenObject[]
  readonly #certificates = new Map<PivSlot, Uint8Array | undefined>()

  private constructor(applet: PivApplet, shared: PivShared) {
    this.#applet = applet
    this.#shared = shared
    this.pins = { user: applet.pin }
    applet.pin.onTries = (triesLeft) => shared.low.note(applet.guid, triesLeft)
    const kinds = ['certificate', 'public-key', 'private-key'] as const
    this.#objects = Object.freeze(shownSlots.flatMap((slot) => kinds.map((kind) => this.#object(slot, kind))))
  }

  /** SELECT and CHUID; undefined if the card has no PIV application. */
  static async open(connection: CardConnection, shared: PivShared): Promise<PivToken | undefined> {
    const applet = await PivApplet.open(connection)
    return applet && new PivToken(applet, shared)
  }

  #object(slot: PivSlot, kind: PivObjectKind): TokenObject {
    const known = sealed(knownAttributes(slot, kind, this.#applet.guid))
    let loaded: Attributes | undefined
    let deciphering: Deciphering | undefined
    const load = async (options?: TransmitOptions): Promise<Attributes | undefined> => {
      if (loaded !== undefined) return loaded
      const der = await this.certificate(slot, options)
      // That the card has none is remembered by the token.
      const attributes = der && allAttributes(slot, kind, known, der)
      if (kind === 'private-key' && attributes !== undefined && deciphers(attributes))
        deciphering = await import('./deciphering.ts')
      loaded = attributes && sealed(withDefaults(attributes, pivMechanisms))
      return loaded
    }
    if (kind !== 'private-key') return Object.freeze({ known, load })
    const access = new PivKeyAccess(this.#applet, slot)
    const use = (purpose: KeyPurpose, mechanism: Mechanism): KeyUse =>
      pivKey(access, slot, loaded ?? known, this.#shared, deciphering).use(purpose, mechanism)
    return Object.freeze({ known, load, access, use })
  }

  objects(): readonly TokenObject[] {
    return this.#objects
  }

  async describe({
    mayRead,
    ...options
  }: TransmitOptions & { readonly mayRead: boolean }): Promise<TokenDescription> {
    if (mayRead) await this.#readDescription(options)
    return {
      label: this.label,
      manufacturer: '',
      model: 'PIV',
      serialNumber: this.#applet.guid ?? '',
    }
  }

  async #readDescription(options: TransmitOptions): Promise<void> {
    await this.certificate(authenticationSlot, options).catch((error: unknown) => {
      // A card without a name is a card all the same.
      if (!isWebtokiError(error, 'card/status', 'wire/malformed')) throw error
    })
    // An APDU that is saved at most cards: one that may need a warning is asked.
    const { pin } = this.#applet
    if (!pin.isPrepared && !this.#shared.low.has(this.#applet.guid)) return
    await this.#applet.transaction((channel) => pin.learnTries(channel, options), options)
  }

  /** The holder's name as far as it has been read. */
  get label(): string {
    const der = this.#certificates.get(authenticationSlot)
    const view = der && viewCertificate(der)
    return (view && holderOf(view)) || 'PIV card'
  }

  /**
   * A slot's certificate in DER, from memory or cache if that is safe; undefined: the card has none. Rejects if the card
   * will not give it or gives nonsense, and then asks again the next time.
   */
  async certificate(slot: PivSlot, options?: TransmitOptions): Promise<Uint8Array | undefined> {
    if (this.#certificates.has(slot)) return this.#certificates.get(slot)
    const key = this.#cacheKey(slot)
    const cached = key === undefined ? undefined : await this.#cached(key)
    const object = await this.#applet.transaction(async (channel) => {
      if (cached !== undefined && (await this.#isStillThere(channel, slot, cached, options))) return cached
      return this.#applet.readObject(channel, slot.certificateTag, options)
    }, options)
    const der = object === undefined ? undefined : (await decodeCertificate(object))?.der
    this.#certificates.set(slot, der)
    if (key !== undefined && der !== undefined && object !== cached && object !== undefined) {
      await this.#shared.cache.set(key, copyOf(object)).catch(() => {})
    }
    return der
  }

  /** A copy: what the cache's owner writes into its bytes, after they were compared say, is no certificate. */
  async #cached(key: string): Promise<Uint8Array | undefined> {
    try {
      const object = await this.#shared.cache.get(key)
      return object && copyOf(object)
    } catch {
      return undefined
    }
  }

  /** One APDU: the object's length and first bytes, with the serial number in them, are a fingerprint. Fewer bytes than were asked for are none. */
  async #isStillThere(
    channel: CardChannel,
    slot: PivSlot,
    cached: Uint8Array,
    options: TransmitOptions | undefined,
  ): Promise<boolean> {
    const head = await this.#applet.readObjectHead(channel, slot.certificateTag, options)
    const headBytes = Math.min(256, channel.limits.responseBytes, cached.length)
    return head !== undefined && head.length >= headBytes && equalBytes(head, cached.subarray(0, head.length))
  }

  /** No GUID, no identity: such a card is read anew each time. */
  #cacheKey(slot: PivSlot): string | undefined {
    const { guid } = this.#applet
    return guid === undefined ? undefined : `piv/${guid}/${slot.certificateTag.toString(16)}`
  }
}

/** The same attributes allow what the session asks of the key. */
function deciphers(key: Attributes): boolean {
  return [CKA.DECRYPT, CKA.UNWRAP, CKA.DERIVE].some((use) => key[use] === true)
}
