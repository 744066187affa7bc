/** The token of a PIV card (SP 800-73-4 part 2). Reads from the card as late as possible. */
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
import { allAttributes, knownAttributes, type PivObjectKind, visibleSlots } from './objects.ts'

/** Slot 9A, whose certificate contains the name of the holder. */
const authenticationSlot = visibleSlots[0] as PivSlot

/** The state that all tokens of one driver share. */
export interface PivShared extends PivSecrets {
  readonly cache: ObjectCache
  /** The cards, by GUID, that had few attempts left when they last reported it. */
  readonly low: LowCards
}

/** The PIV application of one connected card. */
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
    this.#objects = Object.freeze(
      visibleSlots.flatMap((slot) => kinds.map((kind) => this.#object(slot, kind))),
    )
  }

  /** Selects the application and reads the CHUID. Resolves with undefined if the card has no PIV application. */
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
      // `certificate` also stores that the card has none.
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
      // The name is optional, so an unreadable certificate is not an error here.
      if (!isWebtokiError(error, 'card/status', 'wire/malformed')) throw error
    })
    // Saves an APDU: the attempts left are read only if they may have to be shown, which is seldom.
    const { pin } = this.#applet
    if (!pin.isPrepared && !this.#shared.low.has(this.#applet.guid)) return
    await this.#applet.transaction((channel) => pin.learnTries(channel, options), options)
  }

  /** The name of the holder if the certificate has been read. */
  get label(): string {
    const der = this.#certificates.get(authenticationSlot)
    const view = der && viewCertificate(der)
    return (view && holderOf(view)) || 'PIV card'
  }

  /**
   * Returns the certificate of a slot in DER, from memory or the cache if that is safe, or undefined if the card has none.
   * Rejects if the card refuses it or its data is malformed; the next call then reads it again.
   */
  async certificate(slot: PivSlot, options?: TransmitOptions): Promise<Uint8Array | undefined> {
    if (this.#certificates.has(slot)) return this.#certificates.get(slot)
    const key = this.#cacheKey(slot)
    const cached = key === undefined ? undefined : await this.#cached(key)
    const object = await this.#applet.transaction(async (channel) => {
      if (cached !== undefined && (await this.#isUnchanged(channel, slot, cached, options))) return cached
      return this.#applet.readObject(channel, slot.certificateTag, options)
    }, options)
    const der = object === undefined ? undefined : (await decodeCertificate(object))?.der
    this.#certificates.set(slot, der)
    if (key !== undefined && der !== undefined && object !== cached && object !== undefined) {
      await this.#shared.cache.set(key, copyOf(object)).catch(() => {})
    }
    return der
  }

  /** Returns a copy, because the owner of the cache could change its bytes after the comparison with the card. */
  async #cached(key: string): Promise<Uint8Array | undefined> {
    try {
      const object = await this.#shared.cache.get(key)
      return object && copyOf(object)
    } catch {
      return undefined
    }
  }

  /**
   * Compares a cached object with the card in one APDU. The length and the first bytes, which include the serial number,
   * identify the certificate. A shorter response than requested does not.
   */
  async #isUnchanged(
    channel: CardChannel,
    slot: PivSlot,
    cached: Uint8Array,
    options: TransmitOptions | undefined,
  ): Promise<boolean> {
    const head = await this.#applet.readObjectHead(channel, slot.certificateTag, options)
    const headBytes = Math.min(256, channel.limits.responseBytes, cached.length)
    return head !== undefined && head.length >= headBytes && equalBytes(head, cached.subarray(0, head.length))
  }

  /** Returns undefined for a card without a GUID: it cannot be recognized, so its certificates are not cached. */
  #cacheKey(slot: PivSlot): string | undefined {
    const { guid } = this.#applet
    return guid === undefined ? undefined : `piv/${guid}/${slot.certificateTag.toString(16)}`
  }
}

/** Returns whether the attributes of a key permit decryption or derivation. */
function deciphers(key: Attributes): boolean {
  return [CKA.DECRYPT, CKA.UNWRAP, CKA.DERIVE].some((use) => key[use] === true)
}
